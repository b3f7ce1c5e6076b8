// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"incamera/media/mls"
)

const (
	// readyWait is how long sending stays in the old epoch for rooms that have
	// not said that they can open the new one.
	readyWait = 500 * time.Millisecond
	// fadeAfter is how long the frames of the old epoch open: what is in flight
	// and what a room sent that learnt of the commit late.
	fadeAfter = 2 * time.Second
)

// The first byte of an application message says what it is. Types not listed
// are ignored, for later releases.
const (
	messageReady   = 1 // then the epoch, 8 bytes: its sender opens frames of it
	messagePayload = 2 // then what Broadcast was given
	// messageEvidence: then the epoch, 8 bytes, and evidence about its sender's
	// leaf that is bound to the handle of that epoch.
	messageEvidence = 3
)

// A changeover is an epoch that is installed and not yet sent with.
type changeover struct {
	epoch   uint64
	at      time.Time // moves at the latest
	waiting []Leaf    // continuing rooms that have not said that they are ready
}

// A fade is an epoch whose receive keys have an end.
type fade struct {
	epoch uint64
	at    time.Time
}

// roster reads the members from the ratchet tree, and from nothing else. From
// the epoch before it knows how long each has been here.
func (s *Session) roster(g *mls.Group, before *Epoch) (*Epoch, error) {
	e := &Epoch{
		Number: g.Epoch(), Suite: s.set.suite.String(), Hybrid: s.set.suite.Hybrid(), Self: Leaf(g.Self()),
		Mode: s.witness.mode,
	}
	for _, leaf := range g.Members() {
		m, id, err := newMember(leaf)
		if err != nil {
			return nil, err
		}
		m.Lapsed = id.lapsed(s.set.Now())
		if before != nil {
			m.Since = e.Number
			if old, ok := before.member(m.Leaf); ok && sameRoom(old, m) {
				m.Since = old.Since
			}
		}
		e.Members = append(e.Members, m)
	}
	return e, unique(e.Members)
}

// install gives the keyring the receive keys of the group's epoch.
func (s *Session) install(g *mls.Group, e *Epoch) error {
	key, err := g.Export("SFrame 1.0 Base Key", nil, baseKeySize) // RFC 9605, Section 5.2
	if err != nil {
		return fmt.Errorf("e2ee: export: %w", err)
	}
	defer clear(key)
	keys := EpochKeys{Epoch: e.Number, Self: e.Self, Slots: g.Slots(), BaseKey: key}
	for _, m := range e.Members {
		keys.Leaves = append(keys.Leaves, m.Leaf)
	}
	return s.ring.Install(keys)
}

// moved does what follows when the group has entered an epoch (T1): receive
// keys in, keys of removed rooms out, sending moved or its move arranged, and
// everybody told.
func (o *owner) moved(ctx context.Context, d mls.Diff) error {
	before := o.s.snap.Load()
	e, err := o.s.roster(o.g, before)
	if err != nil {
		return err
	}
	if err := o.s.install(o.g, e); err != nil {
		return err
	}
	e.Added, e.Removed = changes(before, e, d)
	var gone []Leaf
	for _, m := range e.Removed {
		gone = append(gone, m.Leaf)
	}
	if err := o.s.witness.follow(o.g, d); err != nil {
		return err
	}
	o.s.witness.tell(e)
	now := time.Now()
	for _, old := range o.s.ring.Epochs() {
		if old < e.Number {
			o.s.ring.DropLeaves(old, gone...)
		}
	}
	o.fades = append(o.fades, fade{before.Number, now.Add(fadeAfter)})
	if slices.ContainsFunc(e.Added, func(m Member) bool { return m.Lapsed }) {
		o.s.ring.Hold(HoldQuestion)
	}
	o.s.pins.judge(e)
	o.arrange(before, e, now)
	o.s.holdEvidence(e)
	o.s.ring.Release(HoldFork)
	o.s.snap.Store(e)
	o.settleRemovals(e)
	o.announceReady(ctx, e.Number)
	o.s.set.Observer.Epoch(*e)
	o.wantCode()
	if len(e.Added) > 0 {
		// A newcomer knows the handle of no epoch before its own.
		o.wantProof(now)
	}
	return nil
}

// changes lists the rooms that came and went. Both hold a room that took its
// own old place after a restart.
func changes(before, after *Epoch, d mls.Diff) (added, removed []Member) {
	for _, m := range d.Added {
		if now, ok := after.member(Leaf(m.Index)); ok {
			now.Since = after.Number
			added = append(added, now)
			for i := range after.Members {
				if after.Members[i].Leaf == now.Leaf {
					after.Members[i].Since = now.Since
				}
			}
		}
	}
	for _, m := range d.Removed {
		if old, ok := before.member(Leaf(m.Index)); ok {
			removed = append(removed, old)
		}
	}
	return added, removed
}

// arrange decides when sending moves to e (T2).
func (o *owner) arrange(before, e *Epoch, now time.Time) {
	c := changeover{epoch: e.Number, at: now.Add(readyWait)}
	if len(e.Removed) == 0 {
		for _, m := range e.Members {
			if _, stayed := before.member(m.Leaf); stayed && m.Leaf != e.Self {
				c.waiting = append(c.waiting, m.Leaf)
			}
		}
	} // else at once: who is out must not hear another frame
	o.changeovers = append(o.changeovers, c)
	o.move(now)
}

// ready notes that a room opens the frames of an epoch, and so of those before
// it, since which it was a member.
func (o *owner) ready(from Leaf, epoch uint64) {
	for i := range o.changeovers {
		c := &o.changeovers[i]
		if c.epoch <= epoch {
			c.waiting = slices.DeleteFunc(c.waiting, func(l Leaf) bool { return l == from })
		}
	}
	o.move(time.Now())
}

// move moves sending to the newest epoch that nobody need be waited for, and
// ends epochs whose time is over (T3).
func (o *owner) move(now time.Time) {
	for i, c := range slices.Backward(o.changeovers) {
		if len(c.waiting) > 0 && now.Before(c.at) {
			continue
		}
		if err := o.s.ring.SendWith(c.epoch); err != nil {
			// Four newer epochs came within half a second; the keyring has moved.
			o.s.set.Log.Debug("epoch was gone before it was sent with", "epoch", c.epoch)
		}
		o.changeovers = slices.Delete(o.changeovers, 0, i+1)
		break
	}
	o.fades = slices.DeleteFunc(o.fades, func(f fade) bool {
		if now.Before(f.at) {
			return false
		}
		o.s.ring.Forget(f.epoch)
		return true
	})
}

// announceReady tells the others that this room opens frames of an epoch.
func (o *owner) announceReady(ctx context.Context, epoch uint64) {
	message, err := o.g.Protect(ctx, nil, binary.BigEndian.AppendUint64([]byte{messageReady}, epoch))
	if err == nil {
		err = o.post(outgoing{message: message})
	}
	if err != nil { // they move without it, half a second later
		o.s.set.Log.Warn("ready was not sent", "epoch", epoch, "error", err)
	}
}

// settleRemovals ends the hold once every removal asked for here is in effect.
func (o *owner) settleRemovals(e *Epoch) {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	o.s.removals = slices.DeleteFunc(o.s.removals, func(gone Member) bool { return !present(e, gone) })
	if len(o.s.removals) == 0 {
		o.s.ring.Release(HoldRemoval)
	}
}

// present reports whether m is still the member that it was: a room that was
// removed and came back has another Since.
func present(e *Epoch, m Member) bool {
	now, ok := e.member(m.Leaf)
	return ok && sameRoom(now, m) && now.Since == m.Since
}
