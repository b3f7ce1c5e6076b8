// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"incamera/cmd/internal/boxlink"
	"incamera/secureboot/seal"
	"incamera/secureboot/update"
)

// A daemon is the box that boxlink serves.
type daemon struct {
	at       places
	log      *slog.Logger
	serial   string // empty: none was found
	board    string
	releases *releases
	sticks   *sticks
	network  *trials
	control  control
	close    func() error
}

var _ boxlink.Box = (*daemon)(nil)

// newBox finds what there is. A part that is missing is said in the status: the
// others work without it.
func newBox(at places, mount mounter, log *slog.Logger) *daemon {
	c := control{at.control, log}
	d := &daemon{at: at, log: log, control: c, close: func() error { return nil }}
	d.network = newTrials(newNetwork(at, log), func(ctx context.Context) error {
		// The networkctl of systemd 252 speaks to networkd over D-Bus, which a box
		// does not have. Restarted, networkd keeps the links up and reads its files.
		_, err := c.do(ctx, "restart", networkUnit)
		return err
	}, at.trial, log)
	d.releases = &releases{
		watch:   func(ctx context.Context) error { return c.watch(ctx, at.watch) },
		restart: c.restart, log: log,
		settled: func(ctx context.Context) error {
			if !exists(filepath.Join(at.run, "trial")) {
				return nil // nothing waits
			}
			return c.settled(ctx)
		},
		jobs: make(chan job), verdicts: make(chan boxlink.Health, 1),
		work: boxlink.Work{State: boxlink.Idle},
	}
	if err := d.open(mount); err != nil {
		d.releases.unavailable(err)
	}
	return d
}

// open opens what updates need.
func (d *daemon) open(mount mounter) error {
	d.serial = serial(d.at.sys, chip{uri: d.at.tpm, run: d.at.run, root: seal.RootKey{Generation: rootGeneration}}.number, d.log)
	r, err := readRunning(d.at.release)
	if err != nil {
		return err
	}
	d.board = r.Board
	d.releases.status = boxlink.Update{Phase: boxlink.Steady, Running: boxlink.Release{Version: r.Version, Rollback: r.Rollback}}
	trust, err := readTrust(d.at.share, r.Board)
	if err != nil {
		return err
	}
	floor := chip{d.at.tpm, d.at.run, trust.Root, r.Rollback}
	devices, err := readSlots(filepath.Join(d.at.run, "slot"))
	if err != nil {
		return err
	}
	d.sticks = &sticks{sys: d.at.sys, dev: d.at.dev, folder: filepath.Join(d.at.mounts, "stick"), own: devices, mount: mount, log: d.log, turn: make(chan struct{}, 1)}
	// Held for good: what is open in this way nobody mounts.
	idle, err := update.OpenPartition(devices.Idle)
	if err != nil {
		return err
	}
	record, err := update.OpenRecord(d.at.state)
	if err != nil {
		return errors.Join(err, idle.Close())
	}
	d.close = func() error { return errors.Join(record.Close(), idle.Close()) }
	d.releases.floor = floor
	d.releases.updater, err = update.New(update.Config{
		Trust: trust, Running: update.Release{Version: r.Version, Rollback: r.Rollback}, Idle: idle,
		ESP:    esp{devices.ESP, filepath.Join(d.at.mounts, "esp"), mount},
		Record: record, Floor: floor, Log: d.log,
	})
	return err
}

// Limits of the socket. Only the room's daemon can connect, which is enough of a
// reason: it is the part of the box that strangers speak to.
const (
	maxConnections = 16
	headerTime     = 5 * time.Second
	maxHeader      = 4 << 10
	stopTime       = 5 * time.Second
)

