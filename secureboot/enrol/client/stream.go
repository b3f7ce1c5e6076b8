// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// stall is how long a transfer may stand still: longer than a verifier's disk
// takes to keep a gigabyte, and than most outages of a network.
const stall = 2 * time.Minute

var errStalled = errors.New("client: the transfer stands still")

// A transfer is a request without a bound on its whole time. It is cancelled
// when nothing has moved for a while.
type transfer struct {
	io.Reader
	body   io.Closer // nil while something is sent
	timer  *time.Timer
	cancel context.CancelCauseFunc
	ctx    context.Context //nolint:containedctx // io.Reader has no other place for it
}

// watch begins a transfer that ends with ctx.
func watch(ctx context.Context) *transfer {
	t := &transfer{}
	t.ctx, t.cancel = context.WithCancelCause(ctx)
	t.timer = time.AfterFunc(stall, func() { t.cancel(errStalled) })
	return t
}

// Read implements [io.Reader].
func (t *transfer) Read(b []byte) (int, error) {
	n, err := t.Reader.Read(b)
	t.timer.Reset(stall)
	if err != nil && !errors.Is(err, io.EOF) && t.ctx.Err() != nil {
		err = context.Cause(t.ctx)
	}
	return n, err
}

// Close ends the transfer. It may be called twice.
func (t *transfer) Close() error {
	t.timer.Stop()
	t.cancel(context.Canceled)
	if t.body == nil {
		return nil
	}
	return t.body.Close()
}

// download returns the body of a success, which the caller closes.
func (c *Client) download(ctx context.Context, path string) (io.ReadCloser, error) {
	t := watch(ctx)
	r, err := http.NewRequestWithContext(t.ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("client: %w", err), t.Close())
	}
	c.sign(r)
	rsp, err := c.stream.Do(r) //nolint:bodyclose // the transfer owns it
	if err != nil {
		return nil, errors.Join(unanswered(err), t.Close())
	}
	t.Reader, t.body = rsp.Body, rsp.Body
	if rsp.StatusCode != http.StatusOK {
		_, err := read(rsp)
		if err == nil { // a success of a kind that nobody asked for
			err = fmt.Errorf("%w: status %d", ErrUnavailable, rsp.StatusCode)
		}
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// upload sends body to its end and returns the body of a success.
func (c *Client) upload(ctx context.Context, method, path, mediaType string, body io.Reader) ([]byte, error) {
	t := watch(ctx)
	defer func() { _ = t.Close() }() // it was read to its end, or failed
	t.Reader = body
	r, err := http.NewRequestWithContext(t.ctx, method, c.base+path, struct{ io.Reader }{t}) // not closed before the answer
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	r.Header.Set("Content-Type", mediaType)
	// A refusal comes before the bytes do.
	r.Header.Set("Expect", "100-continue")
	c.sign(r)
	rsp, err := c.stream.Do(r)
	if err != nil {
		return nil, unanswered(err)
	}
	defer rsp.Body.Close()
	return read(rsp)
}
