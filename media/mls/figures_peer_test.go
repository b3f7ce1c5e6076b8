// SPDX-License-Identifier: Apache-2.0

//go:build figures

package mls

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A peer is ts-mls in a process of Node: see bench.mjs there for what its
// operations are. What it and this package measure are the same steps of a
// group that one member has just filled, with two differences: its commits of
// Adds have no path, and its times do not hold the encoding of messages.
type peer struct {
	t    *testing.T
	in   io.Writer
	out  *bufio.Scanner
	node string
	ms   map[string]map[string]float64
	kill func()
}

// startPeer fails the test if Node or its packages are missing: a table without
// the other side would look complete.
func startPeer(t *testing.T) *peer {
	t.Helper()
	dir := filepath.Join("interop", "testdata", "node")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "ts-mls")); err != nil {
		t.Fatalf("ts-mls is not installed: run make bench-mls, which does that: %v", err)
	}
	ctx, kill := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "node", "tsmls.mjs")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		kill()
		t.Fatalf("node: %v", err)
	}
	p := &peer{t: t, in: in, out: bufio.NewScanner(out), ms: map[string]map[string]float64{}, kill: kill}
	t.Cleanup(func() {
		kill()
		_ = in.Close()
		_ = cmd.Wait() // its error is that it was killed
	})
	p.bench(X25519AES128GCMSHA256Ed25519, 10)
	return p
}

// bench returns milliseconds by the names of bench.mjs, nil for a suite that
// ts-mls does not have.
func (p *peer) bench(id CipherSuite, members int) map[string]float64 {
	p.t.Helper()
	if id == MLKEM768P256AES256GCMSHA384P256 {
		return nil
	}
	key := fmt.Sprintf("%d/%d", id, members)
	if ms, ok := p.ms[key]; ok {
		return ms
	}
	turns := 3
	if members > 100 { // seconds, for some operations
		turns = 1
	}
	stop := time.AfterFunc(10*time.Minute, p.kill) // on a loaded machine 500 members take minutes
	defer stop.Stop()
	if _, err := fmt.Fprintf(p.in, `{"id":1,"op":"bench","suite":%d,"members":%d,"k":%d}`+"\n", id, members, turns); err != nil {
		p.t.Fatal(err)
	}
	if !p.out.Scan() {
		p.t.Fatalf("node: no answer: %v", p.out.Err())
	}
	var answer struct {
		Err string `json:"err"`
		OK  struct {
			MS   map[string]float64 `json:"ms"`
			Node string             `json:"node"`
		} `json:"ok"`
	}
	if err := json.Unmarshal(p.out.Bytes(), &answer); err != nil || answer.Err != "" {
		p.t.Fatalf("node: suite %d, %d members: %v %s", id, members, err, answer.Err)
	}
	p.node, p.ms[key] = answer.OK.Node, answer.OK.MS
	return answer.OK.MS
}
