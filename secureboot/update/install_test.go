// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/veraison/go-cose"
)

// room is a box that runs 1.4.0, number 7, and its vendor.
func room(t *testing.T) (*vendor, *build, *box) {
	t.Helper()
	v := newVendor(t)
	old := v.build("1.4.0", 7, 0)
	return v, old, newBox(t, old)
}

// refused installs a bundle and checks that it is refused, and before anything
// was written, or with nothing armed.
func refused(t *testing.T, b *box, u *Updater, bundle []byte, o Options, want Reason, early bool) {
	t.Helper()
	before, writes := b.state(), b.writes
	_, err := u.Install(t.Context(), bytes.NewReader(bundle), o)
	if e, ok := errors.AsType[*Error](err); !ok || e.Reason != want {
		t.Errorf("refused with %v; want %s", err, want)
	}
	if early && (b.state() != before || b.writes != writes) {
		t.Errorf("%s: something was written before the manifest was accepted", want)
	}
	for name := range b.esp.names {
		if s, ok := parseSlot(name); ok && s != (slot{version: u.c.Running.Version}) {
			t.Errorf("%s: %s was left on the esp", want, name)
		}
	}
}

func TestUnlogged(t *testing.T) {
	v, old, b := room(t)
	u := b.updater(v, old)
	next := v.build("1.5.0", 8, 0)

	stranger := newVendor(t)
	stranger.log = v.log
	foreign := *next
	stranger.prove(&foreign, 1)
	refused(t, b, u, v.pack(&foreign), Options{}, Unlogged, true)

	other := *next // the proof is of another leaf
	v.prove(&other, 0)
	refused(t, b, u, v.pack(&other), Options{}, Unlogged, true)

	if _, err := u.Install(t.Context(), bytes.NewReader(v.pack(next)), Options{}); err != nil {
		t.Fatal(err)
	}
	// A log that forgot a leaf, signed by the right key: a fork. A room that saw
	// nothing would take it.
	forked := *v
	forked.log = newVendor(t).log
	later := forked.build("1.6.0", 8, 0)
	u = b.updater(v, old)
	if _, err := u.clear(); err != nil {
		t.Fatal(err)
	}
	refused(t, b, u, v.pack(later), Options{}, Unlogged, true)
	forked.build("1.6.1", 8, 0)
	forked.build("1.6.2", 8, 0)
	refused(t, b, u, v.pack(forked.build("1.7.0", 8, 0)), Options{}, Unlogged, true)
	// The true log grew, and an older bundle has a shorter one.
	latest := v.build("1.8.0", 8, 0)
	if _, err := u.Install(t.Context(), bytes.NewReader(v.pack(latest)), Options{}); err != nil {
		t.Error(err)
	}
	if _, err := u.Install(t.Context(), bytes.NewReader(v.pack(next)), Options{}); err != nil {
		t.Errorf("a bundle of before: %v", err)
	}
}

func TestWrongBoard(t *testing.T) {
	v, old, b := room(t)
	for _, board := range []string{"imx8mp-evk/buildroot", "qemu-arm64/buildroot", "qemu-arm64"} {
		next := v.build("1.5.0", 8, 0)
		next.Board = board
		refused(t, b, b.updater(v, old), v.pack(next), Options{}, WrongBoard, true)
	}
}

func TestBelowFloor(t *testing.T) {
	v, old, b := room(t)
	b.floor = 6
	u := b.updater(v, old)
	refused(t, b, u, v.pack(v.build("1.5.0", 5, 0)), Options{}, BelowFloor, true)
	refused(t, b, u, v.pack(v.build("1.3.0", 5, 0)), Options{Older: true}, BelowFloor, true)
	if _, err := u.Install(t.Context(), bytes.NewReader(v.pack(v.build("1.3.1", 6, 0))), Options{Older: true}); err != nil {
		t.Errorf("at the floor: %v", err)
	}
}

