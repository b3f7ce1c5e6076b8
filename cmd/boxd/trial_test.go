// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"incamera/cmd/internal/boxlink"
	"incamera/secureboot/seal"
	"incamera/secureboot/update"
)

// worn is an ESP on a medium that takes no more files, after so many.
type worn struct {
	files map[string][]byte
	left  atomic.Int32
}

var errWorn = errors.New("input/output error")

func (w *worn) Names() ([]string, error)                      { return slices.Collect(maps.Keys(w.files)), nil }
func (w *worn) ReadFile(name string, _ int64) ([]byte, error) { return w.files[name], nil }
func (w *worn) ReadStart(name string) ([]byte, error)         { return w.files[name], nil }
func (w *worn) Sync() error                                   { return nil }

func (w *worn) WriteFile(name string, b []byte) error {
	if w.left.Add(-1) < 0 {
		return errWorn
	}
	w.files[name] = b
	return nil
}

func (w *worn) WriteStart(name string, b []byte) error {
	w.files[name] = b
	return nil
}

func (w *worn) Remove(name string) error {
	delete(w.files, name)
	return nil
}

type noFloor struct{}

func (noFloor) Read(context.Context) (uint64, error) { return 1, nil }
func (noFloor) Raise(context.Context) error          { return nil }

// onTrial is what judges a release on trial, on such a medium.
func onTrial(t *testing.T, esp *worn) (r *releases, restarts *atomic.Int32) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, public, err := note.GenerateKey(rand.Reader, "log.example")
	if err != nil {
		t.Fatal(err)
	}
	log, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	record, err := update.OpenRecord(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { record.Close() })
	r = &releases{
		floor: noFloor{}, log: slog.New(slog.DiscardHandler), verdicts: make(chan boxlink.Health, 1),
		watch:   func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) },
		settled: func(context.Context) error { return nil },
	}
	restarts = new(atomic.Int32)
	r.restart = func(context.Context, string) error { restarts.Add(1); return nil }
	r.updater, err = update.New(update.Config{
		Trust: update.Trust{
			Board: "qemu-arm64/debian", BundleKey: key.Public(), Log: []note.Verifier{log},
			Root: seal.RootKey{Generation: 1, Key: &key.PublicKey}, DB: []*x509.Certificate{{}},
		},
		Running: update.Release{Version: "1.5.0", Rollback: 8}, Idle: new(update.Partition), ESP: esp, Record: record, Floor: noFloor{}, Log: r.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	esp.files = map[string][]byte{"in-camera_1.4.0.efi": []byte("MZ 1.4.0"), "in-camera_1.5.0+2-1.efi": []byte("MZ 1.5.0")}
	if err := r.learn(t.Context()); err != nil || r.now().Phase != boxlink.Trial {
		t.Fatalf("%+v, %v", r.now(), err)
	}
	return r, restarts
}

// TestWornMedium: a commit is tried again, and no oftener than that; a release that
// failed ends although the way back could not be armed, so that its tries do.
func TestWornMedium(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, restarts := onTrial(t, &worn{})
		r.verdicts <- boxlink.Health{Healthy: true}
		began := time.Now()
		err := r.judge(t.Context())
		if !errors.Is(err, errWorn) || restarts.Load() != 0 || time.Since(began) != (attempts-1)*pause {
			t.Errorf("after %v: %v; %d restarts", time.Since(began), err, restarts.Load())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		esp := &worn{}
		r, restarts := onTrial(t, esp)
		r.verdicts <- boxlink.Health{Healthy: true}
		go func() { time.Sleep(pause / 2); esp.left.Store(1) }()
		if err := r.judge(t.Context()); err != nil || r.now().Phase != boxlink.Steady || restarts.Load() != 0 {
			t.Errorf("the second time: %v; %+v", err, r.now())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r, restarts := onTrial(t, &worn{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.judge(ctx) }()
		synctest.Wait()
		r.verdicts <- boxlink.Health{Detail: "no picture"}
		synctest.Wait()
		if restarts.Load() != 1 {
			t.Errorf("%d restarts", restarts.Load())
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("told to stop: %v", err)
		}
	})
}

// TestSilentTrial: nothing is heard of the room, and the way back is taken.
func TestSilentTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		esp := &worn{}
		esp.left.Store(1)
		r, restarts := onTrial(t, esp)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.judge(ctx) }()
		time.Sleep(update.HealthLimit - time.Second)
		synctest.Wait()
		if restarts.Load() != 0 {
			t.Error("restarted early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, spent := esp.files["in-camera_1.5.0+0-1.efi"]; restarts.Load() != 1 || !spent || len(esp.files) != 2 {
			t.Errorf("%d restarts; %q", restarts.Load(), esp.files)
		}
		cancel()
		<-done
	})
}
