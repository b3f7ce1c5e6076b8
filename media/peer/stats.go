// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"time"

	"incamera/media/frame"
)

// Stats is what a peer has counted since its start. Arrays are indexed by
// [frame.Kind].
type Stats struct {
	State    State
	Target   int           // bits a second; see [Peer.Target]
	RTT      time.Duration // of the last report, 0 before the first
	Sent     [kinds]SentStats
	Received [kinds]ReceivedStats
}

// SentStats counts one stream to the other room.
type SentStats struct {
	Frames  uint64 // sent to their end
	Packets uint64 // without repetitions
	Bytes   uint64 // payloads of those packets
	Queued  int    // frames that wait now
	Dropped uint64 // frames that a full queue or a break cost
	Failed  uint64 // packets that could not be written
	// Lost is how many packets the other room misses, by its own count, which
	// knows nothing of repairs.
	Lost        uint32
	NACKs       uint64 // entries in requests to repeat packets
	KeyRequests uint64
}

// ReceivedStats counts one stream from the other room.
type ReceivedStats struct {
	Frames      uint64 // handed over
	Packets     uint64 // well formed
	Bytes       uint64 // of those packets
	Malformed   uint64 // packets refused
	Repaired    uint64 // packets that filled a hole, by NACK or out of order
	Late        uint64 // packets that came twice, or after they were given up
	Lost        uint64 // packets that never came
	Discarded   uint64 // packets thrown away because others of their frame were lost
	Gaps        uint64 // frames with Gap set
	KeyRequests uint64 // sent
}

// Stats returns the counts. It is cheap enough for once a second.
func (p *Peer) Stats() Stats {
	s := Stats{State: p.State(), Target: p.Target(), RTT: time.Duration(p.rtt.Load())}
	for k := range kinds {
		s.Sent[k] = p.out[k].stats()
		s.Received[k] = p.in[k].stats()
	}
	return s
}

func (o *outbound) stats() SentStats {
	s := SentStats{
		Frames: o.frames.Load(), Packets: o.packets.Load(), Bytes: o.bytes.Load(), Failed: o.failed.Load(),
		Lost: o.remoteLost.Load(), NACKs: o.nacks.Load(), KeyRequests: o.keyRequests.Load(),
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kind == frame.Audio {
		s.Queued, s.Dropped = o.audio.n, o.lost
	} else {
		s.Queued, s.Dropped = o.video.n, o.video.dropped
	}
	return s
}

func (in *inbound) stats() ReceivedStats {
	return ReceivedStats{
		Frames: in.frames.Load(), Packets: in.packets.Load(), Bytes: in.bytes.Load(), Malformed: in.malformed.Load(),
		Repaired: in.repaired.Load(), Late: in.late.Load(), Lost: in.lost.Load(), Discarded: in.discarded.Load(),
		Gaps: in.gaps.Load(), KeyRequests: in.keyRequests.Load(),
	}
}