func TestTruncated(t *testing.T) {
	v, old, b := room(t)
	next := v.build("1.5.0", 8, 0)
	bundle := v.pack(next)
	u := b.updater(v, old)
	parts := len(bundle) - len(next.system) - len(next.uki)
	for _, n := range []int{0, 1, len(magic), len(magic) + 3, len(magic) + 4, parts / 2, parts - 1} {
		refused(t, b, u, bundle[:n], Options{}, Truncated, true)
	}
	for _, n := range []int{parts, parts + 1, parts + chunk, parts + len(next.system) - 1, parts + len(next.system), len(bundle) - 1} {
		refused(t, b, u, bundle[:n], Options{}, Truncated, false)
	}
	b.whole(old)
}

func TestTampered(t *testing.T) {
	v, old, b := room(t)
	next := v.build("1.5.0", 8, 0)
	bundle := v.pack(next)
	u := b.updater(v, old)
	head := len(bundle) - len(next.system) - len(next.uki)
	flip := func(at int) []byte {
		c := bytes.Clone(bundle)
		c[at] ^= 1
		return c
	}
	refused(t, b, u, flip(0), Options{}, Malformed, true)
	refused(t, b, u, flip(head-1), Options{}, SigInvalid, true)
	refused(t, b, u, flip(head/2), Options{}, SigInvalid, true)
	for _, at := range []int{head, head + chunk, head + len(next.system) - 1, head + len(next.system), len(bundle) - 1} {
		refused(t, b, u, flip(at), Options{}, Tampered, false)
	}
	refused(t, b, u, append(bytes.Clone(bundle), 0), Options{}, Malformed, false)

	huge := bytes.Clone(bundle)
	binary.BigEndian.PutUint32(huge[len(magic):], MaxManifest+1)
	refused(t, b, u, huge, Options{}, TooLarge, true)

	b.whole(old)
	if version, err := b.boot(); err != nil || version != old.Version {
		t.Errorf("%s runs, %v", version, err)
	}
}

// TestContradictions: signed, and still not believed.
func TestContradictions(t *testing.T) {
	v, old, b := room(t)
	other := v.build("1.5.1", 9, 0)
	stranger := newVendor(t)
	for _, c := range []struct {
		name   string
		want   Reason
		change func(*build)
	}{
		{"policies of another image", Untrusted, func(r *build) { r.Policies = other.Policies }},
		{"policies of another root", Untrusted, func(r *build) { r.Policies = stranger.build("1.5.0", 8, 0).Policies }},
		{"policies that do not parse", Malformed, func(r *build) { r.Policies = []byte{0} }},
		{"policies that raise the floor unasked", Malformed, func(r *build) { r.Policies = v.raise(r.Policies, 8) }},
		{"a raise without a signature", Malformed, func(r *build) { r.FloorRaise = 8 }},
		{"reference values of another release", Malformed, func(r *build) { r.References = other.References }},
		{"reference values of another signer", SigInvalid, func(r *build) { r.References = stranger.build("1.5.0", 8, 0).References }},
		{"another verity root", Malformed, func(r *build) { r.VerityRoot[0] ^= 1 }},
		{"a proof that does not parse", Malformed, func(r *build) { r.LogProof = []byte{0xa0} }},
		{"the image of another release", Tampered, func(r *build) { r.uki, r.UKI = other.uki, other.UKI }},
		{"an image that nobody signed", SigInvalid, func(r *build) { r.uki = unsigned(r.uki); r.UKI = partOf(r.uki) }},
		{"an image that a stranger signed", SigInvalid, func(r *build) {
			r.uki = stranger.signImage(unsigned(r.uki))
			r.UKI = partOf(r.uki)
		}},
		{"no image", Tampered, func(r *build) { r.uki = []byte("text"); r.UKI = partOf(r.uki) }},
		{"a system that does not fit", TooLarge, func(r *build) { r.system = make([]byte, 5<<20); r.System = partOf(r.system) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := v.build("1.5.0", 8, 0)
			c.change(next)
			late := slices.Contains([]string{"the image of another release", "an image that nobody signed", "an image that a stranger signed", "no image"}, c.name)
			refused(t, b, b.updater(v, old), v.pack(next), Options{}, c.want, !late)
		})
	}
	t.Run("another bundle key", func(t *testing.T) {
		refused(t, b, b.updater(v, old), stranger.pack(v.build("1.5.0", 8, 0)), Options{}, SigInvalid, true)
	})
	t.Run("what runs", func(t *testing.T) {
		refused(t, b, b.updater(v, old), v.pack(old), Options{Older: true}, Installed, true)
	})
}

