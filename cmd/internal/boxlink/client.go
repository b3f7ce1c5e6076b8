// SPDX-License-Identifier: Apache-2.0

package boxlink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"incamera/cmd/internal/strict"
)

// patience is how long an answer may take that needs no installation: a stick
// may have to spin up, and networkd to start.
const patience = time.Minute

// A Client asks boxd. It may be shared by goroutines.
type Client struct{ http *http.Client }

var _ Box = (*Client)(nil)

// New returns a client of the boxd behind a socket. It does not connect yet.
func New(socket string) *Client {
	return &Client{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableCompression: true,
		// A request on a connection that boxd, started anew, closed would fail.
		DisableKeepAlives: true,
	}}}
}

// Status implements [Box].
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.ask(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// Install implements [Box]. It reads the bundle as boxd takes it, and closes one
// that is an [io.Closer]: once ctx is done, that must end a Read that waits, or
// Install waits with it.
func (c *Client) Install(ctx context.Context, bundle io.Reader, older bool) (r Release, err error) {
	if closer, ok := bundle.(io.Closer); ok {
		defer context.AfterFunc(ctx, func() { _ = closer.Close() })() // it is only read
	}
	err = c.send(ctx, http.MethodPost, "/v1/install?older="+bit(older), "application/octet-stream", bundle, &r)
	return r, err
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// Stick implements [Box].
func (c *Client) Stick(ctx context.Context) (list []Bundle, err error) {
	err = c.ask(ctx, http.MethodGet, "/v1/stick", nil, &list)
	return list, err
}

// Import implements [Box].
func (c *Client) Import(ctx context.Context, name string, older bool) (r Release, err error) {
	b, err := json.Marshal(importRequest{name, older})
	if err != nil {
		return r, fmt.Errorf("box: %w", err)
	}
	err = c.send(ctx, http.MethodPost, "/v1/import", mediaJSON, bytes.NewReader(b), &r)
	return r, err
}

// Health implements [Box].
func (c *Client) Health(ctx context.Context, h Health) error {
	return c.ask(ctx, http.MethodPost, "/v1/health", h, &nothing{})
}

// Restart implements [Box].
func (c *Client) Restart(ctx context.Context, reason string) error {
	return c.ask(ctx, http.MethodPost, "/v1/restart", restartRequest{reason}, &nothing{})
}

// Reset implements [Box].
func (c *Client) Reset(ctx context.Context, serial string) error {
	return c.ask(ctx, http.MethodPost, "/v1/reset", resetRequest{serial}, &nothing{})
}

// Network implements [Box].
func (c *Client) Network(ctx context.Context) (s NetworkState, err error) {
	if err = c.ask(ctx, http.MethodGet, "/v1/network", nil, &s); err != nil {
		return s, err
	}
	s.Interface = wired(sysfs)
	s.Current, err = addresses(s.Interface)
	return s, err
}

// SetNetwork implements [Box].
func (c *Client) SetNetwork(ctx context.Context, n Network) error {
	return c.ask(ctx, http.MethodPut, "/v1/network", n, &nothing{})
}

// ConfirmNetwork implements [Box].
func (c *Client) ConfirmNetwork(ctx context.Context) error {
	return c.ask(ctx, http.MethodPost, "/v1/network/confirm", nothing{}, &nothing{})
}

// ask is send for what is answered soon.
func (c *Client) ask(ctx context.Context, method, path string, request, answer any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("box: no answer"))
	defer cancel()
	var body io.Reader
	if request != nil {
		b, err := json.Marshal(request)
		if err != nil {
			return fmt.Errorf("box: %w", err)
		}
		body = bytes.NewReader(b)
	}
	return c.send(ctx, method, path, mediaJSON, body, answer)
}

func (c *Client) send(ctx context.Context, method, path, mediaType string, body io.Reader, answer any) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://box"+path, body)
	if err != nil {
		return fmt.Errorf("box: %w", err)
	}
	if body != nil {
		r.Header.Set("Content-Type", mediaType)
	}
	got, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // the rest says what the caller knows
		}
		return fmt.Errorf("box: %w", err)
	}
	defer got.Body.Close()
	b, err := io.ReadAll(io.LimitReader(got.Body, maxAnswer+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("box: answer: %w", err)
	case len(b) > maxAnswer:
		return fmt.Errorf("box: answer of more than %d bytes", maxAnswer)
	}
	if got.StatusCode != http.StatusOK {
		refusal := new(Refusal)
		if err := strict.Decode(b, refusal); err != nil || refusal.Reason == "" {
			return errors.New("box: answer with status " + strconv.Itoa(got.StatusCode))
		}
		return refusal
	}
	if err := strict.Decode(b, answer); err != nil {
		return fmt.Errorf("box: answer: %w", err)
	}
	return nil
}
