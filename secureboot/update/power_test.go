// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"incamera/secureboot/evidence"
)

var seedFlag = flag.Uint64("update.seed", 0, "seed of TestPowerCuts; 0 takes another each time")

// life is one update from the bundle to its end: at each boot the running system
// does what roomd does.
type life struct {
	v         *vendor
	old, next *build
	bundle    []byte
	healthy   bool
	hangs     bool // the new release never comes as far as its program
}

// live boots the box until nothing is under way and the update was installed and
// judged, or the power goes.
func (l *life) live(b *box) error {
	ctx := context.Background()
	tried := false
	for range 20 {
		version, err := b.boot()
		if err != nil {
			return err
		}
		r := l.old
		if version == l.next.Version {
			r = l.next
		}
		b.whole(r)
		if r == l.next && l.hangs {
			tried = true
			continue // the watchdog
		}
		u := b.updater(l.v, r)
		s, err := u.Start()
		if err != nil {
			return err
		}
		switch {
		case s.Phase == Trial:
			tried = true
			err := u.Prove(ctx, func(context.Context) error {
				if l.healthy {
					return nil
				}
				return errors.New("no picture")
			})
			if err != nil && (l.healthy || !errors.Is(err, ErrRestart)) {
				return err
			}
		case s.Phase == Armed:
		case r == l.next: // committed
			return u.RaiseFloor(ctx)
		case tried || s.Failure != nil && s.Failure.Reason != Interrupted:
			return nil // failed, and back
		default:
			if _, err := u.Install(ctx, bytes.NewReader(l.bundle), Options{Older: true}); err != nil {
				return err
			}
		}
	}
	return errors.New("twenty boots and no end")
}

// TestPowerCuts cuts the power at every write of an update, the loader's
// included, and once more at a random write of what follows. There must always
// be one whole release, the old or the new, and the update must end as it should
// once the power stays.
func TestPowerCuts(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d: -update.seed=%[1]d repeats it", seed)
	v := newVendor(t)
	low, high := v.build("1.4.0", 7, 0), v.build("1.5.0", 7, 0)
	raising := v.build("1.6.0", 9, 8)
	cuts := 0
	for n, c := range []struct {
		name   string
		life   life
		end    *build
		reason Reason
		floor  uint64
	}{
		{"newer, healthy", life{v: v, old: low, next: high, healthy: true}, high, "", 1},
		{"newer, floor raised", life{v: v, old: high, next: raising, healthy: true}, raising, "", 8},
		{"newer, unhealthy", life{v: v, old: low, next: high}, low, Unhealthy, 1},
		{"newer, hangs", life{v: v, old: low, next: high, hangs: true}, low, NotStarted, 1},
		{"older, healthy", life{v: v, old: high, next: low, healthy: true}, low, "", 1},
		{"older, unhealthy", life{v: v, old: high, next: low}, high, Unhealthy, 1},
		{"older, hangs", life{v: v, old: high, next: low, hangs: true}, high, NotStarted, 1},
	} {
		c.life.bundle = v.pack(c.life.next)
		start := newBox(t, c.life.old)
		start.raise[raising.Version] = raising.FloorRaise
		// What an earlier update left in the idle slot.
		start.esp.names["in-camera_1.3.0+0-0.efi"] = low.uki
		start.esp.names["in-camera_1.3.0.policies.cbor"] = low.Policies
		// And a log that was seen.
		u := start.updater(v, c.life.old)
		checkpoint, err := v.log.Checkpoint(v.logVerifier.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := u.save(record{Format: 1, Seen: seenState{checkpoint.Origin, checkpoint.Size, evidence.Digest(checkpoint.Root), v.log.Marshal()}}); err != nil {
			t.Fatal(err)
		}
		start.seen = checkpoint.Size
		for at := 0; ; at++ {
			rng := rand.New(rand.NewPCG(seed, uint64(n<<16|at)))
			b := start.clone(rng, at)
			err := c.life.live(b)
			cut := b.dark
			for again := 0; b.dark; again++ {
				if !errors.Is(err, errCut) {
					t.Fatalf("%s: cut at write %d: %v", c.name, at, err)
				}
				cuts++
				b.restore()
				if again == 0 {
					b.left = rng.IntN(30)
				}
				err = c.life.live(b)
			}
			if err != nil {
				t.Fatalf("%s: after a cut at write %d: %v", c.name, at, err)
			}
			b.left = -1
			if version, err := b.boot(); err != nil || version != c.end.Version {
				t.Fatalf("%s: after a cut at write %d %s runs, %v", c.name, at, version, err)
			}
			s, err := b.updater(v, c.end).Start()
			if err != nil || s.Phase != Steady || b.floor != c.floor {
				t.Fatalf("%s: after a cut at write %d: %+v, floor %d, %v", c.name, at, s, b.floor, err)
			}
			if f := s.Failure; c.reason == "" && f != nil || c.reason != "" && (f == nil || f.Reason != c.reason) {
				t.Fatalf("%s: cut at write %d: failure %+v, want %q", c.name, at, f, c.reason)
			}
			if !cut {
				t.Logf("%s: %d writes", c.name, at)
				break
			}
		}
	}
	if cuts < 200 {
		t.Errorf("only %d power cuts", cuts)
	}
	t.Logf("%d power cuts", cuts)
}

// TestSteadyStateWritesNothing: where nothing is under way, twenty starts write
// nothing, so there is nothing that a power cut could hit.
func TestSteadyStateWritesNothing(t *testing.T) {
	v := newVendor(t)
	old, next := v.build("1.4.0", 7, 0), v.build("1.5.0", 7, 0)
	l := life{v: v, old: old, next: next, bundle: v.pack(next), healthy: true}
	b := newBox(t, old)
	if err := l.live(b); err != nil {
		t.Fatal(err)
	}
	b.writes = 0
	for range 20 {
		if version, err := b.boot(); err != nil || version != next.Version {
			t.Fatalf("%s runs, %v", version, err)
		}
		u := b.updater(v, next)
		if _, err := u.Start(); err != nil {
			t.Fatal(err)
		}
		if err := u.RaiseFloor(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if b.writes != 0 {
		t.Errorf("%d writes in the steady state", b.writes)
	}
}
