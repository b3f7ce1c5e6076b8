// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package main

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"incamera/cmd/internal/box"
	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/enroltest"
	"incamera/secureboot/measure"
	"incamera/secureboot/tpm/tpmtest"
)

// TestPrograms sets up a box and has it join a site by the programs alone, as a
// person does at a console: the chip is provisioned in the first phase of the
// boot and no later, the room enrols once the system is up, by an invitation.
func TestPrograms(t *testing.T) {
	vendor := enroltest.NewVendor(t)
	release := vendor.Release("1.4.0", 7)
	url, token := startVerifier(t, vendor)
	dir := t.TempDir()
	program := filepath.Join(dir, "roomctl")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "simtpm", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build roomctl: %v\n%s", err, out)
	}
	chip := tpmtest.Simulator(t)
	chip.OnlySHA256()
	b := enroltest.NewBareBox(t, chip)
	config := writeBox(t, dir, vendor, release, b, serveTPM(t, chip))

	// The tool takes the key once, as a disk that has one already does.
	tool := filepath.Join(dir, "tool")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\ncat >\""+dir+"/key\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	provision := []string{"provision", "-config", config, "-disk-tool", tool, "-rollback", "7", "-policy-key", "1"}
	if got, out := perform(t, program, "", "enrol", "-config", config, "-verifier", url, "-key", pinOf(t, url)); got != exitUsage {
		t.Errorf("enrol without a code: exit status %d: %s", got, out)
	}
	if got, out := perform(t, program, "0000-0000-0000-0000\n", "enrol", "-config", config, "-verifier", url, "-key", pinOf(t, url)); got != exitFailed || !strings.Contains(out, "not provisioned") {
		t.Errorf("enrol before provisioning: exit status %d: %s", got, out)
	}
	b.Boot(release)
	for _, phase := range measure.Phases() { // the system is up: too late
		b.Measure(11, phase)
	}
	if got, out := perform(t, program, "", provision...); got != exitFailed || !strings.Contains(out, "not approved in this boot phase") {
		t.Errorf("provision in a system that is up: exit status %d: %s", got, out)
	}
	chip.Reset()
	b.Boot(release)
	b.Measure(11, measure.EnterInitrd)
	if got, out := perform(t, program, "0000-0000\n", provision...); got != exitFailed {
		t.Errorf("a recovery key that comes back different: exit status %d: %s", got, out)
	}
	hash := typeBack(t, program, provision...)
	if key, err := os.ReadFile(filepath.Join(dir, "key")); err != nil || len(key) != 32 {
		t.Errorf("the tool got %d bytes, %v", len(key), err)
	}
	b.Measure(15, "machine-id:0123")
	for _, phase := range measure.Phases()[1:] {
		b.Measure(11, phase)
	}
	writeLogs(t, dir, b)

	staff := []string{"-verifier", url, "-key", pinOf(t, url), "-token", token}
	do := func(want int, stdin string, args ...string) string {
		t.Helper()
		got, out := perform(t, program, stdin, args...)
		if got != want {
			t.Fatalf("roomctl %s: exit status %d, want %d\n%s", strings.Join(args, " "), got, want, out)
		}
		return out
	}
	as := func(args ...string) []string { return append(args, staff...) }
	bundle := filepath.Join(dir, "in-camera-1.4.0.bundle")
	if err := os.WriteFile(bundle, vendor.Bundle(release, []byte("system")), 0o600); err != nil {
		t.Fatal(err)
	}
	do(exitDone, "", as("bundle", "add", bundle)...)
	do(exitDone, "", as("bundle", "approve", "1.4.0")...) // its reference values are known with it
	do(exitDone, "", as("approve-chip", hash, "-note", "read at the console")...)
	out := do(exitDone, "", as("code", "-serial", b.Serial, "-room", "curie", "-name", "Curie", "-address", "10.0.2.15:7443")...)
	invited, err := enrol.ParseInvitation(out[strings.LastIndex(out, enrolWord):])
	if err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	join := []string{"enrol", "-config", config, "-verifier", invited.Verifier, "-key", hex.EncodeToString(invited.Key[:])}
	do(exitRefused, enrol.NewCode().Text()+"\n", join...)
	do(exitWaiting, invited.String()+"\n", "enrol", "-config", config) // it names the verifier
	do(exitWaiting, invited.Code.Text()+"\n", join...)
	do(exitDone, "", as("approve", "curie")...)
	if out := do(exitDone, "\n", append(join, "-wait")...); !strings.Contains(out, "curie") {
		t.Errorf("enrol prints %q", out)
	}
	if out := do(exitDone, "", "identity", "-config", config); !strings.Contains(out, "Curie") || !strings.Contains(out, invited.Verifier) {
		t.Errorf("identity prints %q", out)
	}
	if _, err := os.Stat(filepath.Join(dir, "identity", box.IdentityFile)); err != nil {
		t.Error(err)
	}
	if out := do(exitDone, "", as("rooms", "-json")...); !strings.Contains(out, `"10.0.2.15:7443"`) || !strings.Contains(out, `"enrolled"`) {
		t.Errorf("rooms: %s", out)
	}
	do(exitRefused, invited.Code.Text()+"\n", join...) // a code serves once
}

