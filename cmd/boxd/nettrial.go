// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"incamera/cmd/internal/boxlink"
)

// trials has a new configuration of the network prove itself: a wrong one would
// leave every panel but the one on the box itself without the room. Kept is the
// one before, so that a restart, of the box or of boxd, ends a trial as well.
//
//	kept:   set -> trial
//	trial:  set -> trial, anew; confirm -> kept; time is up -> kept, as before
type trials struct {
	network *network
	restart func(context.Context) error // of networkd
	limit   time.Duration
	log     *slog.Logger
	over    *time.Timer // runs during a trial

	mu    sync.Mutex
	tried boxlink.Network
	until time.Time // zero: nothing is on trial
}

// againTime is how soon it is tried anew to bring the configuration before back.
const againTime = 5 * time.Second

func newTrials(n *network, restart func(context.Context) error, limit time.Duration, log *slog.Logger) *trials {
	t := &trials{network: n, restart: restart, limit: limit, log: log, over: time.NewTimer(limit)}
	t.over.Stop()
	return t
}

// run ends trials until ctx is done. One that was cut short by the end of an
// earlier boxd it ends at once.
func (t *trials) run(ctx context.Context) error {
	t.begin()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.over.C:
			t.end(ctx)
		}
	}
}

func (t *trials) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, kept, _ := t.network.read() // damaged is DHCP, and said by render
	written, err := t.network.written()
	if t.until.IsZero() && (err != nil || written != kept.text()) {
		t.over.Reset(0)
	}
}

// end brings back what was kept.
func (t *trials) end(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if left := time.Until(t.until); left > 0 { // another trial began meanwhile
		t.over.Reset(left)
		return
	}
	err := t.network.render()
	if err == nil {
		err = t.restart(ctx)
	}
	if err != nil {
		t.log.Error("network: the configuration before does not come back", "err", err)
		t.over.Reset(againTime)
		return
	}
	t.until = time.Time{}
	t.log.Warn("network as it was before: nobody confirmed the change")
}

// set tries a configuration. If it cannot be put in force, the trial is over.
func (t *trials) set(ctx context.Context, c boxlink.Network) error {
	s, err := check(c)
	if err != nil {
		return err
	}
	if c.DNS == nil {
		c.DNS = []string{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, kept, err := t.network.read(); err == nil && kept.text() == s.text() {
		t.settle()
	} else {
		t.tried, t.until = c, time.Now().Add(t.limit)
		t.over.Reset(t.limit)
	}
	if err = t.network.write(s); err == nil {
		err = t.restart(ctx)
	}
	if err != nil {
		t.until = time.Time{}
		t.over.Reset(0)
	}
	return err
}

// confirm keeps what is on trial.
func (t *trials) confirm() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.until.After(time.Now()) {
		return &boxlink.Refusal{Reason: boxlink.NoTrial, Detail: "no configuration is on trial"}
	}
	if err := t.network.keep(t.tried); err != nil {
		return err
	}
	t.settle()
	return nil
}

func (t *trials) settle() {
	t.until = time.Time{}
	t.over.Stop()
}

// now is the configuration in force.
func (t *trials) now() (boxlink.NetworkState, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.until.IsZero() {
		// The trial is measured by a clock that nobody sets; told by the one that
		// may have been set meanwhile.
		by := time.Now().Add(time.Until(t.until)).UTC().Round(time.Second)
		return boxlink.NetworkState{Network: t.tried, ConfirmBy: by, Current: []string{}}, nil
	}
	kept, _, err := t.network.read()
	return boxlink.NetworkState{Network: kept, Current: []string{}}, err
}
