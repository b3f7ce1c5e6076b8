// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"testing"
	"time"
)

// callTimeout bounds a call to a peer.
const callTimeout = 10 * time.Second

// maxLine bounds an answer: a Welcome of a group of the tests, as hex, and more.
const maxLine = 1 << 20

// A peer is another implementation in a child process, for one test.
type peer struct {
	stdin io.Writer
	lines chan []byte // closed when the child has closed its end
	id    int
}

// A request is one line to a peer; its keys "id" and "op" are call's.
type request map[string]any

// A refusal is what a peer answers if an operation fails there.
type refusal struct{ op, text string }

func (r *refusal) Error() string { return fmt.Sprintf("peer: %s: %s", r.op, r.text) }

// startPeer starts a script of testdata/node. The child ends with the test.
func startPeer(t *testing.T, script string) *peer {
	t.Helper()
	cmd := exec.Command("node", script)
	cmd.Dir = "testdata/node"
	cmd.Stderr = &logWriter{t: t, name: script}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: node 18 or newer is needed; make interop installs it", err)
	}
	p := &peer{stdin: stdin, lines: make(chan []byte)}
	stop := make(chan struct{})
	go func() {
		defer close(p.lines)
		in := bufio.NewScanner(stdout)
		in.Buffer(nil, maxLine)
		for in.Scan() {
			select {
			case p.lines <- bytes.Clone(in.Bytes()):
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() {
		stdin.Close()
		close(stop)
		kill := time.AfterFunc(callTimeout, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		for range p.lines { // Wait closes the pipe, so the reader ends first
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s ended with %v", script, err)
		}
	})
	return p
}

// call does one operation in the peer and decodes its answer into out, which
// may be nil. It returns a *refusal if the operation failed; anything else that
// goes wrong ends the test.
func (p *peer) call(t *testing.T, op string, r request, out any) error {
	t.Helper()
	p.id++
	line := map[string]any{"id": p.id, "op": op}
	for k, v := range r {
		line[k] = v
	}
	b, err := json.Marshal(line)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.stdin.Write(append(b, '\n')); err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	timeout := time.NewTimer(callTimeout)
	defer timeout.Stop()
	var answer struct {
		ID  int             `json:"id"`
		OK  json.RawMessage `json:"ok"`
		Err *string         `json:"err"`
	}
	select {
	case b, ok := <-p.lines:
		if !ok {
			t.Fatalf("%s: the peer ended; its modules come with make interop", op)
		}
		if err := json.Unmarshal(b, &answer); err != nil {
			t.Fatalf("%s: answer %q: %v", op, b, err)
		}
	case <-timeout.C:
		t.Fatalf("%s: no answer in %v", op, callTimeout)
	}
	switch {
	case answer.ID != p.id:
		t.Fatalf("%s: answer %d to call %d", op, answer.ID, p.id)
	case answer.Err != nil:
		return &refusal{op: op, text: *answer.Err}
	case out != nil:
		if err := json.Unmarshal(answer.OK, out); err != nil {
			t.Fatalf("%s: answer %s: %v", op, answer.OK, err)
		}
	}
	return nil
}

// octets are bytes that JSON has as hex.
type octets []byte

func (b octets) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(b)), nil }

func (b *octets) UnmarshalText(text []byte) error {
	out, err := hex.DecodeString(string(text))
	*b = out
	return err
}

// A logWriter hands a child's complaints to the log of the test.
type logWriter struct {
	t    *testing.T
	name string
}

func (w *logWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s: %s", w.name, bytes.TrimSpace(b))
	return len(b), nil
}
