// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"incamera/media/frame"
	"incamera/media/sframe"
)

const (
	// epochBits is E of RFC 9605, Section 5.2.
	epochBits = 4
	// maxEpochs is how many epochs hold keys at once: what a burst of commits
	// may leave behind before everyone has caught up.
	maxEpochs = 4
	// maxSlots bounds the leaf slots of a tree, as package mls does.
	maxSlots = 1024
	// baseKeySize is the length in bytes of the key that the exporter gives
	// (RFC 9605, Section 5.2).
	baseKeySize = 32
)

// A Reason is why sending is held. Reasons are bits of a set, so two who hold
// do not release one another.
type Reason uint8

// The reasons to hold.
const (
	// HoldQuestion: a question to the person in the room is open. A session asks
	// one where another room let in a room whose certificate is not valid now;
	// the caller releases it once the person has accepted that room, or it is
	// out.
	HoldQuestion Reason = 1 << iota
	// HoldRemoval: a removal that this room asked for is not in effect.
	HoldRemoval
	// HoldFork: the relay's log and the group disagree.
	HoldFork
	// HoldEvidence: the meeting takes attested rooms only, and this room has not
	// accepted the evidence of every member.
	HoldEvidence
	// HoldPin: a member has another key than the one that is pinned under its
	// name. It ends when that room is out, or the name is unpinned.
	HoldPin
)

// String lists the reasons as logs do.
func (r Reason) String() string {
	var names []string
	for i, name := range []string{"question", "removal", "fork", "evidence", "pin"} {
		if r&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// A Keyring holds the media keys of the newest epochs, at most four. It is safe
// for concurrent use.
//
// Seal and Open read an immutable snapshot and wait for no commit. Once a
// method that takes sending away has returned (SendWith, Forget, Hold, Close),
// no frame is sealed in the old way any more, not even by a Seal that began
// before.
type Keyring struct {
	state atomic.Pointer[state] // never nil

	mu    sync.Mutex // serialises changes of state
	lines [kinds]line
}

// A line serialises the frames of one kind: one room has one encoder for each.
type line struct {
	mu       sync.Mutex
	metadata [2]byte // a field, since what is passed to a sealer escapes
}

// state is a snapshot. A new one replaces it; what it points to is immutable
// but for the counters, windows and wiping of the keys themselves.
type state struct {
	epochs [1 << epochBits]*epoch // by low bits of the number
	send   *epoch                 // nil: nothing can be sent
	floor  uint64                 // sending never goes back below it
	newest uint64                 // the newest epoch ever installed
	any    bool                   // there was one
	held   Reason
	closed bool
}

// An epoch is the keys of one epoch.
type epoch struct {
	number  uint64
	self    Leaf
	layout  sframe.Layout
	senders [kinds]sealer
	// receivers by kind and leaf; without one a leaf is not, or no longer, a
	// member whose frames open.
	receivers [kinds]map[Leaf]*sframe.Receiver
	digest    [32]byte // of the base key; see Install
}

// A sealer is an *[sframe.Sender].
type sealer interface {
	Seal(dst, metadata, frame []byte) ([]byte, error)
	Wipe()
}

// NewKeyring makes a keyring without a key: it refuses to seal.
func NewKeyring() *Keyring {
	k := &Keyring{}
	k.state.Store(&state{})
	return k
}

// Seal appends a sealed frame to dst and returns it as a Sealed, whose Bytes
// are what was appended. Of VP8 the first byte stays clear and is
// authenticated; Opus is sealed whole. The free capacity of dst must not
// overlap f.Data; with [Overhead] bytes more of it than f.Data has, Seal
// allocates nothing.
//
// The errors are [ErrNoKey] and [ErrFrame]; in both cases the frame is dropped.
func (k *Keyring) Seal(dst []byte, f *frame.Encoded) (Sealed, error) {
	p, ok := profileOf(f.Kind)
	if !ok || len(f.Data) < max(p.clear, 1) || len(f.Data) > MaxFrameSize {
		return Sealed{}, ErrFrame
	}
	l := &k.lines[f.Kind]
	l.mu.Lock()
	defer l.mu.Unlock()
	s := k.state.Load()
	if s.send == nil || s.held != 0 || s.closed {
		return Sealed{}, ErrNoKey
	}
	start := len(dst)
	l.metadata = [2]byte{p.codec, f.Data[0]}
	dst = append(dst, f.Data[:p.clear]...)
	dst, err := s.send.senders[f.Kind].Seal(dst, l.metadata[:1+p.clear], f.Data[p.clear:])
	if err != nil {
		// Wiped or spent: either way this epoch seals no more.
		return Sealed{}, ErrNoKey
	}
	return Sealed{wire: dst[start:], pts: f.PTS, kind: f.Kind, key: f.Key}, nil
}

// Open appends to dst the frame that wire holds, which must be of the given
// kind and sealed by the given leaf: in a mesh, the room behind the connection
// that wire came from. The key identifier names the key, and no other is tried:
// AES-GCM does not commit to its key, so a frame may well open under two.
//
// The errors are [ErrUnknownEpoch] and [ErrRefused]; then what dst holds has
// not changed. The free capacity of dst must not overlap wire; with as much of
// it as wire has Open allocates nothing.
func (k *Keyring) Open(dst []byte, kind frame.Kind, from Leaf, wire []byte) ([]byte, error) {
	p, ok := profileOf(kind)
	if !ok || len(wire) < p.clear || len(wire) > MaxFrameSize+Overhead {
		return nil, ErrRefused
	}
	h, _, err := sframe.ParseHeader(wire[p.clear:])
	if err != nil {
		return nil, ErrRefused
	}
	s := k.state.Load()
	low := sframe.Layout{EpochBits: epochBits}.Epoch(h.KID)
	e := s.epochs[low]
	if e == nil {
		return nil, s.missing(low)
	}
	context, leaf := e.layout.Split(h.KID)
	if context != uint64(kind) || leaf != from {
		return nil, ErrRefused
	}
	r := e.receivers[kind][leaf]
	if r == nil {
		return nil, ErrRefused
	}
	metadata := [2]byte{p.codec, wire[0]}
	dst, err = r.Open(append(dst, wire[:p.clear]...), metadata[:1+p.clear], wire[p.clear:])
	if err != nil {
		return nil, ErrRefused
	}
	return dst, nil
}

// missing tells an epoch that may still come from one that is gone. With four
// bits, the next eight epochs count as coming.
func (s *state) missing(low uint64) error {
	ahead := (low - s.newest) & (1<<epochBits - 1)
	if !s.closed && (!s.any || 0 < ahead && ahead <= 1<<epochBits/2) {
		return ErrUnknownEpoch
	}
	return ErrRefused
}

// Held returns the reasons for which sending is held, 0 if there is none.
func (k *Keyring) Held() Reason { return k.state.Load().held }

// Sending returns the epoch whose key frames are sealed with, if there is one.
// It does not look at holds.
func (k *Keyring) Sending() (epoch uint64, ok bool) {
	s := k.state.Load()
	if s.send == nil {
		return 0, false
	}
	return s.send.number, true
}

// Epochs returns the epochs whose frames open, in ascending order.
func (k *Keyring) Epochs() []uint64 {
	var numbers []uint64
	for _, e := range k.state.Load().epochs {
		if e != nil {
			numbers = append(numbers, e.number)
		}
	}
	slices.Sort(numbers)
	return numbers
}
