// SPDX-License-Identifier: Apache-2.0

package call

import (
	"context"
	"errors"
	"sync"

	"incamera/media/e2ee"
	"incamera/media/relay"
)

// errNoRelay means that there is no relay at the moment. The group goes on as
// it is; commits wait.
var errNoRelay = errors.New("call: no relay")

// mail is the session's [e2ee.Delivery]: the connection to the relay that
// carries the meeting now.
type mail struct {
	mu   sync.Mutex
	conn *relay.Conn
}

func (d *mail) use(c *relay.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conn = c
}

func (d *mail) relay() (*relay.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		return nil, errNoRelay
	}
	return d.conn, nil
}

// Commit implements [e2ee.Delivery].
func (d *mail) Commit(ctx context.Context, epoch uint64, commit []byte, welcomes []e2ee.Welcome) error {
	conn, err := d.relay()
	if err != nil {
		return err
	}
	var out []relay.Welcome
	for _, w := range welcomes {
		out = append(out, relay.Welcome{To: w.To, Message: w.Message})
	}
	err = conn.Commit(ctx, epoch, commit, out)
	if errors.Is(err, relay.ErrStale) {
		return errors.Join(e2ee.ErrStale, err)
	}
	return err
}

// Send implements [e2ee.Delivery].
func (d *mail) Send(ctx context.Context, msg []byte) error {
	conn, err := d.relay()
	if err != nil {
		return err
	}
	err = conn.Send(ctx, msg)
	if errors.Is(err, relay.ErrStale) {
		return errors.Join(e2ee.ErrStale, err)
	}
	return err
}
