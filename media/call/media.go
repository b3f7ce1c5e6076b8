// SPDX-License-Identifier: Apache-2.0

package call

import (
	"sync/atomic"

	"incamera/media/e2ee"
	"incamera/media/frame"
	"incamera/media/peer"
)

// Media is the room's end of a meeting: its cameras and microphones, its stage
// and its loudspeakers. The engine calls it from the goroutine of Run, so no
// method blocks. Package studio has the real one.
type Media interface {
	// Begin opens the camera, and from Use to End sends what the room shows
	// and says to out.
	Begin(out Out)
	// Use gives the keys of the meeting that has begun. Before that nothing can
	// be sealed, so every frame is dropped.
	Use(keys *e2ee.Keyring)
	// Member begins to take the frames of a member, until Sink.Close. ask asks
	// the member for a key frame; it does not block.
	Member(from e2ee.Leaf, ask func(frame.Kind)) Sink
	// KeyFrame makes the next picture of a kind a key frame.
	KeyFrame(frame.Kind)
	// SetTarget is how many bits a second may be sent to each room.
	SetTarget(bits int)
	// SetMuted and SetCameraOff close the gates: while closed no frame of the
	// kind is sealed. They keep their position from call to call.
	SetMuted(bool)
	SetCameraOff(bool)
	// Show puts the call on the stage.
	Show(Status)
	// End closes the camera and drops every frame under way.
	End()
}

// Out sends a sealed frame to every member of the meeting. It does not block.
type Out interface{ Send(e2ee.Sealed) }

// A Sink takes the frames of one member.
type Sink interface {
	// Frame takes a sealed frame, which it owns from then on. It does not block.
	Frame(peer.Received)
	// Counts says what became of the frames.
	Counts() Counts
	Close()
}

// Counts says what became of the frames of one member.
type Counts struct {
	Received, Opened, Refused uint64 // sealed frames of all kinds
	Decoded                   uint64 // pictures
	Heard                     bool   // there is sound now
}

// fanOut sends to the peers of a meeting. The owner replaces the list; the
// senders of sound and pictures read it.
type fanOut struct{ peers atomic.Pointer[[]*peer.Peer] }

func (f *fanOut) Send(s e2ee.Sealed) {
	peers := f.peers.Load()
	if peers == nil {
		return
	}
	for _, p := range *peers {
		// A peer that is closed or full has its own counters.
		_ = p.Send(s)
	}
}