// perform runs the program and returns its exit status and all that it printed.
func perform(t *testing.T, program, stdin string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	t.Logf("roomctl %s: %d", strings.Join(args, " "), cmd.ProcessState.ExitCode())
	return cmd.ProcessState.ExitCode(), string(out)
}

// typeBack provisions and is the person who copies the recovery key and types it
// back. It returns the chip's hash.
func typeBack(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	screen, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	key := regexp.MustCompile(`^  ([0-9A-Z]{4}(?:-[0-9A-Z]{1,4})+)$`)
	var text strings.Builder
	for lines := bufio.NewScanner(screen); lines.Scan(); {
		fmt.Fprintln(&text, lines.Text())
		if m := key.FindStringSubmatch(lines.Text()); m != nil {
			if _, err := io.WriteString(in, strings.ToLower(m[1])+"\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("roomctl provision: %v\n%s", err, &text)
	}
	m := regexp.MustCompile(`[0-9a-f]{64}`).FindString(out.String())
	if m == "" {
		t.Fatalf("roomctl provision prints %q", &out)
	}
	return m
}

// writeBox writes what is on the disk of a box that nobody has set up, and
// returns its configuration.
func writeBox(t *testing.T, dir string, v *enroltest.Vendor, r *enroltest.Release, b *enroltest.Box, tpm string) string {
	t.Helper()
	policies, err := r.Policies.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.MarshalPKIXPublicKey(v.Root().Key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{
		"version": 1, "identity": "identity", "tpm": tpm, "trust": box.Config{
			Policies: "policies.cbor", Root: "root.pem", Store: "store", Serial: b.Serial, Firmware: "firmware.log", Phases: "phases.log",
			Board: enroltest.Board, Software: "In Camera", Version: r.Version, BootCount: 1,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "room.json")
	if err := errors.Join(
		os.Mkdir(filepath.Join(dir, "store"), 0o700), os.Mkdir(filepath.Join(dir, "identity"), 0o700),
		os.WriteFile(filepath.Join(dir, "policies.cbor"), policies, 0o600),
		os.WriteFile(filepath.Join(dir, "root.pem"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: root}), 0o600),
		os.WriteFile(path, text, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	return path
}

func writeLogs(t *testing.T, dir string, b *enroltest.Box) {
	t.Helper()
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "firmware.log"), b.Firmware, 0o600),
		os.WriteFile(filepath.Join(dir, "phases.log"), b.Phases, 0o600),
	); err != nil {
		t.Fatal(err)
	}
}

// serveTPM gives other processes a chip, as swtpm does, and returns its name.
func serveTPM(t *testing.T, chip *tpmtest.Chip) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tpm") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "data")
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		_ = ln.Close()
		<-ended
	})
	go func() {
		defer close(ended)
		for { // one program at a time
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if err := errors.Join(relayTPM(conn, chip), conn.Close()); err != nil {
				t.Error(err)
			}
		}
	}()
	return "swtpm:unix:" + path
}

// relayTPM answers the commands of one connection until its end.
func relayTPM(conn net.Conn, chip *tpmtest.Chip) error {
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	for {
		command := make([]byte, 10) // tag, size, code
		if _, err := io.ReadFull(conn, command); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		body := make([]byte, min(binary.BigEndian.Uint32(command[2:]), 4096)-10)
		if _, err := io.ReadFull(conn, body); err != nil {
			return err
		}
		answer, err := chip.Send(append(command, body...))
		if err != nil {
			return err
		}
		if _, err := conn.Write(answer); err != nil {
			return err
		}
	}
}