// serve answers at ln, which it closes, until ctx is done.
//
// The peer's credentials are not asked for: systemd makes the socket for root and
// the group of the room's daemon, in which nobody else is, and the kernel lets no
// other connect.
func (d *daemon) serve(ctx context.Context, ln net.Listener) error {
	told := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &http.Server{
		Handler:           boxlink.Handler(d, d.log),
		ReadHeaderTimeout: headerTime, IdleTimeout: headerTime, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(d.log.Handler(), slog.LevelWarn),
	}
	var parts sync.WaitGroup
	failed := make(chan error, 3)
	parts.Go(func() { failed <- s.Serve(bounded(ln, maxConnections)) })
	parts.Go(func() { failed <- d.releases.run(ctx) })
	parts.Go(func() { failed <- d.network.run(ctx) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed: // systemd starts boxd anew
	}
	if told.Err() != nil {
		err = nil // to be told to stop is no failure
	}
	cancel()
	stopping, stopped := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer stopped()
	if s.Shutdown(stopping) != nil {
		err = errors.Join(err, s.Close())
	}
	parts.Wait()
	return errors.Join(err, d.close())
}

// bounded is a listener that has at most n connections at once; others wait.
func bounded(ln net.Listener, n int) net.Listener {
	return &limited{ln, make(chan struct{}, n)}
}

type limited struct {
	net.Listener
	places chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	l.places <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &counted{Conn: c, leave: func() { <-l.places }}, nil
}

type counted struct {
	net.Conn
	once  sync.Once
	leave func()
}

func (c *counted) Close() error {
	defer c.once.Do(c.leave)
	return c.Conn.Close()
}

// Status implements [boxlink.Box].
func (d *daemon) Status(context.Context) (boxlink.Status, error) {
	r := d.releases
	r.mu.Lock()
	defer r.mu.Unlock()
	return boxlink.Status{Serial: d.serial, Board: d.board, Update: r.status, Work: r.work}, nil
}

// Install implements [boxlink.Box].
func (d *daemon) Install(ctx context.Context, bundle io.Reader, older bool) (boxlink.Release, error) {
	now := d.releases.now()
	switch {
	case now.Unavailable != "":
		return boxlink.Release{}, &boxlink.Refusal{Reason: boxlink.Unavailable, Detail: now.Unavailable}
	case now.Phase == boxlink.Trial:
		return boxlink.Release{}, &boxlink.Refusal{Reason: string(update.OnTrial), Detail: now.Running.Version + " has yet to prove itself"}
	}
	done := make(chan result, 1)
	select {
	case d.releases.jobs <- job{ctx, bundle, older, done}:
	case <-time.After(busyTime):
		return boxlink.Release{}, &boxlink.Refusal{Reason: boxlink.Busy, Detail: "another installation is under way"}
	}
	got := <-done // a done ctx ends it
	if refused, ok := errors.AsType[*update.Error](got.err); ok {
		return boxlink.Release{}, &boxlink.Refusal{Reason: string(refused.Reason), Detail: printable(refused.Err.Error())}
	}
	if got.err != nil && ctx.Err() != nil {
		return boxlink.Release{}, context.Canceled
	}
	return boxlink.Release(got.release), got.err
}

// busyTime is how long an installation waits for its turn: for what takes moments,
// not for another installation.
const busyTime = time.Second

// Stick implements [boxlink.Box].
func (d *daemon) Stick(ctx context.Context) ([]boxlink.Bundle, error) {
	if d.sticks == nil {
		return nil, nil // nothing can be installed either
	}
	return d.sticks.list(ctx)
}

// Import implements [boxlink.Box].
func (d *daemon) Import(ctx context.Context, name string, older bool) (r boxlink.Release, err error) {
	if d.sticks == nil {
		return d.Install(ctx, nil, older) // which says why not
	}
	err = d.sticks.open(ctx, name, func(bundle io.Reader) (err error) {
		r, err = d.Install(ctx, bundle, older)
		return err
	})
	return r, err
}

// Health implements [boxlink.Box].
func (d *daemon) Health(_ context.Context, h boxlink.Health) error {
	select {
	case d.releases.verdicts <- h:
	default: // one waits already, and the first decides
	}
	return nil
}

// Restart implements [boxlink.Box].
func (d *daemon) Restart(ctx context.Context, reason string) error {
	return d.control.restart(ctx, reason)
}

// Reset implements [boxlink.Box]. What it asks for init does, before anything runs
// that could still need the key.
func (d *daemon) Reset(ctx context.Context, serial string) error {
	if d.serial == "" || serial != d.serial {
		return &boxlink.Refusal{Reason: boxlink.WrongSerial, Detail: "not the serial number of this box"}
	}
	if err := place(filepath.Join(d.at.state, "reset"), []byte(serial+"\n"), 0o600); err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	d.log.Warn("factory reset requested", "serial", serial)
	return d.control.restart(ctx, "factory reset")
}

// Network implements [boxlink.Box]. What came of the configuration the client sees
// itself: boxd is in no network.
func (d *daemon) Network(context.Context) (boxlink.NetworkState, error) {
	n, err := d.network.now()
	if err != nil {
		d.log.Error("network configuration damaged", "err", err)
	}
	return n, nil
}

// SetNetwork implements [boxlink.Box].
func (d *daemon) SetNetwork(ctx context.Context, n boxlink.Network) error {
	if err := d.network.set(ctx, n); err != nil {
		return err
	}
	d.log.Info("network set", "method", n.Method, "address", n.Address)
	return nil
}

// ConfirmNetwork implements [boxlink.Box].
func (d *daemon) ConfirmNetwork(context.Context) error {
	if err := d.network.confirm(); err != nil {
		return err
	}
	d.log.Info("network kept")
	return nil
}
