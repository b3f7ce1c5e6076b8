// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"incamera/cmd/internal/boxlink"
)

// A wire is a box whose network is looked at.
type wire struct {
	t  *testing.T
	at places
}

// is checks the configuration in force: what boxd says, and what networkd reads.
func (w wire) is(c *boxlink.Client, want boxlink.Network, trial bool) {
	w.t.Helper()
	got, err := c.Network(w.t.Context())
	s, invalid := check(want)
	if err != nil || invalid != nil || !reflect.DeepEqual(got.Network, want) || got.ConfirmBy.IsZero() == trial {
		w.t.Errorf("in force is %+v, %v; want %+v, on trial %v", got, err, want, trial)
	}
	if text, err := newNetwork(w.at, nil).written(); err != nil || text != s.text() {
		w.t.Errorf("networkd reads %q, %v; want %+v", text, err, want)
	}
}

func (w wire) kept() string {
	w.t.Helper()
	n, _, err := newNetwork(w.at, nil).read()
	if err != nil {
		w.t.Error(err)
	}
	return n.Address
}

// restarts is how often networkd was restarted.
func (w wire) restarts() int {
	b, _ := os.ReadFile(filepath.Join(filepath.Dir(w.at.control), "calls")) // none yet
	return strings.Count(string(b), "restart systemd-networkd.service\n")
}

// until waits for what boxd does by itself.
func (w wire) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not within 20 s: %s", what)
		}
	}
}

var (
	byDHCP = boxlink.Network{Method: boxlink.DHCP, DNS: []string{}}
	first  = fixed("10.0.0.5/24", "10.0.0.1", "10.0.0.2")
	second = fixed("10.0.1.5/24", "10.0.1.1", "10.0.1.2")
)

func TestSetNetwork(t *testing.T) {
	c, at := bare(t)
	w := wire{t, at}
	set := func(n boxlink.Network) {
		t.Helper()
		if err := c.SetNetwork(t.Context(), n); err != nil {
			t.Error(err)
		}
	}
	confirm := func(want string) {
		t.Helper()
		if got := reason(c.ConfirmNetwork(t.Context())); got != want {
			t.Errorf("confirmed: %s; want %s", got, want)
		}
	}
	w.is(c, byDHCP, false)
	confirm(boxlink.NoTrial)
	set(first)
	w.is(c, first, true)
	if w.restarts() != 1 || w.kept() != "" {
		t.Errorf("%d restarts of networkd; kept is %q before anybody confirmed", w.restarts(), w.kept())
	}
	confirm("<nil>")
	w.is(c, first, false)
	if w.restarts() != 1 || w.kept() != first.Address {
		t.Errorf("%d restarts of networkd; kept is %q", w.restarts(), w.kept())
	}
	confirm(boxlink.NoTrial)

	set(boxlink.Network{Method: boxlink.DHCP})
	w.is(c, byDHCP, true)
	set(second) // it replaces the trial
	w.is(c, second, true)
	confirm("<nil>")
	if w.kept() != second.Address {
		t.Errorf("kept is %q", w.kept())
	}
	set(first)
	set(second) // as it was: nothing to try
	w.is(c, second, false)
	confirm(boxlink.NoTrial)

	broken := second
	broken.Address = "10.0.0.5/24\n[Network]"
	if err := c.SetNetwork(t.Context(), broken); reason(err) != boxlink.Invalid {
		t.Errorf("a line break: %v", err)
	}
	w.is(c, second, false)
}

// TestNetworkReverts: what nobody confirms does not stay.
func TestNetworkReverts(t *testing.T) {
	at := bareBox(t)
	w := wire{t, at}
	at.trial = 20 * time.Millisecond
	c, stop := start(t, at)
	defer stop()
	if err := c.SetNetwork(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	w.until("the configuration before is back", func() bool {
		n, err := c.Network(t.Context())
		return err == nil && n.ConfirmBy.IsZero()
	})
	w.is(c, byDHCP, false)
	if w.restarts() != 2 || w.kept() != "" {
		t.Errorf("%d restarts of networkd, want 2; kept is %q", w.restarts(), w.kept())
	}
	if got := reason(c.ConfirmNetwork(t.Context())); got != boxlink.NoTrial {
		t.Errorf("confirmed too late: %s", got)
	}
}

// TestNetworkCut: a boxd that ends during a trial has not kept it.
func TestNetworkCut(t *testing.T) {
	at := bareBox(t)
	w := wire{t, at}
	c, stop := start(t, at)
	for _, n := range []boxlink.Network{first, second} {
		if err := c.SetNetwork(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if n.Address == first.Address {
			if err := c.ConfirmNetwork(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.is(c, second, true)
	stop()
	c, stop = start(t, at)
	defer stop()
	w.until("networkd was restarted", func() bool { return w.restarts() == 3 })
	w.is(c, first, false)
}

// TestNetworkFails: a configuration that cannot be put in force is not on trial.
func TestNetworkFails(t *testing.T) {
	c, at := bare(t)
	w := wire{t, at}
	if err := os.WriteFile(at.control, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := c.SetNetwork(t.Context(), first); reason(err) != boxlink.Internal {
		t.Errorf("set: %v", err)
	}
	w.until("networkd reads what was before", func() bool {
		text, err := newNetwork(at, nil).written()
		return err == nil && text == ""
	})
	w.is(c, byDHCP, false)
}
