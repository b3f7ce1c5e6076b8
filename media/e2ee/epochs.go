// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"

	"incamera/media/sframe"
)

// EpochKeys is what a keyring needs to know of an epoch.
type EpochKeys struct {
	Epoch   uint64
	Self    Leaf   // whose frames Seal makes
	Slots   uint32 // leaf slots of the epoch's tree, blank ones included
	Leaves  []Leaf // the members; Self may be among them
	BaseKey []byte // 32 bytes of the exporter; no copy is kept, the caller wipes it
}

// Install takes in the receive keys of a new epoch, whose roster the caller has
// checked. Sending stays where it is until [Keyring.SendWith]. Epochs come in
// rising order, each base key once: otherwise the error is [ErrEpoch] and
// nothing has changed. At most four epochs hold keys; the oldest gives way, and
// if it was the one to send with, sending moves to the next.
func (k *Keyring) Install(keys EpochKeys) error {
	if err := keys.check(); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.state.Load()
	if old.closed || old.any && keys.Epoch <= old.newest {
		return fmt.Errorf("%w: %d installed after %d", ErrEpoch, keys.Epoch, old.newest)
	}
	digest := sha256.Sum256(keys.BaseKey)
	for _, e := range old.epochs {
		if e != nil && subtle.ConstantTimeCompare(e.digest[:], digest[:]) == 1 {
			return fmt.Errorf("%w: %d has the base key of %d", ErrEpoch, keys.Epoch, e.number)
		}
	}
	e, err := newEpoch(keys, digest)
	if err != nil {
		return err
	}
	next := *old
	next.newest, next.any = keys.Epoch, true
	var evicted []*epoch
	low := keys.Epoch & (1<<epochBits - 1)
	if next.epochs[low] != nil { // RFC 9605, Section 5.2: the new one takes the place
		evicted = append(evicted, next.epochs[low])
	}
	next.epochs[low] = e
	for next.overfull() {
		evicted = append(evicted, next.takeOldest())
	}
	if slices.Contains(evicted, next.send) && next.send != nil {
		next.send = next.oldest(next.floor) // those below it have no send keys any more
	}
	k.replace(&next, evicted...)
	return nil
}

func (keys EpochKeys) check() error {
	if len(keys.BaseKey) != baseKeySize {
		return fmt.Errorf("%w: base key of %d bytes", ErrEpoch, len(keys.BaseKey))
	}
	if keys.Slots == 0 || keys.Slots > maxSlots || keys.Self >= keys.Slots {
		return fmt.Errorf("%w: leaf %d of %d", ErrEpoch, keys.Self, keys.Slots)
	}
	for _, l := range keys.Leaves {
		if l >= keys.Slots {
			return fmt.Errorf("%w: leaf %d of %d", ErrEpoch, l, keys.Slots)
		}
	}
	return nil
}

// newEpoch derives all keys of an epoch at once, so that the base key need not
// stay in memory.
func newEpoch(keys EpochKeys, digest [32]byte) (*epoch, error) {
	secret, err := sframe.NewSecret(sframe.AES256GCMSHA512, keys.BaseKey)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe()
	e := &epoch{
		number: keys.Epoch,
		self:   keys.Self,
		layout: sframe.Layout{EpochBits: epochBits, LeafBits: sframe.LeafBits(keys.Slots)},
		digest: digest,
	}
	for kind := range kinds {
		kid, err := e.layout.KID(uint64(kind), keys.Self, keys.Epoch)
		if err != nil {
			return nil, err
		}
		if e.senders[kind], err = secret.Sender(kid); err != nil {
			return nil, err
		}
		e.receivers[kind] = make(map[Leaf]*sframe.Receiver, len(keys.Leaves))
		for _, leaf := range keys.Leaves {
			if leaf == keys.Self || e.receivers[kind][leaf] != nil {
				continue
			}
			if kid, err = e.layout.KID(uint64(kind), leaf, keys.Epoch); err != nil {
				return nil, err
			}
			if e.receivers[kind][leaf], err = secret.Receiver(kid); err != nil {
				return nil, err
			}
		}
	}
	return e, nil
}

