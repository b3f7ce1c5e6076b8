// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"incamera/cmd/internal/boxlink"
	"incamera/secureboot/measure/measuretest"
	"incamera/secureboot/measure/simboot"
	"incamera/secureboot/provision"
	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
)

// A machine is a box: two slots and an ESP in files, a TPM, and a boxd in it that
// answers at a socket. What its operating system does is done by the test.
type machine struct {
	t    *testing.T
	dir  string
	at   places
	log  *journal
	stop func() error // the boxd that runs
	box  *boxlink.Client

	mu      sync.Mutex
	mounted int // now
}

// newMachine is one that was set up and runs a release.
func newMachine(t *testing.T, m *maker, r *made) *machine {
	t.Helper()
	dir := t.TempDir()
	b := &machine{t: t, dir: dir, log: &journal{}}
	b.at = places{
		release: filepath.Join(dir, "release.json"), share: filepath.Join(dir, "share"), run: filepath.Join(dir, "run"),
		state: filepath.Join(dir, "state"), mounts: filepath.Join(dir, "mounts"), network: filepath.Join(dir, "network"),
		sys: filepath.Join(dir, "sys"), dev: filepath.Join(dir, "dev"),
		control: filepath.Join(dir, "systemctl"), watch: 10 * time.Millisecond, trial: time.Hour,
	}
	for _, sub := range []string{"share", "run/store", "state", "mounts", "sys/block", "dev/esp/EFI/Linux"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range [][2]string{{"root.pub", "root.pem"}, {"bundle.pub", "bundle.pem"}, {"log.pub", "log.pub"}, {"db.crt", "db.crt"}} {
		b.put("share/"+k[1], m.get("keys/"+k[0]))
	}
	b.put("dev/a", append(slices.Clone(r.system), make([]byte, 1<<20)...))
	b.put("dev/b", make([]byte, 3<<20))
	b.put("dev/esp/EFI/Linux/in-camera_"+r.version+".efi", r.uki)
	b.put("dev/esp/EFI/Linux/in-camera_"+r.version+".policies.cbor", r.policies)
	b.put("show", []byte("NRestarts=0\nActiveState=active\n"))
	b.put("systemctl", fmt.Appendf(nil, "#!/bin/sh\necho \"$@\" >>%[1]s/calls\n[ \"$1\" != show ] || cat %[1]s/show\n", dir))
	if err := os.Chmod(b.at.control, 0o700); err != nil {
		t.Fatal(err)
	}
	b.at.tpm = startTPM(t)
	b.runs(r, "a", "b")
	b.setUp(r)
	b.start()
	return b
}

// startTPM starts a software TPM, which takes one connection after the other. As a
// maker does, it leaves it one bank of PCRs, which counts from the next start.
func startTPM(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "boxd") //nolint:usetesting // the path of a socket has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "tpm")
	uri := "swtpm:unix:" + socket
	stop := powerTPM(t, dir, socket)
	chip, err := tpm.Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tpm.AllocateSHA256(chip), chip.Close()); err != nil {
		t.Fatal(err)
	}
	stop()
	t.Cleanup(powerTPM(t, dir, socket))
	return uri
}

func powerTPM(t *testing.T, dir, socket string) (stop func()) {
	t.Helper()
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate", "dir="+dir, "--server", "type=unixio,path="+socket)
	if err := cmd.Start(); err != nil {
		t.Fatalf("swtpm (make deps installs it): %v", err)
	}
	stop = func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); os.Remove(socket) }
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			return stop
		}
		if time.Now().After(until) {
			stop()
			t.Fatal(err)
		}
	}
}

// setUp provisions the TPM, as init does in its phase.
func (b *machine) setUp(r *made) {
	b.t.Helper()
	fail := func(err error) {
		if err != nil {
			b.t.Helper()
			b.t.Fatal(err)
		}
	}
	chip, err := tpm.Open(b.t.Context(), b.at.tpm)
	fail(err)
	defer chip.Close()
	measured, err := simboot.Start(chip, simboot.Typical(measuretest.Loader(), r.uki))
	fail(err)
	fail(measured.Extend(11, "enter-initrd"))
	trust, err := readTrust(b.at.share, testBoard)
	fail(err)
	policies, err := seal.ParsePolicies(r.policies)
	fail(err)
	store, err := seal.OpenStore(filepath.Join(b.at.run, "store"))
	fail(err)
	defer store.Close()
	_, err = provision.Run(b.t.Context(), chip, store, provision.Plan{
		Root: trust.Root, Policies: policies, Version: r.rollback, PolicyKey: 1,
		Disk: anyDisk{}, Keeper: anyKeeper{}, Log: slog.New(slog.DiscardHandler),
	})
	fail(err)
}

