// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// chipWire is a TPM that answers from a list and then with success for ever.
type chipWire struct {
	answers []tpm2.TPMRC
	sent    [][]byte
	closed  int
	err     error
	raw     []byte // instead of an answer
}

func (w *chipWire) exchange(command []byte, _ time.Time) ([]byte, error) {
	w.sent = append(w.sent, slices.Clone(command))
	if w.err != nil || w.raw != nil {
		return w.raw, w.err
	}
	var rc tpm2.TPMRC
	if len(w.answers) > 0 {
		rc, w.answers = w.answers[0], w.answers[1:]
	}
	response := []byte{0x80, 0x01, 0, 0, 0, headerSize, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(response[6:], uint32(rc))
	return response, nil
}

func (w *chipWire) Close() error { w.closed++; return nil }

func onWire(w wire, opts ...Option) *TPM {
	t := &TPM{deadline: defaultDeadline, turn: make(chan struct{}, 1), closed: make(chan struct{}), wire: w}
	t.turn <- struct{}{}
	for _, opt := range opts {
		opt(t)
	}
	return t
}

// command is TPM2_SelfTest, which needs no parameter that matters here.
var command = []byte{0x80, 0x01, 0, 0, 0, 11, 0, 0, 0x01, 0x43, 1}

func TestSendRetries(t *testing.T) {
	repeat := func(rc tpm2.TPMRC, n int) []tpm2.TPMRC { return slices.Repeat([]tpm2.TPMRC{rc}, n) }
	for _, c := range []struct {
		name     string
		answers  []tpm2.TPMRC
		deadline time.Duration
		want     tpm2.TPMRC
		sent     int
		took     time.Duration
	}{
		{"success", nil, time.Minute, tpm2.TPMRCSuccess, 1, 0},
		{"retry", repeat(tpm2.TPMRCRetry, 2), time.Minute, tpm2.TPMRCSuccess, 3, 3 * time.Millisecond},
		{"yielded", repeat(tpm2.TPMRCYielded, 1), time.Minute, tpm2.TPMRCSuccess, 2, time.Millisecond},
		{"testing", repeat(tpm2.TPMRCTesting, 12), time.Minute, tpm2.TPMRCSuccess, 13, 1023*time.Millisecond + 2*512*time.Millisecond},
		{"for ever", repeat(tpm2.TPMRCRetry, 99), time.Minute, tpm2.TPMRCRetry, maxAttempts, 1023*time.Millisecond + 3*512*time.Millisecond},
		{"to the deadline", repeat(tpm2.TPMRCRetry, 99), 100 * time.Millisecond, tpm2.TPMRCRetry, 7, 63 * time.Millisecond},
		{"not asked to", []tpm2.TPMRC{tpm2.TPMRCLockout}, time.Minute, tpm2.TPMRCLockout, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &chipWire{answers: c.answers}
				chip := onWire(w, WithDeadline(c.deadline))
				start := time.Now()
				response, err := chip.Send(command)
				if err != nil || code(response) != c.want {
					t.Errorf("Send = %x, %v; want code %#x", response, err, uint32(c.want))
				}
				if len(w.sent) != c.sent || chip.Commands() != uint64(c.sent) {
					t.Errorf("sent %d times, counted %d; want %d", len(w.sent), chip.Commands(), c.sent)
				}
				if took := time.Since(start); took != c.took {
					t.Errorf("took %v; want %v", took, c.took)
				}
				for _, s := range w.sent {
					if !bytes.Equal(s, command) {
						t.Errorf("sent %x; want %x", s, command)
					}
				}
			})
		})
	}
}

func TestSendRefuses(t *testing.T) {
	for _, c := range []struct {
		name         string
		command, raw []byte
		err          error
	}{
		{"command too short", command[:9], nil, nil},
		{"command too long", make([]byte, bufferSize+1), nil, nil},
		{"wire", command, nil, io.ErrUnexpectedEOF},
		{"empty response", command, []byte{}, nil},
		{"cut response", command, []byte{0x80, 0x01, 0, 0, 0, 9, 0, 0, 0}, nil},
		{"size too large", command, []byte{0x80, 0x01, 0, 0, 0, 11, 0, 0, 0, 0}, nil},
		{"size too small", command, []byte{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0, 0, 0}, nil},
		{"tag of a session", command, []byte{0x80, 0x02, 0, 0, 0, 10, 0, 0, 0, 0}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			chip := onWire(&chipWire{raw: c.raw, err: c.err})
			response, err := chip.Send(c.command)
			if err == nil || !errors.Is(err, c.err) && c.err != nil {
				t.Errorf("Send = %x, %v; want an error %v", response, err, c.err)
			}
		})
	}
	// A TPM of an older family answers errors with its own tag.
	chip := onWire(&chipWire{raw: []byte{0x00, 0xC4, 0, 0, 0, 10, 0, 0, 0, 0x1E}})
	if response, err := chip.Send(command); err != nil || code(response) != 0x1E {
		t.Errorf("error of another tag: %x, %v; want it handed on", response, err)
	}
}

func TestTap(t *testing.T) {
	var bus [][]byte
	w := &chipWire{}
	chip := onWire(w, WithTap(func(command, response []byte) {
		if response == nil {
			command[10] = 0 // the caller's command must not change
			return
		}
		bus = append(bus, slices.Clone(command), slices.Clone(response))
		response[9] = 1
	}))
	before := slices.Clone(command)
	response, err := chip.Send(command)
	if err != nil || code(response) != 1 {
		t.Errorf("Send = %x, %v; want what the tap made of it", response, err)
	}
	if !bytes.Equal(command, before) {
		t.Errorf("the tap changed the caller's command: %x", command)
	}
	if len(bus) != 2 || bus[0][10] != 0 || !bytes.Equal(bus[0], w.sent[0]) {
		t.Errorf("tap saw %x; sent was %x", bus, w.sent)
	}
}

func TestClose(t *testing.T) {
	w := &chipWire{}
	chip := onWire(w)
	for range 2 {
		if err := chip.Close(); err != nil {
			t.Error(err)
		}
	}
	if w.closed != 1 {
		t.Errorf("wire closed %d times; want once", w.closed)
	}
	if _, err := chip.Send(command); !errors.Is(err, ErrClosed) {
		t.Errorf("Send after Close: %v; want ErrClosed", err)
	}
	ran := func(transport.TPM) error { t.Error("ran after Close"); return nil }
	if err := Exclusive(t.Context(), chip, ran); !errors.Is(err, ErrClosed) {
		t.Errorf("Exclusive after Close = %v; want ErrClosed", err)
	}
}

// Close ends the waiting for a TPM that is busy.
func TestCloseWhileBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chip := onWire(&chipWire{answers: slices.Repeat([]tpm2.TPMRC{tpm2.TPMRCTesting}, 99)})
		result := make(chan error)
		go func() {
			_, err := chip.Send(command)
			result <- err
		}()
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		if err := chip.Close(); err != nil {
			t.Error(err)
		}
		if err := <-result; !errors.Is(err, ErrClosed) || time.Since(start) != 0 {
			t.Errorf("Send = %v after %v; want ErrClosed at once", err, time.Since(start))
		}
	})
}
