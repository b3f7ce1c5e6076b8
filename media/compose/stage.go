// SPDX-License-Identifier: Apache-2.0

package compose

import (
	"context"
	"fmt"
	"image"
	"sync"
	"time"

	"incamera/media/frame"
)

// heartbeat is how long the stage shows one picture at most. A display that
// was plugged in again has a picture after that time.
const heartbeat = time.Second

// A Stage composes what a room's main display shows. SetScene and Picture may
// be called by anyone at any time, before and while Run runs.
type Stage struct {
	surface Surface
	words   Words
	letters *typesetter
	wake    chan struct{} // holds one: something changed

	mu    sync.Mutex
	scene *Scene
	boxes map[ID]*mailbox // of every tile of scene
	stats Stats

	// Below, Run's own.
	plan    *plan
	sprites map[spriteKey]*drawn
	age     uint64 // of plans, to find sprites that none uses
	rounds  map[int][4]*sprite
	ground  colour
	panel   colour
	accent  colour
	dim     *veil
}

// Stats counts since the stage was made.
type Stats struct {
	Composed uint64        // pictures presented
	Replaced uint64        // decoded pictures that a newer one overtook
	Unknown  uint64        // decoded pictures for a tile that the scene has not
	Shown    time.Duration // when the last one was presented, on CLOCK_MONOTONIC
}

// New returns a stage that shows an empty scene. words are what it says;
// [English] is a choice. Without libyuv it returns [ErrNotBuilt].
func New(surface Surface, words Words) (*Stage, error) {
	if !built {
		return nil, ErrNotBuilt
	}
	t, err := newTypesetter()
	if err != nil {
		return nil, err
	}
	return &Stage{
		surface: surface, words: words, letters: t,
		wake:    make(chan struct{}, 1),
		scene:   &Scene{},
		boxes:   map[ID]*mailbox{},
		sprites: map[spriteKey]*drawn{},
		rounds:  map[int][4]*sprite{},
		ground:  limited(ground),
		panel:   limited(panel),
		accent:  limited(accent),
		dim:     newVeil(limited(ground), 0xa0),
	}, nil
}

// SetScene shows s from the next picture on. It copies s. Pictures of tiles
// that s no longer has are dropped at once.
func (st *Stage) SetScene(s Scene) {
	c := s.clone()
	boxes := map[ID]*mailbox{}
	st.mu.Lock()
	keep := func(t Tile) {
		b := st.boxes[t.ID]
		if b == nil {
			b = &mailbox{}
		}
		boxes[t.ID] = b
	}
	for _, t := range c.Tiles {
		keep(t)
	}
	if c.Content != nil {
		keep(*c.Content)
	}
	if c.Self != nil {
		keep(*c.Self)
	}
	st.scene, st.boxes = c, boxes
	st.mu.Unlock()
	st.stir()
}

// Picture gives the stage a new picture of a tile, which it shows at once. It
// copies p, which stays the caller's; after the first pictures of a size it
// allocates nothing. A picture for a tile that the scene has not is counted
// and forgotten.
func (st *Stage) Picture(id ID, p *frame.Picture) {
	st.mu.Lock()
	box := st.boxes[id]
	if box == nil {
		st.stats.Unknown++
		st.mu.Unlock()
		return
	}
	st.mu.Unlock()
	if !whole(p) {
		return
	}
	if box.put(p, time.Now()) {
		st.mu.Lock()
		st.stats.Replaced++
		st.mu.Unlock()
	}
	st.stir()
}

// Stats gives the counters.
func (st *Stage) Stats() Stats {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.stats
}

func (st *Stage) stir() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// Run composes whenever something changed, at most at the surface's rate and
// at least once a second, until ctx is done or the surface fails.
func (st *Stage) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var next time.Time // the surface is free then
	for {
		now := time.Now()
		st.mu.Lock()
		scene, boxes := st.scene, st.boxes
		st.mu.Unlock()
		if err := st.show(scene, boxes, now); err != nil {
			return err
		}
		// Pictures come with some jitter: one may follow the last one at half
		// the distance, but the mean is the surface's rate.
		interval := time.Second / time.Duration(max(st.surface.Mode().Rate, 1))
		if early := now.Add(-interval / 2); next.Before(early) {
			next = early
		}
		next = next.Add(interval)

		timer.Reset(time.Until(st.due(now)))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		case <-st.wake:
		}
		if wait := time.Until(next); wait > 0 {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-timer.C:
			}
			// What came meanwhile is in the picture that follows.
			select {
			case <-st.wake:
			default:
			}
		}
	}
}

// due is when a picture is composed even if nothing comes: a second after the
// last one, or when a tile freezes.
func (st *Stage) due(now time.Time) time.Time {
	due := now.Add(heartbeat)
	if st.plan == nil {
		return due
	}
	for i := range st.plan.items {
		it := &st.plan.items[i]
		if at := it.box.since.Add(frozen); it.look == live && at.Before(due) {
			due = at
		}
	}
	return due
}

// show composes one picture and presents it.
func (st *Stage) show(scene *Scene, boxes map[ID]*mailbox, now time.Time) error {
	canvas := st.surface.Next()
	if canvas == nil {
		return nil
	}
	if !whole(canvas) {
		return fmt.Errorf("compose: surface lends a canvas of %dx%d with %d bytes", canvas.Width, canvas.Height, len(canvas.Pix))
	}
	st.compose(canvas, scene, boxes, now)
	at, err := st.surface.Present(canvas)
	if err != nil {
		return fmt.Errorf("compose: present: %w", err)
	}
	st.mu.Lock()
	st.stats.Composed++
	st.stats.Shown = at
	st.mu.Unlock()
	return nil
}

// compose draws the scene as it is at now.
func (st *Stage) compose(canvas *frame.Picture, scene *Scene, boxes map[ID]*mailbox, now time.Time) {
	size := image.Rect(0, 0, canvas.Width, canvas.Height)
	for _, b := range boxes {
		b.take()
	}
	if st.plan == nil || st.plan.scene != scene || st.plan.size != size {
		st.plan = st.newPlan(scene, boxes, size, now)
		st.sweep()
	} else {
		for i := range st.plan.items {
			it := &st.plan.items[i]
			if l := it.appearance(now); l != it.look || (l == stale && it.box.since != it.since) {
				it.look, it.since = l, it.box.since
				st.dress(it, size)
			}
		}
	}
	st.draw(canvas, st.plan)
}
