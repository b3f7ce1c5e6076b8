// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"incamera/media/mls"
)

const (
	maxTries = 8 // times that a wish loses the slot, or that a commit is submitted

	submitTimeout = 10 * time.Second       // for one submission
	winnerWait    = 3 * time.Second        // for the log to show who holds the slot
	firstBackoff  = 20 * time.Millisecond  // doubled with each time the slot was lost
	firstRetry    = 250 * time.Millisecond // doubled with each submission that failed
	maxBackoff    = 4 * time.Second
)

type wishKind int

const (
	wishAdd wishKind = iota
	wishRemove
	wishRotate
)

// A wish is a change that somebody asked for here. Several commits may be built
// for it, each for another epoch.
type wish struct {
	ctx  context.Context
	done chan error // with room for the answer
	what wishKind

	to         string // of an Add
	keyPackage *mls.KeyPackage
	who        Member // whom to add or to remove

	lost int
}

// A job is a commit for the current epoch. Once it was submitted, it may win
// the epoch whatever the Delivery said, so it is kept until the epoch ends.
//
//	build --> submit --> answered --> in the log: won
//	            ^            |  \
//	            +-- retry ---+   +--> another in the log: lost, build anew
type job struct {
	wish    *wish // nil once answered
	epoch   uint64
	pending *mls.Pending
	welcome []Welcome
	tries   int
	wake    time.Time // when to submit again; zero while a submission is out
}

// enqueue takes a wish in.
func (o *owner) enqueue(w *wish) {
	if len(o.queue) >= maxWishes {
		w.done <- ErrBusy
		return
	}
	o.queue = append(o.queue, w)
}

// work submits what can be submitted now.
func (o *owner) work(ctx context.Context, now time.Time) {
	if o.busy != nil {
		return // a Delivery has one submission at a time
	}
	if o.job != nil {
		if !now.Before(o.job.wake) {
			o.again(ctx)
		}
		return
	}
	for len(o.queue) > 0 && !now.Before(o.retryAt) && o.job == nil && o.ended == nil {
		w := o.queue[0]
		o.queue = o.queue[1:]
		if err := context.Cause(w.ctx); err != nil {
			w.done <- err
			continue
		}
		o.build(ctx, w)
	}
}

// build makes a commit for a wish as the group is now, and submits it.
func (o *owner) build(ctx context.Context, w *wish) {
	proposals, err := o.plan(w)
	if err != nil {
		w.done <- err
		return
	}
	if proposals == nil {
		w.done <- nil // it has come true without us
		return
	}
	if len(o.orphans) >= maxTries {
		w.done <- ErrBusy // the Delivery has been failing for long
		return
	}
	pending, err := o.g.Commit(ctx, proposals)
	if err != nil {
		w.done <- fmt.Errorf("e2ee: commit: %w", err)
		return
	}
	if err := o.s.judge(pending.Diff()); err != nil {
		pending.Discard()
		w.done <- err
		return
	}
	j := &job{wish: w, epoch: o.g.Epoch(), pending: pending}
	if w.what == wishAdd {
		j.welcome = []Welcome{{To: w.to, Message: pending.Welcome}}
	}
	o.job = j
	o.submit(ctx, j)
}

// plan returns the proposals that fulfil a wish: nil if it is fulfilled, and an
// empty list for a commit without any.
func (o *owner) plan(w *wish) ([]mls.Proposal, error) {
	e := o.s.snap.Load()
	switch w.what {
	case wishRemove:
		if !present(e, w.who) {
			return nil, nil
		}
		return []mls.Proposal{mls.Remove(mls.LeafIndex(w.who.Leaf))}, nil
	case wishRotate:
		return []mls.Proposal{}, nil
	case wishAdd:
		return o.planAdd(e, w)
	}
	return nil, fmt.Errorf("e2ee: no such wish: %d", w.what)
}

func (o *owner) planAdd(e *Epoch, w *wish) ([]mls.Proposal, error) {
	wanted := w.keyPackage.Member()
	add := []mls.Proposal{mls.Add(w.keyPackage)}
	for _, leaf := range o.g.Members() {
		m, _ := e.member(Leaf(leaf.Index))
		switch {
		case bytes.Equal(leaf.EncryptionKey, wanted.EncryptionKey):
			return nil, nil // another member was quicker
		case sameRoom(m, w.who) && m.Leaf != e.Self:
			// The room has lost its state and knocks again: out with the old leaf
			// and in with the new in one commit (RFC 9420, Section 12.2).
			return append([]mls.Proposal{mls.Remove(leaf.Index)}, add...), nil
		case sameName(m.Name, w.who.Name), bytes.Equal(m.SignatureKey, w.who.SignatureKey):
			return nil, fmt.Errorf("%w: a member has the newcomer's name or key", ErrPolicy)
		}
	}
	return add, nil
}

