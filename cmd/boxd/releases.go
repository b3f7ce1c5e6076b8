// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"incamera/cmd/internal/boxlink"
	"incamera/secureboot/update"
)

// releases owns the updater: all of its methods are called by the goroutine of
// run. Others hand that a job or a verdict.
//
//	steady or armed:  install -> armed
//	                  healthy -> the floor rises, if the release asks for it
//	trial:            healthy -> steady, and the floor rises
//	                  otherwise -> restart into the other slot
type releases struct {
	updater *update.Updater // nil: nothing can be installed here
	floor   update.Floor
	watch   func(context.Context) error // waits for the room's daemon to fail
	restart func(ctx context.Context, reason string) error
	settled func(context.Context) error // told that nothing is on trial
	log     *slog.Logger

	jobs     chan job // unbuffered: taken at once, or not at all
	verdicts chan boxlink.Health

	mu     sync.Mutex
	status boxlink.Update
	work   boxlink.Work
}

// A job is an installation; its end is told through done.
type job struct {
	ctx    context.Context //nolint:containedctx // it is the caller's, who waits for the end
	bundle io.Reader
	older  bool
	done   chan<- result
}

type result struct {
	release update.Release
	err     error
}

// run works until ctx is done.
func (r *releases) run(ctx context.Context) error {
	if r.updater == nil {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if err := r.learn(ctx); err != nil {
		// A medium that fails: nothing is installed on top of that.
		r.unavailable(err)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if r.now().Phase == boxlink.Trial {
		if err := r.judge(ctx); err != nil {
			return err
		}
	}
	// Also if it was committed by a boxd that ended before it came here.
	if err := r.settled(ctx); err != nil {
		r.log.Error("the end of the trial still waits", "err", err)
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case j := <-r.jobs:
			release, err := r.install(ctx, j)
			j.done <- result{release, err}
		case h := <-r.verdicts:
			if h.Healthy {
				r.raise(ctx)
			} else {
				r.log.Warn("room unhealthy", "detail", printable(h.Detail))
			}
		}
	}
}

// learn asks the updater how things stand.
func (r *releases) learn(ctx context.Context) error {
	s, err := r.updater.Start()
	if err != nil {
		return err
	}
	u := boxlink.Update{Phase: string(s.Phase), Running: boxlink.Release(s.Running), LoaderCannotCount: s.LoaderCannotCount}
	if s.Target != nil {
		target := boxlink.Release(*s.Target)
		u.Target = &target
	}
	if f := s.Failure; f != nil {
		u.Failure = &boxlink.Failure{Version: f.Version, Reason: string(f.Reason), Detail: f.Detail}
	}
	if u.Floor, err = r.floor.Read(ctx); err != nil {
		r.log.Warn("floor not read", "err", err)
	}
	if s.LoaderCannotCount {
		r.log.Error("the loader does not count this trial: the firmware is too old")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = u
	return nil
}

func (r *releases) unavailable(err error) {
	r.log.Error("no updates", "err", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Unavailable = printable(err.Error())
}

func (r *releases) now() boxlink.Update {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

func (r *releases) progress(w boxlink.Work) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.work = w
}

// install does a job.
func (r *releases) install(ctx context.Context, j job) (update.Release, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(j.ctx, func() { cancel(context.Cause(j.ctx)) })()
	defer r.progress(boxlink.Work{State: boxlink.Idle})
	work := boxlink.Work{State: boxlink.Receiving}
	r.progress(work)
	var system int64
	release, err := r.updater.Install(ctx, j.bundle, update.Options{
		Older: j.older,
		Accepted: func(m *update.Manifest) {
			system, work.Version, work.Total = m.System.Size, m.Version, m.System.Size+m.UKI.Size
			work.State = boxlink.Writing
			r.progress(work)
		},
		Progress: func(written, _ int64) {
			if work.Written = written; written >= system {
				work.State = boxlink.Checking
			}
			r.progress(work)
		},
	})
	if err != nil {
		r.log.Warn("update not installed", "err", err)
	}
	// An armed release may have gone with the slot, whatever came of this one.
	if learned := r.learn(context.WithoutCancel(ctx)); learned != nil {
		r.unavailable(learned)
	}
	return release, err
}

// raise raises the floor if what runs asks for it.
func (r *releases) raise(ctx context.Context) {
	before := r.now().Floor
	err := r.updater.RaiseFloor(ctx)
	if err != nil {
		r.log.Error("floor not raised", "err", err) // the next start tries again
	}
	if err := r.learn(ctx); err != nil {
		r.unavailable(err)
	}
	r.risen(before)
}

// risen says if the floor is another.
func (r *releases) risen(before uint64) {
	if floor := r.now().Floor; floor > before {
		r.log.Info("floor raised", "from", before, "to", floor)
	}
}

// attempts is how often a verdict is carried out, when the medium fails. The
// loader's counter is what is left then.
const (
	attempts = 3
	pause    = 10 * time.Second
)

// judge ends the trial: it returns once the release is committed, and otherwise
// restarts.
func (r *releases) judge(ctx context.Context) error {
	r.log.Info("update on trial", "version", r.now().Running.Version)
	before := r.now().Floor
	verdict := errNothingHeard
	heard := func(limited context.Context) error {
		verdict = r.verdict(limited)
		return verdict
	}
	for n := 1; ; n++ {
		err := r.updater.Prove(ctx, heard)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if verdict != nil {
			// Even if the way back could not be armed: the tries run out.
			r.log.Error("rolling back", "version", r.now().Running.Version, "err", err)
			if err := r.restart(ctx, "the release on trial failed"); err != nil {
				return err // boxd starts anew, and judges anew
			}
			<-ctx.Done()
			return context.Cause(ctx)
		}
		if learned := r.learn(ctx); learned != nil {
			err = errors.Join(err, learned)
		}
		if err != nil {
			r.log.Error("trial", "err", err)
		}
		if r.now().Phase != boxlink.Trial {
			r.risen(before)
			return nil
		}
		if n == attempts {
			return fmt.Errorf("the release could not be committed: %w", err)
		}
		heard = func(context.Context) error { return nil } // it was heard
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

var errNothingHeard = fmt.Errorf("the room reported nothing within %v", update.HealthLimit)

// verdict waits for the room's own, or for what stands in its place.
func (r *releases) verdict(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	failed := make(chan error, 1)
	var watching sync.WaitGroup
	watching.Go(func() { failed <- r.watch(ctx) })
	defer watching.Wait()
	defer cancel()
	select {
	case h := <-r.verdicts:
		if h.Healthy {
			return nil
		}
		return errors.New("unhealthy: " + printable(h.Detail))
	case err := <-failed:
		if ctx.Err() == nil {
			return err
		}
	case <-ctx.Done():
	}
	return errNothingHeard
}
