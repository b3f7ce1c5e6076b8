// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo && !release

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"incamera/cmd/internal/box"
	"incamera/cmd/internal/boxlink"
	"incamera/cmd/internal/demo"
	"incamera/secureboot/tpm"
)

// A newBox is a box as it leaves the factory: a TPM in a process of its own that
// has started a release, boxd's end of the socket, and what an image knows. Its
// roomd can lose its power at any instant; the TPM and the disk keep what they
// have.
type newBox struct {
	t       *testing.T
	dir     string // of room.json
	exe     string
	machine *machine
	panel   string // addresses
	paired  string
	relay   string

	cmd   *exec.Cmd
	ended chan struct{}
}

const serial = "IC-TEST-1"

// unpack makes a new box that starts the release of a vendor.
func unpack(ctx context.Context, t *testing.T, vendor, programs string) *newBox {
	t.Helper()
	b := &newBox{t: t, dir: t.TempDir(), exe: filepath.Join(programs, "roomd"), machine: newMachine()}
	for _, addr := range []*string{&b.panel, &b.paired, &b.relay} {
		*addr = free(ctx, t)
	}
	uri := startChip(t)
	trust := map[string]any{
		"address": free(ctx, t), "mode": "attested-only", "release": "release.json", "boots": "boots", "store": "store",
		"policies": filepath.Join(vendor, "policies.cbor"), "root": filepath.Join(vendor, "keys", "root.pub"),
		"firmware_log": "firmware.log", "phase_log": "phases.log",
	}
	provisioned(ctx, t, uri, filepath.Join(vendor, "released"), b.dir, trust)
	b.put("release.json", []byte(`{"version":"1.0.0","rollback":1,"board":"demo/simulated","software":"In Camera"}`))
	b.put("boots", []byte("3\n"))
	image, err := json.Marshal(map[string]any{
		"version": 1, "identity": "identity", "state": "state", "panel": b.panel, "relay_listen": b.relay, "box": b.machine.serve(t),
		"paired": map[string]any{"address": b.paired, "notice": "pairing"},
		"tpm":    uri, "trust": trust, "camera": "sim", "sound": "sim", "display": "sim:" + free(ctx, t),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.put("image.json", image)
	t.Cleanup(func() {
		b.cut()
		if strings.Contains(b.log(), "DATA RACE") { // where it was built to see one
			t.Error("roomd has a data race")
		}
		if t.Failed() {
			t.Logf("roomd:\n%s", b.log())
		}
	})
	return b
}

func (b *newBox) put(name string, text []byte) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), text, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// free is an address of this computer that nobody uses now.
func free(ctx context.Context, t *testing.T) string {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// startChip starts a TPM without a maker's certificate and returns how to reach
// it. It lives as long as the test, whoever connects.
func startChip(t *testing.T) string {
	t.Helper()
	state := t.TempDir()
	sockets, err := os.MkdirTemp("", "chip-") //nolint:usetesting // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sockets) }) // a temporary folder
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	setup := exec.CommandContext(t.Context(), "swtpm_setup", "--tpm2", "--tpmstate", state, "--pcr-banks", "sha256", "--runas", self.Username)
	if out, err := setup.CombinedOutput(); err != nil {
		t.Fatalf("swtpm_setup: %v\n%s", err, out)
	}
	socket := filepath.Join(sockets, "data")
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate", "dir="+state,
		"--server", "type=unixio,path="+socket, "--ctrl", "type=unixio,path="+filepath.Join(sockets, "ctrl"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if t.Failed() && out.Len() > 0 {
			t.Logf("swtpm: %s", out.String())
		}
	})
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			return "swtpm:unix:" + socket
		} else if time.Since(began) > 10*time.Second {
			t.Fatalf("swtpm does not listen: %s", out.String())
		}
	}
}

// provisioned starts the release on a chip and provisions it, as the firmware, the
// loader and init do, and leaves what they leave.
func provisioned(ctx context.Context, t *testing.T, uri, release, dir string, trust map[string]any) {
	t.Helper()
	chip, err := tpm.Open(ctx, uri)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = chip.Close() }() // roomd is next
	c := &trustConfig{Config: box.Config{
		Policies: trust["policies"].(string), Root: trust["root"].(string), Store: filepath.Join(dir, "store"),
	}}
	b, err := startBox(ctx, chip, c, release, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	firmware, phases, err := b.Logs()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"firmware.log": firmware, "phases.log": phases} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// start gives the box power and returns its panel, once that answers.