// submit hands the commit to the Delivery beside the owner.
func (o *owner) submit(ctx context.Context, j *job) {
	j.tries++
	j.wake = time.Time{}
	o.busy = j
	o.wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, submitTimeout)
		defer cancel()
		err := o.s.set.Delivery.Commit(ctx, j.epoch, j.pending.Message, j.welcome)
		select {
		case o.result <- submission{j, err}:
		case <-o.done:
		}
	})
}

// answered notes what the Delivery said. Whoever holds the slot, the log will
// show it; only if it does not is the commit submitted again.
func (o *owner) answered(r submission) {
	o.busy = nil
	if o.job != r.job {
		return // the epoch is over, or the wish was given up
	}
	if r.err == nil || errors.Is(r.err, ErrStale) {
		r.job.wake = time.Now().Add(winnerWait)
		return
	}
	o.s.set.Log.Warn("commit was not delivered", "epoch", r.job.epoch, "try", r.job.tries, "error", r.err)
	r.job.wake = time.Now().Add(jitter(firstRetry, r.job.tries))
	if r.job.tries >= maxTries {
		o.giveUp(r.err)
	}
}

// again submits the same commit once more: another for the same epoch could
// lose to the first.
func (o *owner) again(ctx context.Context) {
	switch {
	case o.job.tries >= maxTries:
		o.giveUp(ErrStale)
	case context.Cause(o.job.wish.ctx) != nil:
		o.giveUp(context.Cause(o.job.wish.ctx))
	default:
		o.submit(ctx, o.job)
	}
}

// giveUp answers the wish, but keeps its commit, which may still win.
func (o *owner) giveUp(err error) {
	o.job.wish.done <- fmt.Errorf("e2ee: commit was not taken: %w", err)
	o.job.wish = nil
	o.orphans = append(o.orphans, o.job)
	o.job = nil
}

// own returns the job whose commit the log shows, nil if it is not one of ours.
func (o *owner) own(message []byte) *job {
	all := o.orphans
	if o.job != nil {
		all = append(slices.Clone(all), o.job)
	}
	for _, j := range all {
		if bytes.Equal(j.pending.Message, message) {
			return j
		}
	}
	return nil
}

// won applies a commit of this room, now that the log shows that it holds the
// slot. Its policy was judged when it was built.
func (o *owner) won(ctx context.Context, j *job) error {
	d := j.pending.Diff()
	if err := j.pending.Apply(); err != nil {
		return o.fatal(fmt.Errorf("e2ee: own commit: %w", err))
	}
	w := j.wish
	j.wish = nil
	if o.job == j {
		o.job = nil
	}
	o.orphans = slices.DeleteFunc(o.orphans, func(k *job) bool { return k == j })
	o.lost()
	if err := o.fatal(o.moved(ctx, d)); err != nil {
		return err
	}
	o.planRotation() // every commit renews the keys of who made it
	if w != nil {
		w.done <- nil
	}
	return nil
}

// lost drops the commits of an epoch that is over and puts the wish in front
// of the queue again.
func (o *owner) lost() {
	if j := o.job; j != nil {
		w := j.wish
		w.lost++
		if w.lost >= maxTries {
			w.done <- fmt.Errorf("e2ee: lost %d times: %w", w.lost, ErrStale)
		} else {
			o.queue = slices.Insert(o.queue, 0, w)
			o.retryAt = time.Now().Add(jitter(firstBackoff, w.lost))
		}
	}
	o.discard()
}

// discard wipes the commits that can no longer win.
func (o *owner) discard() {
	if o.job != nil {
		o.job.pending.Discard()
	}
	for _, j := range o.orphans {
		j.pending.Discard()
	}
	o.job, o.orphans = nil, nil
}

// jitter draws a wait below first, doubled with each time but the first.
func jitter(first time.Duration, times int) time.Duration {
	return upTo(min(first<<min(times-1, 16), maxBackoff)) + time.Millisecond
}

// upTo draws a duration below d, so that rooms do not act at one instant.
func upTo(d time.Duration) time.Duration {
	return rand.N(d) //nolint:gosec // no secret
}
