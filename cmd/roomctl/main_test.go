// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"incamera/cmd/internal/box"
	"incamera/secureboot/attest"
	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/enrol/enroltest"
	"incamera/secureboot/evidence"
	"incamera/secureboot/tpm/tpmtest"
)

// roomctl runs a command and returns its exit status and what it printed.
func roomctl(t *testing.T, stdin string, args ...string) (int, string) {
	t.Helper()
	var out, errs bytes.Buffer
	err := run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	if err != nil {
		t.Logf("roomctl %s: %v", strings.Join(args, " "), err)
	}
	return status(err), out.String()
}

// startVerifier founds a site with the real program and starts it.
func startVerifier(t *testing.T, v *enroltest.Vendor) (url, token string) {
	t.Helper()
	dir := t.TempDir()
	program, site := filepath.Join(dir, "verifyd"), filepath.Join(dir, "site")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../verifyd")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build verifyd: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), program, "init", "-dir", site, "-site", "Example", "-domain", "rooms.example", "-listen", "127.0.0.1:0").Output()
	if err != nil {
		t.Fatal(err)
	}
	token = filepath.Join(dir, "token")
	path := filepath.Join(site, "verifier.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	c["bundle_keys"], c["log_key"], c["key_policies"] = "bundle.pem", v.LogKey, []string{enroltest.Hex(v.KeyPolicy())}
	if b, err = json.Marshal(c); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.WriteFile(path, b, 0o600),
		os.WriteFile(filepath.Join(site, "bundle.pem"), v.BundleKey(), 0o600),
		os.WriteFile(token, regexp.MustCompile(`(?m)^  ([0-9a-f]{40})$`).FindSubmatch(out)[1], 0o600),
	); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-config", path)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("verifyd ended with %v", err)
		}
	})
	address := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var line struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "starting" {
				address <- line.Address
			}
		}
	}()
	select {
	case a := <-address:
		return "https://" + a, token
	case <-time.After(30 * time.Second):
		t.Fatal("verifyd does not start")
		return "", ""
	}
}

