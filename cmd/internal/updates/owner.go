// SPDX-License-Identifier: Apache-2.0

package updates

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"incamera/cmd/internal/boxlink"
	"incamera/device/panel"
)

const (
	pollStep   = 500 * time.Millisecond // while something is under way
	retryStep  = 5 * time.Second        // for a boxd that does not answer
	statusTime = 5 * time.Second
	checkStep  = time.Hour
	recheck    = time.Minute // after a check that came to nothing
	checkTime  = 30 * time.Second
)

// An owner is the state of the updates. Only the goroutine of Run touches it:
// what blocks runs beside it and reports back.
type owner struct {
	*Updates
	ctx  context.Context //nolint:containedctx // of Run, for what runs beside it
	work sync.WaitGroup

	known  bool // boxd has answered
	told   bool // it was logged that it does not
	asking bool // it is being asked
	status boxlink.Status
	// era is one higher after each installation: an answer from before says
	// nothing about what is now.
	era int

	job        *job // nil: nothing is being installed
	saved      saved
	restarting bool
	outcome    string         // of the last trial, since this start: Committed or RolledBack
	failure    *panel.Failure // of what was not taken
	offers     map[string]panel.Offer
	check      *time.Timer // for the next look at the site
}

// A job is an installation under way.
type job struct {
	version string
	cancel  context.CancelCauseFunc
}

// saved is what must survive the restart, so that the start after it knows what
// it was for.
type saved struct {
	Version int       `json:"version"`          // of the format: 1
	Target  string    `json:"target,omitempty"` // installed, and not yet seen to stay or not
	Idle    bool      `json:"idle,omitempty"`   // restart by itself once no call runs
	Asked   time.Time `json:"asked,omitzero"`   // when the restart was asked for
	Dark    int       `json:"dark_seconds,omitempty"`
}

// Run follows the releases until ctx is done, and returns its cause.
func (u *Updates) Run(ctx context.Context) error {
	o := &owner{Updates: u, ctx: ctx, offers: map[string]panel.Offer{}}
	defer o.work.Wait()
	if err := u.State.Load(&o.saved); err != nil && !errors.Is(err, fs.ErrNotExist) {
		u.Log.Warn("what was being updated is not known", "err", err)
	}
	poll := time.NewTicker(pollStep)
	defer poll.Stop()
	retry := time.NewTicker(retryStep)
	defer retry.Stop()
	o.check = time.NewTimer(checkStep)
	defer o.check.Stop()
	o.poll()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case event := <-u.events:
			event(o)
		case <-u.called:
			o.settle()
		case <-poll.C:
			if o.known && (o.job != nil || o.status.Update.Phase == boxlink.Trial) {
				o.poll()
			}
		case <-retry.C:
			if !o.known {
				o.poll()
			}
		case <-o.check.C:
			_ = o.look(false, nil) // a box that does not answer now is looked at once it does
		}
	}
}

// beside runs f where it may block, and what f returns on the owner.
func (o *owner) beside(f func() func()) {
	o.work.Go(func() {
		then := f()
		select {
		case o.events <- func(*owner) { then() }:
		case <-o.ctx.Done():
		}
	})
}

// poll asks boxd where things stand.
func (o *owner) poll() {
	if o.asking {
		return
	}
	o.asking = true
	era := o.era
	o.beside(func() func() {
		status, err := o.fetch()
		return func() {
			o.asking = false
			if era == o.era {
				o.learn(status, err)
			}
		}
	})
}

func (o *owner) fetch() (boxlink.Status, error) {
	ctx, cancel := context.WithTimeout(o.ctx, statusTime)
	defer cancel()
	return o.Box.Status(ctx)
}

// learn takes boxd's answer.
func (o *owner) learn(status boxlink.Status, err error) {
	if err != nil {
		if o.known || !o.told {
			o.Log.Warn("the box does not answer", "err", err)
		}
		o.known, o.told = false, true
		return
	}
	if o.status.Update.Failure == nil && status.Update.Failure != nil {
		o.Log.Info("a release did not stay", "version", status.Update.Failure.Version, "reason", status.Update.Failure.Reason)
	}
	if !o.known {
		o.check.Reset(0)
	}
	o.known, o.told, o.status = true, false, status
	o.settle()
}

func (o *owner) save() {
	o.saved.Version = 1
	if err := o.State.Save(o.saved); err != nil {
		o.Log.Error("what is being updated is not kept", "err", err)
	}
}
