// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
)

// maxConsole bounds what is kept of a boot's console, in bytes. A boot says some
// ten KiB.
const maxConsole = 8 << 20

// A console keeps what a box has said, and wakes who waits for more.
type console struct {
	mu      sync.Mutex
	said    []byte
	seen    int // said up to here was matched
	ended   bool
	changed chan struct{} // closed and replaced when there is more
}

func newConsole() *console { return &console{changed: make(chan struct{})} }

// read collects r until it ends.
func (c *console) read(r io.Reader) {
	b := make([]byte, 4096)
	for {
		n, err := r.Read(b)
		c.mu.Lock()
		if len(c.said)+n <= maxConsole {
			c.said = append(c.said, bytes.ReplaceAll(b[:n], []byte("\r"), nil)...)
		}
		c.ended = err != nil
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Expect waits until the box says ok, and returns the rest of that line once it
// is whole. It goes on behind what the last Expect matched. One of the words in
// fail, the end of the box, or of ctx, is an error that ends the wait at once.
func (c *console) Expect(ctx context.Context, ok string, fail ...string) (rest string, err error) {
	for {
		c.mu.Lock()
		text, changed, ended := string(c.said[c.seen:]), c.changed, c.ended
		if before, after, found := strings.Cut(text, ok); found && !contains(before, fail) {
			if line, _, whole := strings.Cut(after, "\n"); whole || ended {
				c.seen += len(before) + len(ok) + len(line)
				c.mu.Unlock()
				return line, nil
			}
		} else if contains(text, fail) {
			c.mu.Unlock()
			return "", fmt.Errorf("harness: the box said one of %q instead of %q", fail, ok)
		}
		c.mu.Unlock()
		if ended {
			return "", fmt.Errorf("harness: the box went off without %q; its last words: %q", ok, tail(text))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("harness: waiting for %q: %w; its last words: %q", ok, context.Cause(ctx), tail(text))
		}
	}
}

func contains(text string, words []string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

func tail(text string) string { return text[max(0, len(text)-400):] }