// TestOperator is a day of security staff: a release, a code, an admission, a
// challenge, a box that runs something else, a revocation.
func TestOperator(t *testing.T) {
	vendor := enroltest.NewVendor(t)
	release := vendor.Release("1.4.0", 7)
	url, token := startVerifier(t, vendor)
	dir := t.TempDir()
	document, proof := filepath.Join(dir, "document"), filepath.Join(dir, "proof")
	if err := errors.Join(os.WriteFile(document, release.Document, 0o600), os.WriteFile(proof, vendor.Proof(release), 0o600)); err != nil {
		t.Fatal(err)
	}
	// The pin comes with each code; the first is read where the site was founded.
	first, err := client.New(url, client.WithKey([32]byte{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Site(t.Context()); !errors.Is(err, client.ErrIdentity) {
		t.Errorf("with the pin of nobody: %v, want ErrIdentity", err)
	}
	key := pinOf(t, url)
	staff := []string{"-verifier", url, "-key", key, "-token", token}
	do := func(want int, stdin string, args ...string) string {
		t.Helper()
		got, out := roomctl(t, stdin, append(args, staff...)...)
		if got != want {
			t.Fatalf("roomctl %s: exit status %d, want %d\n%s", strings.Join(args, " "), got, want, out)
		}
		return out
	}
	do(exitDone, "", "reference", "add", "-document", document, "-proof", proof)
	if out := do(exitDone, "", "reference", "list"); !strings.Contains(out, "1.4.0") {
		t.Errorf("reference list: %s", out)
	}
	made := enroltest.NewBox(t, tpmtest.Simulator(t), vendor, release)
	var code handout
	if err := json.Unmarshal([]byte(do(exitDone, "", "code", "-json", "-serial", made.Serial, "-room", "boardroom", "-name", "Boardroom",
		"-address", "10.0.2.15:7443", "-reached-at", "https://10.0.2.100:8443/")), &code); err != nil {
		t.Fatal(err)
	}
	if code.VerifierKey != key {
		t.Errorf("the code comes with key %s, the verifier has %s", code.VerifierKey, key)
	}
	invited, err := enrol.ParseInvitation(code.Invitation)
	if err != nil || invited.Verifier != "https://10.0.2.100:8443" || hex.EncodeToString(invited.Key[:]) != key || invited.Code.Text() != code.Code {
		t.Errorf("invitation to %s, %v", invited.Verifier, err)
	}
	do(exitUsage, "", "code", "-serial", "IC-2", "-room", "lobby", "-name", "Lobby", "-reached-at", "10.0.2.100:8443")
	do(exitRefused, "", "code", "-serial", "IC-2", "-room", "lobby", "-name", "Lobby", "-address", "10.0.2.15")
	out := do(exitDone, "", "code", "-serial", "IC-2", "-room", "lobby", "-name", "Lobby")
	if i, err := enrol.ParseInvitation(out[strings.LastIndex(out, enrolWord):]); err != nil || i.Verifier != url {
		t.Errorf("code prints %q: %v", out, err)
	}
	device := made.Device(vendor)
	do(exitDone, "", "approve-chip", fmt.Sprintf("%x", evidence.UEID(device.EKName)[1:]))
	do(exitRefused, "", "approve", "boardroom") // nobody waits yet
	v := &verifier{key: key}
	pin, err := v.pin()
	if err != nil {
		t.Fatal(err)
	}
	m := &client.Member{Room: made.Room(), Path: filepath.Join(dir, box.IdentityFile), Verifier: url, Key: pin}
	_, err = m.Join(t.Context(), client.Ticket{Code: code.Code})
	if status(err) != exitWaiting {
		t.Fatalf("Join = %v", err)
	}
	do(exitDone, "", "approve", "boardroom")
	if _, err := m.Join(t.Context(), client.Ticket{}); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "room.json")
	if err := os.WriteFile(config, []byte(`{"version":1,"identity":".","tpm":"none"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, out := roomctl(t, "", "identity", "-config", config); got != exitDone || !strings.Contains(out, "Boardroom") || !strings.Contains(out, key) {
		t.Errorf("identity: %d: %s", got, out)
	}

	room := httptest.NewTLSServer(attest.Handler(made.Attest, made.Leaf, slog.New(slog.DiscardHandler)))
	defer room.Close()
	out = do(exitDone, "", "verify", "boardroom", "-room", room.URL)
	for _, want := range []string{`"1.4.0"`, "released  yes", "since ", "warning", "hw_unrooted"} {
		if !strings.Contains(out, want) {
			t.Errorf("verify has no %q:\n%s", want, out)
		}
	}
	kept := filepath.Join(dir, "evidence.json")
	do(exitDone, "", "evidence", "boardroom", "-room", room.URL, "--out", kept)
	b, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Nonce, Evidence, EAR []byte
		Short                string `json:"short_code"`
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	if e, err := evidence.Parse(d.Evidence); err != nil || !bytes.Equal(e.Nonce, d.Nonce) || attest.ShortCode(d.EAR, d.Nonce) != d.Short {
		t.Errorf("what was kept does not belong together: %v", err)
	}

	// The box starts something that nobody released, and says that it had not.
	made.Restart(vendor.Release("1.4.0-evil", 7))
	made.Attest.Version = "1.4.0"
	evil := httptest.NewTLSServer(attest.Handler(made.Attest, nil, slog.New(slog.DiscardHandler)))
	defer evil.Close()
	out = do(exitVerdict, "", "verify", "boardroom", "-room", evil.URL)
	for _, want := range []string{"released  no", "contraindicated", "refval_mismatch", "event "} {
		if !strings.Contains(out, want) {
			t.Errorf("verify has no %q:\n%s", want, out)
		}
	}
	do(exitDone, "", "revoke", "boardroom")
	if out := do(exitDone, "", "rooms"); !strings.Contains(out, "revoked") {
		t.Errorf("rooms: %s", out)
	}

	do(exitSilent, "", "verify", "boardroom", "-room", "https://127.0.0.1:1")
	do(exitRefused, "", "verify", "nowhere", "-room", room.URL)
	for _, args := range [][]string{{}, {"dance"}, {"verify"}, {"verify", "a", "b"}, {"verify", "-dance", "a"}, {"reference"}, {"approve", "x"}} {
		if got, _ := roomctl(t, "", args...); got != exitUsage {
			t.Errorf("roomctl %q: exit status %d, want %d", args, got, exitUsage)
		}
	}
	if got, _ := roomctl(t, "", "rooms", "-verifier", url, "-key", strings.Repeat("00", 32), "-token", token); got != exitRefused {
		t.Errorf("another key: exit status %d, want %d", got, exitRefused)
	}
}

const enrolWord = "ic1."

// TestBundles gives a verifier releases for two boards, as staff do.
func TestBundles(t *testing.T) {
	vendor := enroltest.NewVendor(t)
	url, token := startVerifier(t, vendor)
	dir := t.TempDir()
	staff := []string{"-verifier", url, "-key", pinOf(t, url), "-token", token}
	do := func(want int, args ...string) string {
		t.Helper()
		got, out := roomctl(t, "", append(args, staff...)...)
		if got != want {
			t.Fatalf("roomctl %s: exit status %d, want %d\n%s", strings.Join(args, " "), got, want, out)
		}
		return out
	}
	file := func(board, version string) string {
		t.Helper()
		path := filepath.Join(dir, strings.ReplaceAll(board, "/", "-")+version)
		bundle := vendor.Bundle(vendor.ReleaseFor(board, version, 7), []byte("system"))
		if err := os.WriteFile(path, bundle, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first, second := file("qemu-arm64/debian", "1.4.0"), file("imx8mp-evk/buildroot", "1.4.0")
	do(exitFailed, "bundle", "approve", "1.4.0")
	if out := do(exitDone, "bundle", "add", first); !strings.Contains(out, "1.4.0 for qemu-arm64/debian") {
		t.Errorf("bundle add: %s", out)
	}
	do(exitDone, "bundle", "approve", "1.4.0") // the only board
	do(exitDone, "bundle", "add", second)
	if out := do(exitDone, "bundle", "list"); strings.Count(out, "1.4.0") != 2 || strings.Count(out, "approved") != 1 || strings.Count(out, "held") != 1 {
		t.Errorf("bundle list: %s", out)
	}
	if out := do(exitDone, "bundle", "list", "-board", "imx8mp-evk/buildroot"); strings.Count(out, "1.4.0") != 1 || !strings.Contains(out, "held") {
		t.Errorf("bundle list -board: %s", out)
	}
	do(exitUsage, "bundle", "withdraw", "1.4.0")
	do(exitRefused, "bundle", "withdraw", "1.4.0", "-board", "another")
	do(exitDone, "bundle", "withdraw", "1.4.0", "-board", "qemu-arm64/debian")
	do(exitDone, "bundle", "approve", "1.4.0")
	var list []enrol.BundleEntry
	if err := json.Unmarshal([]byte(do(exitDone, "bundle", "list", "-json")), &list); err != nil || len(list) != 1 || list[0].Board != "imx8mp-evk/buildroot" || !list[0].Approved {
		t.Errorf("bundle list -json: %+v, %v", list, err)
	}
	do(exitRefused, "bundle", "add", token) // which is no bundle
	do(exitFailed, "bundle", "add", filepath.Join(dir, "nothing"))
	do(exitUsage, "bundle", "add")
}

// pinOf reads the key that a verifier shows.
func pinOf(t *testing.T, url string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `openssl s_client -connect "$1" </dev/null 2>/dev/null | openssl x509 -pubkey -noout | openssl pkey -pubin -outform DER | sha256sum`,
		"sh", strings.TrimPrefix(url, "https://")).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))[0]
}

// TestDiskTool hands the key to a program by a pipe alone.
func TestDiskTool(t *testing.T) {
	dir := t.TempDir()
	tool := filepath.Join(dir, "tool")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\ncat >\""+dir+"/got\"\n[ $# = 0 ]\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := diskTool(tool).Adopt(t.Context(), []byte("secret of the disk")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "got")); err != nil || string(b) != "secret of the disk" {
		t.Errorf("the tool got %q, %v", b, err)
	}
	if err := diskTool("/bin/false").Adopt(context.Background(), nil); err == nil {
		t.Error("a tool that failed counts as done")
	}
}