// SendWith moves sending to an installed epoch, never back: otherwise the error
// is [ErrEpoch]. The send keys of every older epoch are wiped, and once SendWith
// has returned nothing is sealed with them any more.
func (k *Keyring) SendWith(number uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := *k.state.Load()
	e := next.find(number)
	if e == nil || number < next.floor {
		return fmt.Errorf("%w: cannot send with %d", ErrEpoch, number)
	}
	next.send, next.floor = e, number
	k.replace(&next)
	for _, old := range next.epochs {
		if old != nil && old.number < number {
			old.wipeSenders()
		}
	}
	return nil
}

// Forget wipes all keys of an epoch. If it was the one to send with, sending
// ends until the next SendWith. An epoch not held is no error.
func (k *Keyring) Forget(number uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := *k.state.Load()
	e := next.find(number)
	if e == nil {
		return
	}
	next.epochs[number&(1<<epochBits-1)] = nil
	if next.send == e {
		next.send = nil
	}
	k.replace(&next, e)
}

// DropLeaves wipes the receive keys that the given leaves have in an epoch:
// frames of rooms that were removed are refused from then on.
func (k *Keyring) DropLeaves(number uint64, leaves ...Leaf) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.state.Load().find(number)
	if e == nil {
		return
	}
	for _, receivers := range e.receivers {
		for _, leaf := range leaves {
			if r := receivers[leaf]; r != nil {
				r.Wipe() // stays in the map, which others read
			}
		}
	}
}

// Hold stops sending until the reason is released again. What arrives still
// opens.
func (k *Keyring) Hold(r Reason) { k.setHeld(func(held Reason) Reason { return held | r }) }

// Release takes reasons away; sending goes on once none is left.
func (k *Keyring) Release(r Reason) { k.setHeld(func(held Reason) Reason { return held &^ r }) }

func (k *Keyring) setHeld(f func(Reason) Reason) {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := *k.state.Load()
	next.held = f(next.held)
	k.replace(&next)
}

// Close wipes all keys. The keyring is of no more use: it seals and opens
// nothing and takes no epoch. Close may be called twice.
func (k *Keyring) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.state.Load()
	k.replace(&state{newest: old.newest, any: old.any, held: old.held, closed: true}, old.epochs[:]...)
}

// replace makes next the state, waits for frames being sealed under the old
// one, and wipes the given epochs. The caller holds k.mu.
func (k *Keyring) replace(next *state, gone ...*epoch) {
	k.state.Store(next)
	for i := range k.lines {
		// Whoever holds the lock may have loaded the old state; whoever takes it
		// from here on loads the new one.
		k.lines[i].mu.Lock()
		k.lines[i].mu.Unlock() //nolint:staticcheck // the empty section is a barrier
	}
	for _, e := range gone {
		if e != nil {
			e.wipe()
		}
	}
}

func (s *state) find(number uint64) *epoch {
	if e := s.epochs[number&(1<<epochBits-1)]; e != nil && e.number == number {
		return e
	}
	return nil
}

// overfull reports whether more epochs hold keys than may.
func (s *state) overfull() bool {
	n := 0
	for _, e := range s.epochs {
		if e != nil {
			n++
		}
	}
	return n > maxEpochs
}

// oldest returns the oldest epoch from a number on.
func (s *state) oldest(from uint64) *epoch {
	var oldest *epoch
	for _, e := range s.epochs {
		if e != nil && e.number >= from && (oldest == nil || e.number < oldest.number) {
			oldest = e
		}
	}
	return oldest
}

func (s *state) takeOldest() *epoch {
	e := s.oldest(0)
	s.epochs[e.number&(1<<epochBits-1)] = nil
	return e
}

func (e *epoch) wipe() {
	e.wipeSenders()
	for _, receivers := range e.receivers {
		for _, r := range receivers {
			r.Wipe()
		}
	}
}

func (e *epoch) wipeSenders() {
	for _, s := range e.senders {
		s.Wipe()
	}
}