func (b *newBox) start(ctx context.Context) *demo.Controller {
	b.t.Helper()
	log, err := os.OpenFile(filepath.Join(b.dir, "log.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	defer log.Close()
	b.cmd = exec.Command(b.exe, "-config", b.room(), "-setup", "-image", filepath.Join(b.dir, "image.json"))
	b.cmd.Stderr = log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan<- struct{}) {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}(b.cmd, b.ended)
	return b.connect(ctx)
}

func (b *newBox) connect(ctx context.Context) *demo.Controller {
	b.t.Helper()
	for {
		c, err := demo.Dial(context.WithoutCancel(ctx), b.panel)
		if err == nil {
			b.t.Cleanup(c.Close)
			return c
		}
		select {
		case <-b.ended:
			b.t.Fatal("roomd has ended")
		case <-ctx.Done():
			b.t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// cut takes the power.
func (b *newBox) cut() {
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Kill() // it may have ended
	<-b.ended
	b.cmd = nil
}

func (b *newBox) room() string { return filepath.Join(b.dir, "room.json") }

func (b *newBox) log() string {
	text, err := os.ReadFile(filepath.Join(b.dir, "log.jsonl"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// logged reports whether the log has a line with these members.
func (b *newBox) logged(members ...string) bool {
	for line := range strings.SplitSeq(b.log(), "\n") {
		all := true
		for _, m := range members {
			all = all && strings.Contains(line, m)
		}
		if all {
			return true
		}
	}
	return false
}

// A machine is boxd's end of the protocol: it remembers what it was asked.
type machine struct {
	boxlink.Box // what a set-up must not ask for panics

	mu       sync.Mutex
	update   boxlink.Update
	network  boxlink.Network
	tried    *boxlink.Network // to be confirmed
	bundle   [32]byte         // SHA-256 of what was installed
	verdicts []boxlink.Health
	restarts []string
	resets   []string
}

func newMachine() *machine {
	return &machine{
		update:  boxlink.Update{Phase: boxlink.Steady, Running: boxlink.Release{Version: "0.9.0", Rollback: 1}, Floor: 1},
		network: boxlink.Network{Method: boxlink.DHCP, DNS: []string{}},
	}
}

// serve listens as boxd does and returns the socket.
func (m *machine) serve(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "box-") //nolint:usetesting // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "box.sock")
	ln, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: boxlink.Handler(m, slog.New(slog.DiscardHandler)), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(ln) }() // until it is closed
	t.Cleanup(func() {
		_ = server.Close()
		_ = os.RemoveAll(dir) // a temporary folder
	})
	return socket
}

func (m *machine) Status(context.Context) (boxlink.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return boxlink.Status{Serial: serial, Board: "demo/simulated", Update: m.update, Work: boxlink.Work{State: boxlink.Idle}}, nil
}

func (m *machine) Install(_ context.Context, bundle io.Reader, _ bool) (boxlink.Release, error) {
	h := sha256.New()
	if _, err := io.Copy(h, bundle); err != nil {
		return boxlink.Release{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bundle = [32]byte(h.Sum(nil))
	m.update.Phase, m.update.Target = boxlink.Armed, &boxlink.Release{Version: "1.0.0", Rollback: 1}
	return *m.update.Target, nil
}

func (m *machine) Stick(context.Context) ([]boxlink.Bundle, error) { return nil, nil }

// boot starts what was installed, on trial. The first verdict decides.
func (m *machine) boot() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.update.Phase, m.update.Running, m.update.Target, m.verdicts = boxlink.Trial, *m.update.Target, nil, nil
}

func (m *machine) Network(context.Context) (boxlink.NetworkState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tried != nil {
		return boxlink.NetworkState{Network: *m.tried, ConfirmBy: time.Now().Add(time.Minute), Interface: "eth0"}, nil
	}
	return boxlink.NetworkState{Network: m.network, Interface: "eth0"}, nil
}

func (m *machine) SetNetwork(_ context.Context, n boxlink.Network) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n.Address == "10.9.9.9/24" {
		return &boxlink.Refusal{Reason: boxlink.Invalid, Detail: "not here"}
	}
	m.tried = &n
	return nil
}

func (m *machine) ConfirmNetwork(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tried == nil {
		return &boxlink.Refusal{Reason: boxlink.NoTrial, Detail: "nothing is tried"}
	}
	m.network, m.tried = *m.tried, nil
	return nil
}

// revert ends a trial of the network that nobody confirmed.
func (m *machine) revert() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tried = nil
}

func (m *machine) Health(_ context.Context, h boxlink.Health) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.verdicts = append(m.verdicts, h)
	if m.update.Phase == boxlink.Trial && h.Healthy {
		m.update.Phase = boxlink.Steady
	}
	return nil
}

func (m *machine) Restart(_ context.Context, reason string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.restarts = append(m.restarts, reason)
	return nil
}

func (m *machine) Reset(_ context.Context, serial string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resets = append(m.resets, serial)
	return nil
}

// judged waits until roomd has said a verdict, and returns all.
func (m *machine) judged(t *testing.T) []boxlink.Health {
	t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		m.mu.Lock()
		all := append([]boxlink.Health{}, m.verdicts...)
		m.mu.Unlock()
		if len(all) > 0 {
			return all
		} else if time.Since(began) > patience {
			t.Fatal("roomd says nothing of its health")
		}
	}
}

// show waits until a panel shows the values.
func show(ctx context.Context, t *testing.T, c *demo.Controller, values map[string]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := c.Await(ctx, fmt.Sprint(values), func() bool {
		for path, want := range values {
			if c.Text(path) != want {
				return false
			}
		}
		return true
	})
	if err != nil {
		t.Fatalf("%v; shown is: setup %v, enrolment %v, system %v, network %v", err,
			c.Value("Setup"), c.Value("Enrolment"), c.Value("System"), c.Value("Network"))
	}
}
