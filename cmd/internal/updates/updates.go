// SPDX-License-Identifier: Apache-2.0

// Package updates brings releases into a room: it lists what the site and the
// sticks offer, has boxd install one while the room goes on working, waits with
// the restart until no call runs, and tells what became of it.
//
// It judges no bundle and starts nothing by itself: boxd verifies and writes, a
// person chooses. [Updates] is what a panel's commands act on.
package updates

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"

	"incamera/cmd/internal/boxlink"
	"incamera/cmd/internal/kept"
	"incamera/device/panel"
	"incamera/secureboot/enrol"
)

// A Site has bundles: [incamera/secureboot/enrol/client.Client].
type Site interface {
	Bundles(ctx context.Context, board string) ([]enrol.BundleEntry, error)
	Bundle(ctx context.Context, board, version string) (io.ReadCloser, error)
	Close()
}

// Config is what updates need. All fields are required.
type Config struct {
	Box boxlink.Box // whose boxd has the privilege
	// Site opens a connection to the room's site. It is called for each use, as
	// certificates are renewed.
	Site    func() (Site, error)
	Publish func(func(*panel.Tx))
	State   kept.File // what must survive the restart
	Log     *slog.Logger
}

// Updates is a room's releases. It implements [panel.UpdateControl]; its methods
// may be called from any goroutine, and act once [Updates.Run] runs.
type Updates struct {
	Config
	events chan func(*owner)
	inCall atomic.Bool
	called chan struct{} // told when inCall has changed
}

var _ panel.UpdateControl = (*Updates)(nil)

// New starts nothing: all work happens in Run.
func New(c Config) *Updates {
	return &Updates{Config: c, events: make(chan func(*owner)), called: make(chan struct{}, 1)}
}

// InCall tells whether a call runs. It does not block.
func (u *Updates) InCall(running bool) {
	if u.inCall.Swap(running) == running {
		return
	}
	select {
	case u.called <- struct{}{}:
	default:
	}
}

// ask lets the owner run f and returns its error, or the cause of ctx.
func (u *Updates) ask(ctx context.Context, f func(*owner) error) error {
	answer := make(chan error, 1)
	select {
	case u.events <- func(o *owner) { answer <- f(o) }:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return <-answer // the owner does not wait for anything, so neither does this
}

// CheckUpdates implements [panel.UpdateControl]. It waits for the site and for
// the sticks, so that a person is told if one does not answer.
func (u *Updates) CheckUpdates(ctx context.Context) error {
	done := make(chan error, 1)
	err := u.ask(ctx, func(o *owner) error { return o.look(true, done) })
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// DownloadUpdate implements [panel.UpdateControl].
func (u *Updates) DownloadUpdate(ctx context.Context, version string, older bool) error {
	return u.ask(ctx, func(o *owner) error {
		board := o.status.Board
		return o.install(version, func(ctx context.Context) (boxlink.Release, error) {
			return u.download(ctx, board, version, older)
		})
	})
}

// ImportUpdate implements [panel.UpdateControl].
func (u *Updates) ImportUpdate(ctx context.Context, id string, older bool) error {
	return u.ask(ctx, func(o *owner) error {
		return o.install(o.offers[id].Version, func(ctx context.Context) (boxlink.Release, error) {
			return u.Box.Import(ctx, id, older)
		})
	})
}

// ApplyUpdate implements [panel.UpdateControl].
func (u *Updates) ApplyUpdate(ctx context.Context, now bool) error {
	return u.ask(ctx, func(o *owner) error { return o.apply(now) })
}

// CancelUpdate implements [panel.UpdateControl].
func (u *Updates) CancelUpdate(ctx context.Context) error {
	return u.ask(ctx, func(o *owner) error { return o.cancel() })
}

// download pours a bundle from the site into boxd. Neither end is kept waiting
// for more than the other needs.
func (u *Updates) download(ctx context.Context, board, version string, older bool) (boxlink.Release, error) {
	site, err := u.Site()
	if err != nil {
		return boxlink.Release{}, err
	}
	defer site.Close()
	from, err := site.Bundle(ctx, board, version)
	if err != nil {
		return boxlink.Release{}, err
	}
	defer from.Close()
	source := &source{from: from}
	release, err := u.Box.Install(ctx, source, older)
	if err != nil && source.err != nil {
		err = source.err // what boxd says of it is only what follows
	}
	return release, err
}

// A source remembers why it ended too early.
type source struct {
	from io.Reader
	err  error
}

// Read implements [io.Reader].
func (s *source) Read(b []byte) (int, error) {
	n, err := s.from.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = &interruptedError{err}
	}
	return n, err
}

// An interruptedError means that the site's bundle ended before it was whole.
type interruptedError struct{ err error }

func (e *interruptedError) Error() string { return "updates: interrupted: " + e.err.Error() }

// Unwrap returns the cause.
func (e *interruptedError) Unwrap() error { return e.err }