// unsigned cuts the signature off an image.
func unsigned(pe []byte) []byte {
	out := bytes.Clone(pe)
	directory := out[binary.LittleEndian.Uint32(out[0x3c:])+24+112+32:]
	at := binary.LittleEndian.Uint32(directory)
	clear(directory[:8])
	return out[:at]
}

func TestOlderOnRequest(t *testing.T) {
	v, old, b := room(t)
	older, lower := v.build("1.3.0", 7, 0), v.build("1.5.0", 6, 0)
	u := b.updater(v, old)
	refused(t, b, u, v.pack(older), Options{}, Older, true)
	refused(t, b, u, v.pack(lower), Options{}, Older, true)
	l := life{v: v, old: old, next: older, bundle: v.pack(older), healthy: true}
	if err := l.live(b); err != nil {
		t.Fatal(err)
	}
	for range 3 { // and it stays, though a newer one is there
		if version, err := b.boot(); err != nil || version != older.Version {
			t.Fatalf("%s runs, %v", version, err)
		}
	}
}

// TestOnTrial: a release that has yet to prove itself does not overwrite the way
// back.
func TestOnTrial(t *testing.T) {
	v, old, b := room(t)
	next, third := v.build("1.5.0", 8, 0), v.build("1.6.0", 8, 0)
	if _, err := b.updater(v, old).Install(t.Context(), bytes.NewReader(v.pack(next)), Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.boot(); err != nil {
		t.Fatal(err)
	}
	u := b.updater(v, next)
	before := b.state()
	_, err := u.Install(t.Context(), bytes.NewReader(v.pack(third)), Options{})
	if e, ok := errors.AsType[*Error](err); !ok || e.Reason != OnTrial || b.state() != before {
		t.Errorf("installed while on trial: %v", err)
	}
	if err := u.RaiseFloor(t.Context()); err != nil || b.floor != 1 {
		t.Errorf("floor %d before the commit, %v", b.floor, err)
	}
}

// TestLoaderCannotCount: the name did not change although the trial runs.
func TestLoaderCannotCount(t *testing.T) {
	v, old, b := room(t)
	next := v.build("1.5.0", 8, 0)
	if _, err := b.updater(v, old).Install(t.Context(), bytes.NewReader(v.pack(next)), Options{}); err != nil {
		t.Fatal(err)
	}
	u := b.updater(v, next)
	s, err := u.Start()
	if err != nil || s.Phase != Trial || !s.LoaderCannotCount {
		t.Errorf("%+v, %v", s, err)
	}
	if err := u.Prove(t.Context(), func(context.Context) error { return errors.New("no \x1b[2Jsound") }); !errors.Is(err, ErrRestart) {
		t.Errorf("unhealthy: %v", err)
	}
	if version, err := b.boot(); err != nil || version != old.Version {
		t.Fatalf("%s runs, %v", version, err)
	}
	s, err = b.updater(v, old).Start()
	if want := (Failure{"1.5.0", Unhealthy, "no  [2Jsound"}); err != nil || s.Failure == nil || *s.Failure != want {
		t.Errorf("%+v, %v; want %+v", s.Failure, err, want)
	}
}

func TestCancelled(t *testing.T) {
	v, old, b := room(t)
	next := v.build("1.5.0", 8, 0)
	bundle := v.pack(next)
	why := errors.New("the meeting begins")
	for _, after := range []int64{0, chunk, systemSize, 1 << 40} {
		ctx, cancel := context.WithCancelCause(t.Context())
		if after == 0 {
			cancel(why)
		}
		_, err := b.updater(v, old).Install(ctx, bytes.NewReader(bundle), Options{Progress: func(written, total int64) {
			if written >= min(after, total) {
				cancel(why)
			}
		}})
		cancel(nil)
		armed := after == 1<<40 // told of the last byte, everything is in place
		if armed != (err == nil) || !armed && !errors.Is(err, why) {
			t.Errorf("cancelled after %d bytes: %v", after, err)
		}
		if version, err := b.clone(b.rng, -1).boot(); err != nil || (version == old.Version) == armed {
			t.Errorf("cancelled after %d bytes: %s runs, %v", after, version, err)
		}
		b.whole(old)
	}
	// A trial that is cancelled is not one that failed.
	if _, err := b.boot(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	u := b.updater(v, next)
	before := b.state()
	err := u.Prove(ctx, func(ctx context.Context) error { cancel(why); return ctx.Err() })
	if !errors.Is(err, why) || b.state() != before {
		t.Errorf("trial cancelled: %v", err)
	}
}

// TestAccepted: the caller learns what comes once the manifest was accepted, and
// before the slot is lost.
func TestAccepted(t *testing.T) {
	v, old, b := room(t)
	next := v.build("1.5.0", 8, 0)
	bundle := v.pack(next)
	var told []string
	o := Options{
		Accepted: func(m *Manifest) { told = append(told, m.Version+" accepted") },
		Progress: func(int64, int64) {
			if len(told) == 1 {
				told = append(told, "written")
			}
		},
	}
	u := b.updater(v, old)
	before := b.state()
	accepted := o.Accepted
	o.Accepted = func(m *Manifest) {
		accepted(m)
		if b.state() != before {
			t.Error("something was written before the caller was told")
		}
	}
	refused(t, b, u, v.pack(v.build("1.3.0", 7, 0)), o, Older, true)
	if told != nil {
		t.Errorf("told of what was refused: %q", told)
	}
	if _, err := u.Install(t.Context(), bytes.NewReader(bundle), o); err != nil || !slices.Equal(told, []string{"1.5.0 accepted", "written"}) {
		t.Errorf("told %q, %v", told, err)
	}
}

// TestArmedAndReplaced: of an armed release whose slot was taken, nobody is told
// later that its trial failed.
func TestArmedAndReplaced(t *testing.T) {
	v, old, b := room(t)
	first, second := v.build("1.5.0", 8, 0), v.build("1.6.0", 8, 0)
	u := b.updater(v, old)
	if _, err := u.Install(t.Context(), bytes.NewReader(v.pack(first)), Options{}); err != nil {
		t.Fatal(err)
	}
	bundle := v.pack(second)
	bundle[len(bundle)-1] ^= 1
	refused(t, b, u, bundle, Options{}, Tampered, false)
	for _, u := range []*Updater{u, b.updater(v, old)} { // now, and after a start
		if s, err := u.Start(); err != nil || s.Phase != Steady || s.Target != nil || s.Failure != nil {
			t.Errorf("%+v, %v", s, err)
		}
	}
}

// TestSecondSignature: a signature of an algorithm that this release does not
// know may stand beside, not instead.
func TestSecondSignature(t *testing.T) {
	v, old, b := room(t)
	next := v.build("1.5.0", 8, 0)
	payload, err := next.marshal()
	if err != nil {
		t.Fatal(err)
	}
	signed, err := sign(payload, v.bundle)
	if err != nil {
		t.Fatal(err)
	}
	m := cose.NewSignMessage()
	if err := m.UnmarshalCBOR(signed); err != nil {
		t.Fatal(err)
	}
	second := cose.NewSignature()
	const mlDSA65 = cose.Algorithm(-49) // RFC 9964
	second.Headers.Protected.SetAlgorithm(mlDSA65)
	second.Signature = make([]byte, 3309)
	first := m.Signatures[0]
	for _, c := range []struct {
		signatures []*cose.Signature
		want       Reason
	}{
		{[]*cose.Signature{first, second}, ""},
		{[]*cose.Signature{second}, Malformed},
		{[]*cose.Signature{second, first}, Malformed},
		{[]*cose.Signature{first, first}, Malformed},
		{[]*cose.Signature{first, second, second, second, second}, Malformed},
	} {
		m.Signatures = c.signatures
		signed, err := m.MarshalCBOR()
		if err != nil {
			t.Fatal(err)
		}
		bundle := binary.BigEndian.AppendUint32([]byte(magic), uint32(len(signed)))
		bundle = slices.Concat(bundle, signed, next.system, next.uki)
		if c.want != "" {
			refused(t, b, b.updater(v, old), bundle, Options{}, c.want, true)
		} else if _, err := b.clone(b.rng, -1).updater(v, old).Install(t.Context(), bytes.NewReader(bundle), Options{}); err != nil {
			t.Error(err)
		}
	}
}

// TestMedia installs through the real files that stand for a box.
func TestMedia(t *testing.T) {
	v := newVendor(t)
	old, next := v.build("1.4.0", 7, 0), v.build("1.5.0", 8, 0)
	dir := t.TempDir()
	files := map[string][]byte{
		"esp/in-camera_1.4.0.efi": old.uki, "esp/in-camera_1.4.0.policies.cbor": old.Policies,
		"esp/in-camera_1.3.0.efi": old.uki, "esp/in-camera_1.3.0.policies.cbor": {1}, "esp/other": {1},
		"esp/in-camera_1.5.0+3.efi": make([]byte, 1<<10), "esp/in-camera_1.5.0.policies.cbor": {1},
		"b": make([]byte, 3<<20), "var/other": {1},
	}
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	esp, err := OpenFolder(filepath.Join(dir, "esp"))
	if err != nil {
		t.Fatal(err)
	}
	defer esp.Close()
	idle, err := OpenPartition(filepath.Join(dir, "b"))
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	record, err := OpenRecord(filepath.Join(dir, "var"))
	if err != nil {
		t.Fatal(err)
	}
	defer record.Close()
	c := Config{
		Trust: v.trust(), Running: Release{"1.4.0", 7}, Idle: idle, ESP: esp, Record: record,
		Floor: boxFloor{newBox(t, old)}, Log: slog.New(slog.DiscardHandler),
	}
	u, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := u.Start(); err != nil || s.Phase != Steady {
		t.Fatalf("%+v, %v", s, err)
	}
	if names, err := esp.Names(); err != nil || slices.Contains(names, "in-camera_1.5.0+3.efi") || len(names) != 5 {
		t.Errorf("after the start the esp has %v, %v", names, err)
	}
	if _, err := u.Install(t.Context(), io.MultiReader(bytes.NewReader(v.pack(next))), Options{}); err != nil {
		t.Fatal(err)
	}
	names, err := esp.Names()
	slices.Sort(names)
	want := []string{"in-camera_1.4.0.efi", "in-camera_1.4.0.policies.cbor", "in-camera_1.5.0+3.efi", "in-camera_1.5.0.policies.cbor", "other"}
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("esp has %v, %v", names, err)
	}
	written := make([]byte, len(next.system))
	if _, err := idle.ReadAt(written, 0); err != nil || sha256.Sum256(written) != next.System.SHA256 {
		t.Errorf("the slot has other bytes (%v)", err)
	}
	again, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := again.Start(); err != nil || s.Phase != Armed || *s.Target != (Release{"1.5.0", 8}) {
		t.Errorf("%+v, %v", s, err)
	}
}
