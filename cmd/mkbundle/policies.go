// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"

	"incamera/secureboot/eventlog"
	"incamera/secureboot/measure"
	"incamera/secureboot/seal"
)

// maxPolicies bounds policies.cbor, in bytes; package seal knows the limit of
// what a room takes.
const maxPolicies = 64 << 10

func setDelegate(c *call) func() error {
	root := c.need("root-key", "`file` of the root key")
	generation := c.Uint64("root-generation", 1, "`number` of the root, 1 to 8")
	policy := c.need("policy", "`file` of the policy key's public half")
	n := c.needNumber("policy-generation", "`number` of the policy key, from 1")
	first := c.Bool("first", false, "allow a new room to set floor and keygen to 1")
	floor := c.Uint64("floor", 0, "allow rooms to raise the floor to `number`: lower versions open nothing any more")
	keygen := c.Uint64("keygen", 0, "allow rooms to raise keygen to `number`: lower policy keys open nothing any more")
	out := c.need("out", "`file` to write, for mkbundle policies -delegations")
	return func() error {
		g, err := rootGeneration(*generation)
		if err != nil {
			return err
		}
		rootKey, err := signer(*root)
		if err != nil {
			return err
		}
		policyKey, err := public(*policy)
		if err != nil {
			return err
		}
		d, err := seal.Delegate(g, rootKey, *n, policyKey, seal.State, seal.Identity, seal.Owner)
		if err != nil {
			return err
		}
		parts := []*seal.Policies{d}
		for _, w := range []struct {
			allow bool
			use   seal.Use
			value uint64
			first bool
		}{
			{*first, seal.Floor, 1, true},
			{*first, seal.Keygen, 1, true},
			{*floor != 0, seal.Floor, *floor, false},
			{*keygen != 0, seal.Keygen, *keygen, false},
		} {
			if !w.allow {
				continue
			}
			if w.value > math.MaxInt64 { // the end of the way: nothing could be above it
				return usageError{fmt.Errorf("%d is out of reach for a floor", w.value)}
			}
			part, err := seal.AllowWrite(g, rootKey, w.use, w.value, w.first)
			if err != nil {
				return err
			}
			parts = append(parts, part)
		}
		return c.policies(*out, nil, parts...)
	}
}

func setPolicies(c *call) func() error {
	uki := c.need("uki", "`file` of the unified kernel image")
	rollback := c.needNumber("rollback", "rollback `number` of the release, compared with the floor")
	policy := c.need("policy-key", "`file` of the policy key")
	n := c.needNumber("policy-generation", "`number` of the policy key, from 1")
	root := c.need("root", "`file` of the root key's public half")
	generation := c.Uint64("root-generation", 1, "`number` of the root, 1 to 8")
	pcr7 := c.String("pcr7", "", "demand this `value` of PCR 7, too; where the customer owns the boot keys")
	var delegations several
	c.Var(&delegations, "delegations", "`file` that mkbundle delegate wrote; may be repeated")
	c.required = append(c.required, "delegations")
	out := c.need("out", "`file` to write")
	return func() error {
		g, err := rootGeneration(*generation)
		if err != nil {
			return err
		}
		b, err := read(*uki, measure.MaxImage)
		if err != nil {
			return err
		}
		m, err := predict(b)
		if err != nil {
			return fmt.Errorf("%s: %w", *uki, err)
		}
		release := seal.Release{Version: *rollback, Generation: *n}
		for _, p := range []struct {
			use   seal.Use
			phase string
		}{
			{seal.State, measure.EnterInitrd},
			{seal.Identity, measure.Ready},
			{seal.Owner, measure.Ready},
		} {
			pcrs := map[int][32]byte{eventlog.PCRPhases: m.phase(p.phase)}
			if *pcr7 != "" {
				v, err := hex.DecodeString(*pcr7)
				if err != nil || len(v) != 32 {
					return usageError{errors.New("-pcr7 is no SHA-256")}
				}
				pcrs[7] = [32]byte(v)
			}
			release.Predictions = append(release.Predictions, seal.Prediction{Use: p.use, PCRs: pcrs})
		}
		rootKey, err := public(*root)
		if err != nil {
			return err
		}
		policyKey, err := signer(*policy)
		if err != nil {
			return err
		}
		trusted := seal.RootKey{Generation: g, Key: rootKey}
		approval, err := seal.Approve(release, trusted, policyKey)
		if err != nil {
			return err
		}
		parts := []*seal.Policies{approval}
		for _, path := range delegations {
			b, err := read(path, maxPolicies)
			if err != nil {
				return err
			}
			part, err := seal.ParsePolicies(b)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			parts = append(parts, part)
		}
		return c.policies(*out, &trusted, parts...)
	}
}

func rootGeneration(n uint64) (uint8, error) {
	if n < 1 || n > seal.MaxRoots {
		return 0, usageError{fmt.Errorf("-root-generation %d: there are 1 to %d", n, seal.MaxRoots)}
	}
	return uint8(n), nil
}

// policies joins parts, has them verified as a room does that trusts root, and
// writes them.
func (c *call) policies(out string, root *seal.RootKey, parts ...*seal.Policies) error {
	p, err := seal.Merge(parts...)
	if err != nil {
		return err
	}
	if root != nil {
		if err := p.Verify(*root); err != nil {
			return fmt.Errorf("the result opens nothing: %w", err)
		}
	}
	b, err := p.Marshal()
	if err != nil {
		return err
	}
	if err := write(out, b); err != nil {
		return err
	}
	return c.printPolicies(out, len(b), p)
}

func (c *call) printPolicies(out string, size int, p *seal.Policies) error {
	type line struct {
		What    string `json:"what"`
		Use     string `json:"use"`
		Root    uint8  `json:"root"`
		Key     uint64 `json:"policy_key,omitempty"`
		Version uint64 `json:"rollback,omitempty"`
		Value   uint64 `json:"value,omitempty"`
		First   bool   `json:"first,omitempty"`
	}
	var lines []line
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %d bytes\n", out, size)
	for _, d := range p.Delegations {
		lines = append(lines, line{What: "delegation", Use: string(d.Use), Root: d.Root, Key: d.Generation})
		fmt.Fprintf(&text, "root %d trusts policy key %d for %s\n", d.Root, d.Generation, d.Use)
	}
	for _, a := range p.Approvals {
		lines = append(lines, line{What: "approval", Use: string(a.Use), Root: a.Root, Key: a.Generation, Version: a.Version})
		fmt.Fprintf(&text, "policy key %d approves version %d for %s under root %d\n", a.Generation, a.Version, a.Use, a.Root)
	}
	for _, w := range p.Writes {
		lines = append(lines, line{What: "write", Use: string(w.Use), Root: w.Root, Value: w.Value, First: w.First})
		fmt.Fprintf(&text, "root %d allows %s = %d (first: %v)\n", w.Root, w.Use, w.Value, w.First)
	}
	return c.print(map[string]any{"file": out, "size": size, "lines": lines}, text.String())
}
