// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo && !release

package tpm

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/google/go-tpm-tools/simulator"
)

// The simulator is global C state, so there is one in a process; this holds a
// token while nobody has it.
var simulators = func() chan struct{} {
	c := make(chan struct{}, 1)
	c <- struct{}{}
	return c
}()

// sim is the reference TPM in this process. It forgets everything when closed,
// and keeps no deadline: its commands are calls of functions.
type sim struct{ *simulator.Simulator }

func openSimulator(ctx context.Context, rest string) (wire, error) {
	if rest != "" {
		return nil, errors.New("sim: takes no argument")
	}
	select {
	case <-simulators:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s, err := simulator.Get()
	if err != nil {
		simulators <- struct{}{}
		return nil, err
	}
	return &sim{s}, nil
}

func (s *sim) exchange(command []byte, _ time.Time) ([]byte, error) {
	// The reference TPM decrypts parameters in the buffer that it is given.
	if _, err := s.Write(bytes.Clone(command)); err != nil {
		return nil, err
	}
	response := make([]byte, bufferSize)
	n, err := s.Read(response)
	return response[:n], err
}

func (s *sim) Close() error {
	if s.IsClosed() {
		return nil
	}
	err := s.Simulator.Close()
	simulators <- struct{}{}
	return err
}

// PowerCycle turns the TPM of scheme sim: off, in order, and on again.
func (t *TPM) PowerCycle() error { return t.onSim((*simulator.Simulator).Reset) }

// Manufacture makes another chip of the TPM of scheme sim:, with new seeds and
// nothing in it.
func (t *TPM) Manufacture() error { return t.onSim((*simulator.Simulator).ManufactureReset) }

func (t *TPM) onSim(f func(*simulator.Simulator) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.wire.(*sim)
	if !ok {
		return errors.New("tpm: not the simulator")
	}
	return f(s.Simulator)
}
