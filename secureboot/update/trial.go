// SPDX-License-Identifier: Apache-2.0

package update

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// HealthLimit is how long a release on trial has to prove itself.
const HealthLimit = 10 * time.Minute

// A Phase says where an update stands.
type Phase string

// The phases. They are stable names.
const (
	Steady Phase = "steady" // nothing is under way
	Armed  Phase = "armed"  // the next start is a trial
	Trial  Phase = "trial"  // what runs has yet to prove itself
)

// Status is for people.
type Status struct {
	Phase   Phase
	Running Release
	Target  *Release // armed or on trial
	Failure *Failure // of the last trial, until the next one
	// LoaderCannotCount: a trial runs and its name did not change, so a release
	// that hangs would be started for ever. The firmware is too old.
	LoaderCannotCount bool
}

// Start brings the record into line with what the loader did. It is called once
// after each start of the machine, or of the program, before anything else. In
// the steady state it writes nothing.
func (u *Updater) Start() (Status, error) {
	all, err := u.tidy()
	if err != nil {
		return Status{}, err
	}
	running, ok := find(all, u.c.Running.Version)
	if !ok {
		return Status{}, fmt.Errorf("update: the esp has no image of %s, which runs", u.c.Running.Version)
	}
	s := Status{Phase: Steady, Running: u.c.Running}
	if running.onTrial() {
		s.Phase, s.LoaderCannotCount = Trial, running.done == 0
		if t := u.r.Target; t == nil || *t != u.c.Running { // the record was lost
			r := u.r
			r.Target = &s.Running
			if err := u.save(r); err != nil {
				return Status{}, err
			}
		}
		s.Target = u.r.Target
		return s, nil
	}
	armed, err := u.settle(all, running)
	if err != nil {
		return Status{}, err
	}
	if armed {
		s.Phase, s.Target = Armed, u.r.Target
	} else if running.demoted() { // and the release in whose favour is gone
		if err := u.rename(running, slot{version: running.version}); err != nil {
			return Status{}, err
		}
	}
	s.Failure = u.r.Failure
	return s, nil
}

// settle asks what became of the target while something else runs, and reports
// whether its trial is still to come.
func (u *Updater) settle(all []slot, running slot) (armed bool, err error) {
	if u.r.Target == nil {
		return false, nil
	}
	r, target := u.r, *u.r.Target
	r.Target = nil
	switch s, ok := find(all, target.Version); {
	case target.Version == running.version:
		r.Failure = nil // committed; the power went before the record knew
	case !ok:
		r.Failure = &Failure{target.Version, Interrupted, ""}
	case s.counted && s.left > 0:
		if compareVersions(target.Version, running.version) < 0 && !running.demoted() {
			// The power went between the two renames of an older release.
			return true, u.rename(running, slot{version: running.version, counted: true})
		}
		return true, nil
	case s.counted && (r.Failure == nil || r.Failure.Version != target.Version):
		r.Failure = &Failure{target.Version, NotStarted, ""}
	}
	if f := r.Failure; f != nil {
		u.c.Log.Warn("update failed", "version", f.Version, "reason", string(f.Reason), "detail", f.Detail)
	}
	return false, u.save(r)
}

// Prove lets health judge the release on trial, within [HealthLimit]. Healthy,
// it is committed and the floor raised if it asks for that; an error then is
// about the floor and the next start tries again. Otherwise the reason is kept,
// the other release armed and [ErrRestart] returned. If ctx ends first nothing
// is decided, and the loader's counter is what is left.
func (u *Updater) Prove(ctx context.Context, health func(context.Context) error) error {
	all, err := u.slots()
	if err != nil {
		return err
	}
	running, ok := find(all, u.c.Running.Version)
	if !ok || !running.onTrial() {
		return fmt.Errorf("update: %s is not on trial", u.c.Running.Version)
	}
	limited, cancel := context.WithTimeout(ctx, HealthLimit)
	defer cancel()
	judged := health(limited)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if judged != nil {
		return u.giveUp(running, judged)
	}
	if err := u.rename(running, slot{version: running.version}); err != nil {
		return err
	}
	r := u.r
	r.Target, r.Failure = nil, nil
	if err := u.save(r); err != nil {
		return err
	}
	u.c.Log.Info("update committed", "version", running.version)
	return u.RaiseFloor(ctx)
}

// giveUp arms the way back: reason, then names.
func (u *Updater) giveUp(running slot, judged error) error {
	r := u.r
	r.Failure = &Failure{running.version, Unhealthy, plain(judged.Error())}
	if err := u.save(r); err != nil {
		u.c.Log.Warn("update record", "err", err) // to get back counts more than to say why
	}
	// A newer release that stepped back is taken again as it is: of names
	// without tries the loader takes the newest.
	if err := u.exhaust(running); err != nil {
		return err
	}
	return fmt.Errorf("%w: %w", ErrRestart, judged)
}

// exhaust takes a slot's tries away.
func (u *Updater) exhaust(s slot) error {
	if s.left == 0 && s.done > 0 {
		return nil
	}
	return u.rename(s, slot{version: s.version, counted: true, done: max(s.done, 1)})
}

// RaiseFloor raises the floor if the running release asks for it and has proven
// itself. It ends the way back to releases below. It may be repeated, at each
// healthy start.
func (u *Updater) RaiseFloor(ctx context.Context) error {
	all, err := u.slots()
	if err != nil {
		return err
	}
	if running, ok := find(all, u.c.Running.Version); !ok || running.counted {
		return nil
	}
	if err := u.c.Floor.Raise(ctx); err != nil {
		return fmt.Errorf("update: floor: %w", err)
	}
	return nil
}

// plain makes a text one that a panel can show.
func plain(s string) string {
	s = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s), " ")
	if len(s) > maxDetail {
		s = strings.ToValidUTF8(s[:maxDetail], "")
	}
	return s
}
