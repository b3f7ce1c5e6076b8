// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package update

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

// TestFloorInTPM commits a release that asks for a higher floor, in a room with
// a TPM: the floor rises after the commit and not before, and the release below
// is refused from then on.
func TestFloorInTPM(t *testing.T) {
	ctx := t.Context()
	v, old, b := room(t)
	next := v.build("1.5.0", 9, 8)
	chip := tpmtest.Swtpm(t)
	srk, err := tpm.Persist(chip, tpm2.TPMRHOwner, tpm2.ECCSRKTemplate, tpm.HandleSRK)
	if err != nil {
		t.Fatal(err)
	}
	if err := seal.Define(ctx, chip, srk, v.rootKey(), nil); err != nil {
		t.Fatal(err)
	}
	updater := func(r *build) *Updater {
		t.Helper()
		p, err := seal.ParsePolicies(r.Policies)
		if err != nil {
			t.Fatal(err)
		}
		u, err := New(Config{
			Trust: v.trust(), Running: Release{r.Version, r.Rollback}, Idle: b.parts[1-b.whole(r)], ESP: &b.esp, Record: b,
			Floor: TPMFloor{chip, srk, v.rootKey(), p, r.Rollback}, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	floor := func(want uint64) {
		t.Helper()
		if got, err := seal.Read(ctx, chip, v.rootKey(), seal.Floor); err != nil || got != want {
			t.Errorf("floor %d, %v; want %d", got, err, want)
		}
	}
	u := updater(old)
	if err := u.RaiseFloor(ctx); err != nil { // the first write
		t.Fatal(err)
	}
	floor(1)
	if _, err := u.Install(ctx, bytes.NewReader(v.pack(next)), Options{}); err != nil {
		t.Fatal(err)
	}
	if version, err := b.boot(); err != nil || version != next.Version {
		t.Fatalf("%s runs, %v", version, err)
	}
	u = updater(next)
	if err := u.RaiseFloor(ctx); err != nil {
		t.Fatal(err)
	}
	floor(1) // on trial
	chip.PowerCut()
	if err := u.Prove(ctx, func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	floor(8)
	_, err = u.Install(ctx, bytes.NewReader(v.pack(old)), Options{Older: true})
	if e, ok := errors.AsType[*Error](err); !ok || e.Reason != BelowFloor {
		t.Errorf("below the floor: %v", err)
	}
}
