// SPDX-License-Identifier: Apache-2.0

// Package tpm reaches a TPM 2.0 and holds the keys that every room has in it.
//
// A [TPM] is a transport of go-tpm: it carries one command at a time, bounds
// each by a deadline, and repeats what the TPM asks to have repeated. Commands
// are those of package tpm2. Policies, sealed objects and the order in which a
// new TPM is set up are the business of packages seal and provision.
//
// Section numbers "TPM 2.0 Part n" are those of the TCG library specification,
// revision 1.59.
package tpm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// ErrNotBuilt means that the scheme of the URI is known but not in this
// program: simulators are chosen by name and never linked into a release.
var ErrNotBuilt = errors.New("tpm: not in this build")

// ErrClosed is returned for commands after [TPM.Close].
var ErrClosed = errors.New("tpm: closed")

const (
	headerSize = 10 // tag, size, code: TPM 2.0 Part 1, 18

	// bufferSize is what the kernel's driver takes and gives (TPM_BUFSIZE);
	// TPMs have MAX_COMMAND_SIZE and MAX_RESPONSE_SIZE of at most that.
	bufferSize = 4096

	// A create command on a slow chip takes some seconds, a self-test that
	// it may wait for a few more.
	defaultDeadline = 60 * time.Second

	// The waits between attempts double from 1 ms and stop growing at 512 ms:
	// 14 attempts are about 3 seconds, longer than any chip's self-test.
	maxAttempts = 14
	firstWait   = time.Millisecond
	longestWait = 512 * time.Millisecond
)

// A Tap sees all bytes between the program and the TPM, as an interposer on the
// bus does, and may change them in place. It is called with a nil response
// before the command goes out, and again with the response that came.
type Tap func(command, response []byte)

// An Option of [Open].
type Option func(*TPM)

// WithTap puts a tap on the bus. It is for tests.
func WithTap(tap Tap) Option { return func(t *TPM) { t.tap = tap } }

// WithDeadline sets the time that one command, its repetitions included, may
// take. The default is a minute.
func WithDeadline(d time.Duration) Option { return func(t *TPM) { t.deadline = d } }

// A wire carries commands to one TPM. Its methods are never called at the same
// time. After an error nothing is known of the command; the next exchange
// starts on a new connection.
type wire interface {
	// exchange returns a response of at most bufferSize bytes, which the
	// caller owns.
	exchange(command []byte, deadline time.Time) ([]byte, error)
	Close() error
}

// A TPM is one TPM. It may be used by several goroutines; those that need
// several commands in a row, or more than one of the TPM's three slots, take
// turns by [Exclusive].
type TPM struct {
	soft     bool
	deadline time.Duration
	tap      Tap
	commands atomic.Uint64
	turn     chan struct{} // holds a token while nobody is in Exclusive
	closed   chan struct{}
	once     sync.Once
	closeErr error

	mu   sync.Mutex // one command at a time
	wire wire
}

// Open opens the TPM that uri names:
//
//	device:tpmrm0        the kernel's resource manager /dev/tpmrm0
//	swtpm:unix:PATH      a software TPM on a Unix socket
//	swtpm:tcp:HOST:PORT  a software TPM on a TCP socket
//	sim:                 the simulator in this process, one at a time
//
// The last three need the build tag simtpm (sim: also cgo), and are in no
// program with the tag release: Open then returns [ErrNotBuilt]. There is no
// default. ctx bounds the opening only. The caller closes the TPM.
func Open(ctx context.Context, uri string, opts ...Option) (*TPM, error) {
	scheme, rest, _ := strings.Cut(uri, ":")
	t := &TPM{deadline: defaultDeadline, turn: make(chan struct{}, 1), closed: make(chan struct{})}
	t.turn <- struct{}{}
	for _, opt := range opts {
		opt(t)
	}
	var err error
	switch scheme {
	case "device":
		t.wire, err = openDevice("/dev", rest)
	case "swtpm":
		t.soft = true
		t.wire, err = openSwtpm(ctx, rest)
	case "sim":
		t.soft = true
		t.wire, err = openSimulator(ctx, rest)
	default:
		return nil, fmt.Errorf("tpm: uri %q: want the scheme device, swtpm or sim", uri)
	}
	if err != nil {
		return nil, fmt.Errorf("tpm: open %q: %w", uri, err)
	}
	return t, nil
}

// Close closes the connection, after the command in flight. Commands that come
// later return [ErrClosed].
func (t *TPM) Close() error {
	t.once.Do(func() {
		close(t.closed)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.closeErr = t.wire.Close()
	})
	return t.closeErr
}

// Commands returns how many commands were sent since Open, each attempt
// counted.
func (t *TPM) Commands() uint64 { return t.commands.Load() }

// Soft reports whether the TPM is a program. A room with such a TPM has no
// hardware root and says so on its panel and in its evidence.
func (t *TPM) Soft() bool { return t.soft }

// Send carries one command to the TPM and returns its response. It repeats a
// command that the TPM answers with RETRY, YIELDED or TESTING; other response
// codes are the caller's. A response that is not one whole TPM response is an
// error.
func (t *TPM) Send(command []byte) ([]byte, error) {
	if len(command) < headerSize || len(command) > bufferSize {
		return nil, fmt.Errorf("tpm: command of %d bytes", len(command))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	deadline := time.Now().Add(t.deadline)
	wait := firstWait
	for attempt := 1; ; attempt++ {
		select {
		case <-t.closed:
			return nil, ErrClosed
		default:
		}
		response, err := t.attempt(command, deadline)
		if err != nil {
			return nil, fmt.Errorf("tpm: command %#x: %w", binary.BigEndian.Uint32(command[6:]), err)
		}
		if attempt == maxAttempts || !again(response) || time.Now().Add(wait).After(deadline) {
			return response, nil
		}
		select {
		case <-t.closed:
			return nil, ErrClosed
		case <-time.After(wait):
		}
		wait = min(2*wait, longestWait)
	}
}

func (t *TPM) attempt(command []byte, deadline time.Time) ([]byte, error) {
	t.commands.Add(1)
	sent := command
	if t.tap != nil {
		sent = bytes.Clone(command) // the tap may change it
		t.tap(sent, nil)
	}
	response, err := t.wire.exchange(sent, deadline)
	if err != nil {
		return nil, err
	}
	if t.tap != nil {
		t.tap(sent, response)
	}
	return response, check(command, response)
}

// check refuses what is not one response to the command: the parser behind us
// trusts the header. A success has the tag of its command, so that nobody can
// make a response that proves itself into one that does not (TPM 2.0 Part 1,
// 18.4).
func check(command, response []byte) error {
	if len(response) < headerSize || uint64(len(response)) != uint64(binary.BigEndian.Uint32(response[2:])) {
		return fmt.Errorf("response of %d bytes is not whole", len(response))
	}
	if code(response) == tpm2.TPMRCSuccess && !bytes.Equal(response[:2], command[:2]) {
		return fmt.Errorf("response with tag %#x", response[:2])
	}
	return nil
}

func code(response []byte) tpm2.TPMRC { return tpm2.TPMRC(binary.BigEndian.Uint32(response[6:])) }

// again reports whether the TPM did nothing and asks for the same command once
// more. A command with a session may be sent again as it is: the TPM rolls no
// nonce before it starts (TPM 2.0 Part 2, 6.6.3).
func again(response []byte) bool {
	c := code(response)
	return c == tpm2.TPMRCRetry || c == tpm2.TPMRCYielded || c == tpm2.TPMRCTesting
}
