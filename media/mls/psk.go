// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
)

type pskType uint8

const (
	pskExternal   pskType = 1
	pskResumption pskType = 2
)

type resumptionUsage uint8

const (
	usageApplication resumptionUsage = 1
	usageReInit      resumptionUsage = 2
	usageBranch      resumptionUsage = 3
)

// A preSharedKeyID is PreSharedKeyID of Section 8.4.
type preSharedKeyID struct {
	kind    pskType
	id      []byte          // of an external one
	usage   resumptionUsage // of a resumption one, and the two below
	groupID []byte
	epoch   uint64
	nonce   []byte
}

func decodePreSharedKeyID(r *reader) preSharedKeyID {
	p := preSharedKeyID{kind: pskType(r.u8())}
	switch p.kind {
	case pskExternal:
		p.id = r.vec(maxIdentity)
	case pskResumption:
		p.usage = resumptionUsage(r.u8())
		if p.usage < usageApplication || p.usage > usageBranch {
			r.fail("resumption usage %d", p.usage)
		}
		p.groupID, p.epoch = r.vec(maxGroupID), r.u64()
	default:
		r.fail("type of pre-shared key %d", p.kind)
	}
	p.nonce = r.vec(64)
	return p
}

// appendName appends the identifier without its nonce: what must be unique.
func (p preSharedKeyID) appendName(b []byte) []byte {
	b = append(b, byte(p.kind))
	if p.kind == pskExternal {
		return appendVec(b, p.id)
	}
	b = appendVec(append(b, byte(p.usage)), p.groupID)
	return appendU64(b, p.epoch)
}

func (p preSharedKeyID) append(b []byte) []byte { return appendVec(p.appendName(b), p.nonce) }

// A PSKStore knows external pre-shared keys (Section 8.4).
type PSKStore interface {
	// PSK returns the key of an id, or an error wrapping [ErrUnknownPSK].
	PSK(ctx context.Context, id []byte) ([]byte, error)
}

// pskSecret chains pre-shared keys in the order of the commit (Section 8.4).
func (s *Suite) pskSecret(ids []preSharedKeyID, keys []secret) secret {
	out := s.zero()
	for i, id := range ids {
		label := id.append(nil)
		label = appendU16(label, uint16(i))
		label = appendU16(label, uint16(len(ids)))
		extracted := s.extract(s.zero(), keys[i])
		input := s.expandWithLabel(extracted, "derived psk", label, s.nh)
		next := s.extract(input, out)
		extracted.wipe()
		input.wipe()
		out.wipe()
		out = next
	}
	return out
}

// check validates a PSK proposal (Section 12.1.4): the nonce has the size of
// the hash, and re-initialisation and branching have no place in a commit.
func (p preSharedKeyID) check(s *Suite) error {
	if len(p.nonce) != s.nh {
		return invalid("12.1.4", "psk_nonce of %d bytes", len(p.nonce))
	}
	if p.kind == pskResumption && p.usage != usageApplication {
		return invalid("12.1.4", "resumption PSK for usage %d", p.usage)
	}
	return nil
}

// checkPSKs validates a list: bounded and without repetition (Section 12.2).
func checkPSKs(s *Suite, ids []preSharedKeyID) error {
	if len(ids) > maxPSKs {
		return errLimit("pre-shared keys")
	}
	seen := map[string]bool{}
	for _, id := range ids {
		if err := id.check(s); err != nil {
			return err
		}
		name := string(id.appendName(nil))
		if seen[name] {
			return invalid("12.2", "one pre-shared key twice")
		}
		seen[name] = true
	}
	return nil
}

// A resumptionPSK is the resumption PSK of an epoch that was (Section 8.6).
type resumptionPSK struct {
	epoch uint64
	key   secret
}

// psks looks up the keys of a list and chains them. resumption is the window
// of epochs of the group groupID.
func (c *Config) psks(ctx context.Context, groupID []byte, resumption []resumptionPSK, ids []preSharedKeyID) (secret, error) {
	keys := make([]secret, len(ids))
	for i, id := range ids {
		if id.kind == pskResumption {
			if bytes.Equal(id.groupID, groupID) {
				for _, r := range resumption {
					if r.epoch == id.epoch {
						keys[i] = r.key
					}
				}
			}
		} else if c.PSKs != nil {
			k, err := c.PSKs.PSK(ctx, id.id)
			if err != nil {
				return nil, fmt.Errorf("mls: pre-shared key: %w", err)
			}
			keys[i] = k
		}
		if keys[i] == nil {
			return nil, ErrUnknownPSK
		}
	}
	return c.Suite.pskSecret(ids, keys), nil
}

func newPSKNonce(s *Suite) []byte {
	b := make([]byte, s.nh)
	_, _ = rand.Read(b) // never fails: package crypto/rand
	return b
}
