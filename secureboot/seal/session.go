// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
)

// attempts is how often a policy is tried when PCRs change under it: once, and
// five times more, each in a new session. Services extend PCR 15 while they
// start; nothing of ours extends six times in a row.
const attempts = 6

// A chain is a way to satisfy the policy of one object.
type chain struct {
	root       RootKey
	approval   Approval
	delegation Delegation
}

// chains are the ways that p knows to satisfy policy for use, the newest policy
// key and release first.
func (p *Policies) chains(use Use, policy tpm2.TPM2BDigest) ([]chain, error) {
	var found []chain
	known := false // p speaks of use, under whatever root
	for _, a := range p.Approvals {
		if a.Use != use {
			continue
		}
		known = true
		root, err := p.root(a.Root)
		if err != nil {
			return nil, err
		}
		want, err := AuthPolicy(root, use)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(want.Buffer, policy.Buffer) {
			continue
		}
		for _, d := range p.Delegations {
			if d.Use == use && d.Root == a.Root && d.Generation == a.Generation {
				found = append(found, chain{root, a, d})
			}
		}
	}
	switch {
	case len(found) > 0:
		slices.SortStableFunc(found, func(a, b chain) int {
			return cmp.Or(cmp.Compare(b.approval.Generation, a.approval.Generation), cmp.Compare(b.approval.Version, a.approval.Version))
		})
		return found, nil
	case known:
		return nil, fmt.Errorf("%w: no approval for %s under its root", ErrUntrusted, use)
	default:
		return nil, fmt.Errorf("%w: no approval for %s", ErrNotApproved, use)
	}
}

// pick returns the chain whose PCR values the TPM has now, or the first, which
// the TPM will refuse with the reason. One chain needs no look.
func pick(t transport.TPM, chains []chain) (chain, error) {
	if len(chains) == 1 {
		return chains[0], nil
	}
	var mask uint32
	for _, c := range chains {
		mask |= c.approval.PCRs
	}
	rsp, err := tpm2.PCRRead{PCRSelectionIn: selection(mask)}.Execute(t)
	if err != nil {
		return chain{}, refusal(atPCRRead, err)
	}
	now := make(map[int][32]byte)
	for i, n := 0, 0; i < 24 && n < len(rsp.PCRValues.Digests); i++ {
		if mask&(1<<i) == 0 {
			continue
		}
		var v [32]byte
		copy(v[:], rsp.PCRValues.Digests[n].Buffer)
		now[i] = v
		n++
	}
	for _, c := range chains {
		values := make(map[int][32]byte)
		for i, v := range now {
			if c.approval.PCRs&(1<<i) != 0 {
				values[i] = v
			}
		}
		if _, digest := PCRDigest(values); digest == c.approval.PCRDigest {
			return c, nil
		}
	}
	return chains[0], nil
}

// satisfy runs the policy commands of c in session.
func (c chain) satisfy(t transport.TPM, session tpm2.TPMISHPolicy, notary *notary) error {
	policyKey, err := parsePoint(c.delegation.Key)
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	use := c.approval.Use
	lower, err := c.approval.policy(c.root)
	if err != nil {
		return err
	}
	upper, err := c.delegation.policy(c.root)
	if err != nil {
		return err
	}
	// Signatures first: between PolicyPCR and the command that is authorised
	// there should be as little time as possible for PCRs to change.
	approve, err := notary.authorize(t, policyKey, lower, use, c.approval.Signature)
	if err != nil {
		return err
	}
	delegate, err := notary.authorize(t, c.root.Key, upper, use, c.delegation.Signature)
	if err != nil {
		return err
	}
	// No digest in PolicyPCR: it takes the PCRs as they are, and the TPM
	// compares at PolicyAuthorize.
	if _, err := (tpm2.PolicyPCR{PolicySession: session, Pcrs: selection(c.approval.PCRs)}).Execute(t); err != nil {
		return refusal(atPolicyPCR, err)
	}
	if err := c.holds(t, session, Floor, c.approval.Version); err != nil {
		return err
	}
	if err := present(t, session, approve); err != nil {
		return err
	}
	if err := c.holds(t, session, Keygen, c.delegation.Generation); err != nil {
		return err
	}
	return present(t, session, delegate)
}

// holds asserts that an index is not above v.
func (c chain) holds(t transport.TPM, session tpm2.TPMISHPolicy, use Use, v uint64) error {
	cmd, err := index{c.root, use}.compare(tpm2.TPMEOUnsignedLE, v)
	if err != nil {
		return err
	}
	cmd.PolicySession = session
	_, err = cmd.Execute(t)
	return refusal(atPolicyNV, err)
}

func present(t transport.TPM, session tpm2.TPMISHPolicy, cmd tpm2.PolicyAuthorize) error {
	cmd.PolicySession = session
	_, err := cmd.Execute(t)
	return refusal(atPolicyAuthorize, err)
}

// A notary has the TPM verify signatures and keeps the tickets that it gives
// for them. A ticket is good for as long as the owner hierarchy lives; it is no
// secret. The zero value is ready.
type notary struct {
	tickets map[[32]byte]tpm2.TPMTTKVerified
	loaded  []tpm2.TPMHandle // public keys, to be flushed
}

// authorize makes the PolicyAuthorize for a policy that k signed for use. The
// key stays loaded until dismiss: while a state key is waited for, a flush is
// one command more.
func (n *notary) authorize(t transport.TPM, k *ecdsa.PublicKey, policy tpm2.TPM2BDigest, use Use, sig Signature) (tpm2.PolicyAuthorize, error) {
	cmd, err := authorizedBy(k, use)
	if err != nil {
		return tpm2.PolicyAuthorize{}, err
	}
	cmd.ApprovedPolicy = policy
	digest := toSign(policy, use)
	id := sha256.Sum256(slices.Concat(cmd.KeySign.Buffer, digest, sig[:]))
	if ticket, ok := n.tickets[id]; ok {
		cmd.CheckTicket = ticket
		return cmd, nil
	}
	pub, err := keyPublic(k)
	if err != nil {
		return tpm2.PolicyAuthorize{}, err
	}
	// The owner's hierarchy: a key in the null hierarchy gives a ticket that
	// PolicyAuthorize does not take.
	key, err := tpm2.LoadExternal{InPublic: tpm2.New2B(pub), Hierarchy: tpm2.TPMRHOwner}.Execute(t)
	if err != nil {
		return tpm2.PolicyAuthorize{}, refusal(atLoadExternal, err)
	}
	n.loaded = append(n.loaded, key.ObjectHandle)
	rsp, err := tpm2.VerifySignature{
		KeyHandle: tpm2.NamedHandle{Handle: key.ObjectHandle, Name: cmd.KeySign},
		Digest:    tpm2.TPM2BDigest{Buffer: digest},
		Signature: sig.tpm(),
	}.Execute(t)
	if err != nil {
		return tpm2.PolicyAuthorize{}, refusal(atVerifySignature, err)
	}
	if n.tickets == nil || len(n.tickets) >= maxEntries {
		n.tickets = make(map[[32]byte]tpm2.TPMTTKVerified)
	}
	n.tickets[id] = rsp.Validation
	cmd.CheckTicket = rsp.Validation
	return cmd, nil
}

// dismiss flushes the keys that authorize left in the TPM.
func (n *notary) dismiss(t transport.TPM) {
	for _, h := range n.loaded {
		flush(t, h)
	}
	n.loaded = nil
}

// flush has no error to return: what it cannot flush is gone already, or the
// TPM is silent, which the next command says.
func flush(t transport.TPM, h tpm2.TPMHandle) {
	_, _ = tpm2.FlushContext{FlushHandle: h}.Execute(t)
}

// withPolicy runs command in a session that policy has satisfied. It is salted
// to srk, so that nobody on the bus can speak in it, and gone afterwards,
// whatever happens: go-tpm leaves it behind when policy fails or the transport
// does.
func withPolicy(t transport.TPM, srk tpm.Key, policy func(transport.TPM, tpm2.TPMISHPolicy) error,
	command func(tpm2.Session) error, opts ...tpm2.AuthOption,
) error {
	var open tpm2.TPMHandle
	run := func(t transport.TPM, session tpm2.TPMISHPolicy, _ tpm2.TPM2BNonce) error {
		open = session
		return policy(t, session)
	}
	opts = append([]tpm2.AuthOption{tpm2.Salted(srk.Handle, srk.Public)}, opts...)
	err := command(tpm2.Policy(tpm2.TPMAlgSHA256, tpm.NonceSize, run, opts...))
	if err != nil && open != 0 {
		flush(t, open)
	}
	return err
}

// settled runs f until PCRs no longer change under it.
func settled(ctx context.Context, f func() error) error {
	var err error
	for range attempts {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err = f(); !errors.Is(err, tpm2.TPMRCPCRChanged) {
			return err
		}
	}
	return err
}

// bounded sends nothing once ctx is done, but for what tidies up.
type bounded struct {
	ctx context.Context // here, since go-tpm's commands take none
	transport.TPM
}

func (b bounded) Send(command []byte) ([]byte, error) {
	tidies := len(command) >= 10 && tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) == tpm2.TPMCCFlushContext
	if b.ctx.Err() != nil && !tidies {
		return nil, context.Cause(b.ctx)
	}
	return b.TPM.Send(command)
}
