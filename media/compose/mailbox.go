// SPDX-License-Identifier: Apache-2.0

package compose

import (
	"sync"
	"time"

	"incamera/media/frame"
)

// A mailbox holds the newest picture of one tile. The decoder writes into one
// picture while the stage draws another, so neither waits for the other longer
// than one copy takes.
type mailbox struct {
	mu      sync.Mutex
	waiting frame.Picture // the decoder's side
	fresh   bool          // waiting was not taken yet
	came    time.Time

	shown frame.Picture // the stage's side
	some  bool          // shown holds a picture
	since time.Time     // when shown came
}

// put copies p. It reports whether it replaced a picture that nobody saw.
func (b *mailbox) put(p *frame.Picture, now time.Time) (replaced bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting.CopyFrom(p)
	replaced, b.fresh, b.came = b.fresh, true, now
	return replaced
}

// take moves the newest picture to shown and reports whether it is new.
func (b *mailbox) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.fresh {
		return false
	}
	b.waiting, b.shown = b.shown, b.waiting
	b.fresh, b.some, b.since = false, true, b.came
	return true
}
