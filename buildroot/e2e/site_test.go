// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"incamera/secureboot/seal"
)

// The ports of the site's verifier: where it listens is free, where rooms reach
// it is the same in each network.
const verifierPort = 8443

// A site is a verifier on this computer, as its staff run one, and the program
// with which they do it.
type site struct {
	dir      string
	listen   string // host:port
	token    string // file
	key      string // pin of the verifier's TLS key
	programs string
}

// newSite founds a site that knows the keys of the build, and starts its verifier,
// which lasts as long as the test.
func newSite(t *testing.T, keys string) *site {
	t.Helper()
	s := &site{dir: t.TempDir()}
	s.programs = s.path("bin")
	tool(t, "go", "build", "-o", s.programs+"/", "incamera/cmd/verifyd", "incamera/cmd/roomctl")
	s.listen = freeAddress(t)
	said := tool(t, filepath.Join(s.programs, "verifyd"), "init", "-dir", s.path("site"), "-site", "Example", "-domain", "rooms.example",
		"-networks", "10.0.2.0/24", "-listen", s.listen)
	token := regexp.MustCompile(`(?m)^ +([0-9a-f]{40})$`).FindStringSubmatch(said)
	if token == nil {
		t.Fatalf("verifyd init says no token:\n%s", said)
	}
	s.token = s.path("token")
	writeFile(t, s.token, []byte(token[1]+"\n"))
	s.configure(t, keys)
	s.start(t)
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// configure fills in what verifyd init leaves open. The TPM of the rooms is a
// program for which no maker vouches: this site accepts that, and each verdict
// says so.
func (s *site) configure(t *testing.T, keys string) {
	t.Helper()
	path := s.path("site/verifier.json")
	var c map[string]any
	if err := json.Unmarshal(readFile(t, path), &c); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(readFile(t, filepath.Join(keys, "root.pub")))
	if block == nil {
		t.Fatal("root.pub is no PEM")
	}
	root, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, ok := root.(*ecdsa.PublicKey)
	if !ok {
		t.Fatalf("root.pub is a %T", root)
	}
	policy, err := seal.AuthPolicy(seal.RootKey{Generation: 1, Key: key}, seal.Identity)
	if err != nil {
		t.Fatal(err)
	}
	c["bundle_keys"] = filepath.Join(keys, "bundle.pub")
	c["log_key"] = strings.TrimSpace(string(readFile(t, filepath.Join(keys, "log.pub"))))
	c["key_policies"] = []string{hex.EncodeToString(policy.Buffer)}
	c["policy"] = map[string]any{"id": "rooms.example", "accept_unrooted": true}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, b)
	s.key = pinOf(t, s.path("site/keys/tls.pem"))
}

// start starts the verifier and waits until it answers.
func (s *site) start(t *testing.T) {
	t.Helper()
	log, err := os.Create(s.path("verifyd.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(s.programs, "verifyd"), "-config", s.path("site/verifier.json"))
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
		if t.Failed() {
			t.Logf("the verifier:\n%s", tail(readFile(t, s.path("verifyd.jsonl")), 8<<10))
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		if _, err := s.try(ctx, "rooms"); err == nil {
			return
		} else if ctx.Err() != nil {
			t.Fatalf("the verifier does not answer: %v\n%s", err, readFile(t, s.path("verifyd.jsonl")))
		}
		select {
		case <-ctx.Done():
		case <-time.After(askStep):
		}
	}
}

// try runs a command of roomctl as staff, and returns what it prints as JSON.
func (s *site) try(ctx context.Context, args ...string) ([]byte, error) {
	n := 1
	if args[0] == "reference" || args[0] == "bundle" {
		n = 2
	}
	flags := []string{"-json", "-verifier", "https://" + s.listen, "-key", s.key, "-token", s.token}
	args = append(append(append([]string{}, args[:n]...), flags...), args[n:]...)
	cmd := exec.CommandContext(ctx, filepath.Join(s.programs, "roomctl"), args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, &programError{strings.Join(args, " "), err, said.String()}
	}
	return out, nil
}

// A programError is a program that ended with a status.
type programError struct {
	args string
	err  error
	said string
}

func (e *programError) Error() string {
	return "roomctl " + e.args + ": " + e.err.Error() + ": " + e.said
}
func (e *programError) Unwrap() error { return e.err }

// do is try that must go well; the answer goes into v, if that is not nil.
func (s *site) do(t *testing.T, v any, args ...string) {
	t.Helper()
	out, err := s.try(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal(out, v); err != nil {
		t.Fatalf("roomctl %q: %v\n%s", args, err, out)
	}
}

// invite makes an invitation for the box of a number, by its serial number.
func (s *site) invite(t *testing.T, network interface{ Service(int) string }, serial, room, name, address string) string {
	t.Helper()
	var made struct{ Invitation string }
	s.do(t, &made, "code", "-serial", serial, "-room", room, "-name", name, "-address", address,
		"-reached-at", "https://"+network.Service(verifierPort))
	if !strings.HasPrefix(made.Invitation, "ic1.") {
		t.Fatalf("an invitation %q", made.Invitation)
	}
	return made.Invitation
}

func freeAddress(t *testing.T) string {
	t.Helper()
	var c net.ListenConfig
	l, err := c.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// pinOf is the SHA-256 of the public key of the first certificate in a file.
func pinOf(t *testing.T, path string) string {
	t.Helper()
	block, _ := pem.Decode(readFile(t, path))
	if block == nil {
		t.Fatalf("%s is no PEM", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }
