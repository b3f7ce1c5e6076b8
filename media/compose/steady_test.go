// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package compose

import (
	"context"
	"sync"
	"testing"
	"time"

	"incamera/media/frame"
)

// TestNoAllocation composes a steady meeting.
func TestNoAllocation(t *testing.T) {
	s := newScreen(640, 360, 30)
	st, err := New(s, English)
	if err != nil {
		t.Fatal(err)
	}
	sc := Scene{Layout: GridLayout, Self: &Tile{ID: 100}, SelfView: SelfCorner, Banner: "Lyon asks to join"}
	for i := range MaxGrid {
		sc.Tiles = append(sc.Tiles, Tile{ID: ID(i), Name: "Vauban", Badge: Badge(i % 5), Muted: i%2 == 0, Speaking: i == 3})
	}
	st.SetScene(sc)
	p, canvas := bars(320, 180, 1), frame.NewPicture(640, 360)
	now := time.Now()
	turn := func() {
		for id := range ID(MaxGrid) {
			st.Picture(id, p)
		}
		st.Picture(100, p)
		st.compose(canvas, st.scene, st.boxes, now)
	}
	turn()
	turn()
	if n := testing.AllocsPerRun(50, turn); n != 0 {
		t.Errorf("%v allocations for a composed picture", n)
	}
}

// TestManyWriters is for the race detector.
func TestManyWriters(t *testing.T) {
	s := newScreen(64, 36, 200)
	st, err := New(s, English)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var runs, writers sync.WaitGroup
	runs.Go(func() { _ = st.Run(ctx) })
	for id := range ID(4) {
		writers.Go(func() {
			p := bars(64, 36, int(id))
			for i := range 200 {
				st.Picture(id, p)
				if i%20 == 0 {
					st.SetScene(Scene{Layout: Layout(i % 2), Tiles: []Tile{{ID: 0}, {ID: id, Name: "x", Lost: i%40 == 0}}})
				}
				st.Stats()
			}
		})
	}
	writers.Wait()
	cancel()
	runs.Wait()
}

// TestCacheIsBounded changes names for ever and lets a picture stop and come
// back without any change of the scene.
func TestCacheIsBounded(t *testing.T) {
	st, err := New(newScreen(320, 180, 30), English)
	if err != nil {
		t.Fatal(err)
	}
	canvas, p, now := frame.NewPicture(320, 180), bars(320, 180, 1), time.Unix(1e9, 0)
	for i := range 200 {
		st.SetScene(Scene{Tiles: []Tile{{ID: 1, Name: string(rune('A' + i))}}})
		st.compose(canvas, st.scene, st.boxes, now)
	}
	if n := len(st.sprites); n > 8 {
		t.Errorf("%d sprites for one tile whose name changed 200 times", n)
	}
	for range 2 * maxSprites {
		now = now.Add(2 * time.Second)
		st.boxes[1].put(p, now)
		st.compose(canvas, st.scene, st.boxes, now)
		now = now.Add(2 * time.Second)
		st.compose(canvas, st.scene, st.boxes, now)
	}
	if n := len(st.sprites); n > maxSprites {
		t.Errorf("%d sprites after a picture stopped again and again", n)
	}
}
