// SPDX-License-Identifier: Apache-2.0

package pairing

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Run opens windows while the room was never paired, ends them in time, and
// keeps the display true, until ctx is done.
func (k *Keeper) Run(ctx context.Context) error {
	var shown *Window
	defer k.o.Display.Hide()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			k.CloseWindow()
			return context.Cause(ctx)
		case <-timer.C:
		case <-k.wake:
		}
		open, next := k.step(time.Now())
		if open != shown {
			if shown = open; open != nil {
				k.o.Display.Show(*open)
				k.log.InfoContext(ctx, "pairing window opened", "role", string(open.Role), "until", open.Until)
			} else {
				k.o.Display.Hide()
				k.log.InfoContext(ctx, "pairing window closed")
			}
		}
		timer.Reset(next)
	}
}

// step does what is due, and returns the window that is open and when to look
// again.
func (k *Keeper) step(now time.Time) (*Window, time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := time.Hour
	due := func(at time.Time) bool {
		if d := at.Sub(now); d > 0 {
			next = min(next, d)
			return false
		}
		return true
	}
	if k.waiting != nil && due(k.waiting.until) {
		k.waiting = nil
		k.change()
	}
	if k.guess != nil && due(k.guess.until) {
		k.guess = nil // who does not go on knows why
		k.failed++
		k.change()
	}
	if k.window != nil && due(k.window.Until) {
		k.window = nil
		k.change()
	}
	for _, l := range []*time.Time{&k.locked, &k.pinLocked} {
		if !l.IsZero() && due(*l) {
			*l = time.Time{}
			k.change()
		}
	}
	if !k.book.Paired && k.window == nil && k.waiting == nil && k.locked.IsZero() {
		k.open(Facilities, now)
		next = min(next, windowTime)
	}
	if k.window != nil {
		next = min(next, addressTime)
		if hosts := k.hosts(); !slices.Equal(hosts, k.window.hosts) {
			moved := *k.window
			moved.hosts = hosts
			k.window = &moved // a new one, so that it is shown anew
		}
	}
	return k.window, next
}

// open replaces the window with a fresh one.
func (k *Keeper) open(role Role, now time.Time) {
	k.window = newWindow(role, now)
	k.window.pin, k.window.hosts = k.o.Pin, k.hosts()
	k.guess = nil
	if k.o.Guesses != nil && !now.Before(k.pinLocked) && !k.dead {
		var err error
		if k.window.digits, err = newDigits(); err != nil {
			k.log.Error("the window has no PIN", "err", err)
			k.window.digits = nil
		}
	}
	k.change()
}

// change tells who watches. k.mu is held.
func (k *Keeper) change() {
	close(k.changed)
	k.changed = make(chan struct{})
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// hosts lists how the room is reached: by its names, then by its addresses.
func (k *Keeper) hosts() []string {
	var out []string
	for _, name := range append(slices.Clone(k.o.Names), Addresses()...) {
		if k.o.Port == 443 {
			if addr, err := netip.ParseAddr(name); err == nil && addr.Is6() {
				name = "[" + name + "]"
			}
			out = append(out, name)
		} else {
			out = append(out, net.JoinHostPort(name, strconv.Itoa(int(k.o.Port))))
		}
	}
	return out
}

// Addresses lists the addresses of this computer that others can reach, IPv4
// first.
func Addresses() []string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var four, six []string
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		addr := p.Addr().Unmap()
		switch {
		case err != nil || !addr.IsGlobalUnicast():
		case addr.Is4():
			four = append(four, addr.String())
		default:
			six = append(six, addr.String())
		}
	}
	return append(four, six...)
}

// OpenWindow opens a window for panels with the role, in place of one that is
// open. The caller answers for who asked: only a client with the role
// Facilities may.
func (k *Keeper) OpenWindow(role Role) (Window, error) {
	if !role.valid() {
		return Window{}, fmt.Errorf("pairing: no panel has the role %q", string(role))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.locked.IsZero() && time.Now().Before(k.locked) {
		return Window{}, &LockedError{k.locked}
	}
	if len(k.book.Panels) >= maxPanels {
		return Window{}, ErrFull
	}
	k.open(role, time.Now())
	return *k.window, nil
}

// CloseWindow closes the window, if one is open. While the room was never
// paired the next one opens at once.
func (k *Keeper) CloseWindow() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.window != nil {
		k.window = nil
		k.change()
	}
}
