// SPDX-License-Identifier: Apache-2.0

package pipeline

import "sync"

// A gate is closed until somebody opens it. What passes holds its lock, so once
// set(false) has returned nothing passes any more, not even what was under way.
// What came in during one turn does not pass in another.
type gate struct {
	mu   sync.Mutex
	open bool
	turn uint64 // counts the times that it was closed
}

func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open && !open {
		g.turn++
	}
	g.open = open
}

func (g *gate) state() (open bool, turn uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open, g.turn
}