type anyDisk struct{}

func (anyDisk) Adopt(context.Context, seal.Secret) error { return nil }

type anyKeeper struct{}

func (anyKeeper) Keep(_ context.Context, key seal.RecoveryKey) (seal.RecoveryKey, error) {
	return key, nil
}

func (b *machine) put(name string, content []byte) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil { // boxd may read it now
		b.t.Fatal(err)
	}
}

func (b *machine) get(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.t.Fatal(err)
	}
	return string(text)
}

// runs makes a release the one that runs, from one slot, as init leaves it.
func (b *machine) runs(r *made, slot, idle string) {
	b.t.Helper()
	b.put("release.json", fmt.Appendf(nil, `{"version":%q,"rollback":%d,"board":%q,"software":"in-camera"}`, r.version, r.rollback, testBoard))
	b.put("run/policies.cbor", r.policies)
	b.put("run/slot", fmt.Appendf(nil, `{"esp":%q,"idle":%q,"data":%q}`, filepath.Join(b.dir, "dev/esp"), filepath.Join(b.dir, "dev", idle), "/dev/none"))
	if !strings.HasPrefix(b.get("dev/"+slot), string(r.system)) {
		b.t.Fatalf("slot %s does not have %s", slot, r.version)
	}
}

// mount is the machine's mounter: a link stands for a mounted device.
func (b *machine) mount(device, folder, kind string, _ bool) (func() error, error) {
	if wanted, err := os.ReadFile(device + ".kind"); err == nil && strings.TrimSpace(string(wanted)) != kind {
		return nil, fmt.Errorf("%s is no %s", device, kind)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mounted++
	return func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.mounted--
		return os.Remove(folder)
	}, os.Symlink(device, folder)
}

// start starts boxd behind a new socket.
func (b *machine) start() {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	d := newBox(b.at, b.mount, slog.New(slog.NewJSONHandler(b.log, nil)))
	go func() { done <- d.serve(ctx, ln) }()
	b.box = boxlink.New(path)
	b.stop = sync.OnceValue(func() error { cancel(); return <-done })
	b.t.Cleanup(func() {
		if err := b.stop(); err != nil {
			b.t.Errorf("boxd: %v", err)
		}
		if b.mounted != 0 {
			b.t.Errorf("%d devices are still mounted", b.mounted)
		}
	})
}

// restart stops boxd, has the loader start a release on trial, which lies in slot
// b, and starts its boxd.
func (b *machine) restart(r *made) {
	b.t.Helper()
	if err := b.stop(); err != nil {
		b.t.Fatal(err)
	}
	linux := filepath.Join(b.dir, "dev/esp/EFI/Linux/in-camera_"+r.version)
	if err := os.Rename(linux+"+3.efi", linux+"+2-1.efi"); err != nil {
		b.t.Fatal(err)
	}
	b.runs(r, "b", "a")
	b.put("run/trial", nil)
	b.start()
}

// names are the UKIs on the ESP.
func (b *machine) names() string {
	b.t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.dir, "dev/esp/EFI/Linux"))
	if err != nil {
		b.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".policies.cbor") {
			names = append(names, strings.TrimPrefix(e.Name(), "in-camera_"))
		}
	}
	return strings.Join(names, " ")
}

// install installs a bundle and returns the reason of a refusal.
func (b *machine) install(bundle []byte, older bool) string {
	b.t.Helper()
	_, err := b.box.Install(b.t.Context(), bytes.NewReader(bundle), older)
	if refusal, ok := errors.AsType[*boxlink.Refusal](err); ok {
		return refusal.Reason
	}
	if err != nil {
		b.t.Fatalf("installed with %v", err)
	}
	return ""
}

func (b *machine) status() boxlink.Status {
	b.t.Helper()
	s, err := b.box.Status(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// until waits for something that boxd does by itself.
func (b *machine) until(what string, done func() bool) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("not: %s\n%s", what, b.log.String())
		}
	}
}

// A journal keeps what boxd logs.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// said reports whether a message was logged.
func (j *journal) said(message string) bool {
	for line := range strings.Lines(j.String()) {
		var l struct {
			Msg string `json:"msg"`
		}
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == message {
			return true
		}
	}
	return false
}
