// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"incamera/cmd/internal/boxlink"
	"incamera/cmd/internal/kept"
	"incamera/device/panel"
)

// A caretaker is what whoever looks after the room may do with the box itself,
// in a room as in one that is set up: boxd does it.
type caretaker struct {
	box     *boxlink.Client
	file    kept.File // of wishes
	publish func(func(*panel.Tx))
	rename  func(ctx context.Context, name string) error
	log     *slog.Logger

	mu     sync.Mutex
	trying *boxlink.Network // as last seen: to be confirmed; nil: nothing is
}

// wishes is what people chose that no site knows.
type wishes struct {
	Version  int    `json:"version"` // of the format: 1
	Language string `json:"language,omitempty"`
}

func newCaretaker(c *config, publish func(func(*panel.Tx)), rename func(context.Context, string) error, log *slog.Logger) *caretaker {
	return &caretaker{
		box: boxlink.New(c.Box), file: kept.File(filepath.Join(c.State, "wishes.json")), publish: publish, rename: rename, log: log,
	}
}

// begin shows what people chose before.
func (k *caretaker) begin() {
	var w wishes
	if err := k.file.Load(&w); err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.log.Warn("what people chose is not known", "err", err)
	}
	if w.Language != "" {
		k.publish(func(tx *panel.Tx) { tx.Set("System/Language", w.Language) })
	}
}

// SetLanguage implements [panel.SystemControl], as do the methods up to
// FactoryReset.
func (k *caretaker) SetLanguage(_ context.Context, language string) error {
	if err := k.file.Save(wishes{1, language}); err != nil {
		return &panel.Refusal{Reason: panel.StorageFailed, Err: err}
	}
	k.publish(func(tx *panel.Tx) { tx.Set("System/Language", language) })
	return nil
}

func (k *caretaker) SetName(ctx context.Context, name string) error { return k.rename(ctx, name) }

func (k *caretaker) Restart(ctx context.Context) error {
	return boxRefusal(k.box.Restart(ctx, "asked for at a panel"))
}

func (k *caretaker) FactoryReset(ctx context.Context, serial string) error {
	return boxRefusal(k.box.Reset(ctx, serial))
}

// SetNetwork implements [panel.NetworkControl].
func (k *caretaker) SetNetwork(ctx context.Context, s panel.NetworkSettings) error {
	n := boxlink.Network{Method: boxlink.DHCP}
	if s.Static {
		n = boxlink.Network{Method: boxlink.Static, Address: s.Address.String()}
		if s.Gateway.IsValid() {
			n.Gateway = s.Gateway.String()
		}
		for _, d := range s.DNS {
			n.DNS = append(n.DNS, d.String())
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.box.SetNetwork(ctx, n); err != nil {
		return boxRefusal(err)
	}
	k.trying = nil // given up, if it was
	k.see(ctx)
	return nil
}

// ConfirmNetwork implements [panel.NetworkControl].
func (k *caretaker) ConfirmNetwork(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.box.ConfirmNetwork(ctx); err != nil {
		return boxRefusal(err)
	}
	k.see(ctx)
	return nil
}

// lookStep is how soon panels show what became of the network.
const lookStep = 5 * time.Second

// watch shows the network and the box's serial number until ctx ends.
func (k *caretaker) watch(ctx context.Context) error {
	k.serial(ctx)
	for {
		k.look(ctx)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lookStep):
		}
	}
}

// serial shows the serial number once boxd says it.
func (k *caretaker) serial(ctx context.Context) {
	for ctx.Err() == nil {
		s, err := k.box.Status(ctx)
		if err == nil {
			k.publish(func(tx *panel.Tx) { tx.Set("System/Serial", s.Serial) })
			return
		}
		k.log.Warn("the box does not answer", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(lookStep):
		}
	}
}

func (k *caretaker) look(ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.see(ctx)
}

// see shows the network. The caller holds mu, so that what was seen before a
// change is not shown after it.
func (k *caretaker) see(ctx context.Context) {
	n, err := k.box.Network(ctx)
	if err != nil {
		k.log.Debug("the network is not known", "err", err)
		return
	}
	now := map[string]any{"Method": "Dhcp", "Current": shown(n.Current)}
	if n.Method == boxlink.Static {
		now["Method"], now["Address"], now["Dns"] = "Static", n.Address, n.DNS
		if n.DNS == nil {
			now["Dns"] = []string{}
		}
		if n.Gateway != "" {
			now["Gateway"] = n.Gateway
		}
	}
	before := k.trying
	k.trying = nil
	if !n.ConfirmBy.IsZero() {
		now["ConfirmBy"], k.trying = n.ConfirmBy, &n.Network
	}
	k.publish(func(tx *panel.Tx) {
		tx.Set("Network", now)
		if before != nil && k.trying == nil && !reflect.DeepEqual(*before, n.Network) {
			tx.Event("Network/Reverted", map[string]string{})
		}
	})
}

// shown is the one address that people are shown: not one of the link alone,
// and IPv4 where there is a choice.
func shown(all []string) string {
	best := ""
	for _, text := range all {
		p, err := netip.ParsePrefix(text)
		if err != nil || !p.Addr().IsGlobalUnicast() {
			continue
		}
		if p.Addr().Is4() {
			return text
		}
		if best == "" {
			best = text
		}
	}
	return best
}

// boxRefusal says boxd's word in the panel's.
func boxRefusal(err error) error {
	r, ok := errors.AsType[*boxlink.Refusal](err)
	if !ok {
		return err
	}
	for _, known := range []struct {
		of     string
		reason panel.Reason
	}{
		{boxlink.Invalid, panel.InvalidParams},
		{boxlink.WrongSerial, panel.TargetChanged},
		{boxlink.NoTrial, panel.TargetChanged},
		{boxlink.Busy, panel.Conflict},
		{boxlink.Unavailable, panel.NotSupportedByHardware},
	} {
		if r.Reason == known.of {
			return &panel.Refusal{Reason: known.reason, Detail: r.Detail, Err: err}
		}
	}
	return err
}
