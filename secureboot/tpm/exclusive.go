// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"context"

	"github.com/google/go-tpm/tpm2/transport"
)

// held is a TPM whose turn the caller has.
type held struct{ chip *TPM }

// Exclusive runs f while no other f has the TPM. Whoever loads objects or opens
// sessions does it inside, and leaves none behind: a TPM has three slots for
// each, and only the kernel's resource manager gives everyone their own. f
// sends by the transport that it is given; Exclusive on that one runs at once.
// A transport that is not a [TPM] runs f without waiting. If ctx ends first, f
// does not run and the cause of ctx is returned.
func Exclusive(ctx context.Context, t transport.TPM, f func(transport.TPM) error) error {
	root, ok := t.(interface{ root() *TPM })
	if !ok {
		return f(t)
	}
	chip := root.root()
	select {
	case <-chip.turn:
	case <-chip.closed:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { chip.turn <- struct{}{} }()
	// select takes any case that is ready: an end counts more than a turn.
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case <-chip.closed:
		return ErrClosed
	default:
	}
	return f(held{chip})
}

// Send is that of the TPM, and all that held has of it: root would wait for
// itself.
func (h held) Send(command []byte) ([]byte, error) { return h.chip.Send(command) }

// root lets Exclusive see through types that embed a *TPM.
func (t *TPM) root() *TPM { return t }
