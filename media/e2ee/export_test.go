// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"context"

	"incamera/media/mls"
	"incamera/media/sframe"
)

// GroupInfo is what a member would have to give away for an external join. It
// is called while Run waits.
func GroupInfo(ctx context.Context, s *Session) ([]byte, error) { return s.group.GroupInfo(ctx) }

// SecurityCode is what Observer.Code tells.
func SecurityCode(epochAuthenticator, groupID []byte) (string, error) {
	return securityCode(epochAuthenticator, groupID)
}

// ParseCandidate reads the identity behind a KeyPackage as a member with the
// configuration c does.
func ParseCandidate(c Config, keyPackage []byte) (Member, error) {
	s, err := c.check()
	if err != nil {
		return Member{}, err
	}
	_, m, err := s.candidate(keyPackage)
	return m, err
}

// SealInClear makes k "seal" without encrypting: what Seal gives then is the
// frame itself behind a header that names the right key, with room for a tag
// that is all zero. It is the control of tests that look for clear frames on
// the wire, and holds for the epochs that k has now.
func SealInClear(k *Keyring) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.lines {
		k.lines[i].mu.Lock()
		defer k.lines[i].mu.Unlock()
	}
	for _, e := range k.state.Load().epochs {
		if e == nil {
			continue
		}
		for kind, s := range e.senders {
			if s, ok := s.(*sframe.Sender); ok {
				e.senders[kind] = &clearSealer{kid: s.KID()}
			}
		}
	}
}

type clearSealer struct{ kid, ctr uint64 }

func (c *clearSealer) Seal(dst, _, frame []byte) ([]byte, error) {
	dst, _ = sframe.Header{KID: c.kid, CTR: c.ctr}.AppendBinary(dst)
	c.ctr++
	return append(append(dst, frame...), make([]byte, 16)...), nil
}

func (c *clearSealer) Wipe() {}

// Nonce is what the evidence about a leaf of the room with the configuration c
// is bound to.
func Nonce(c Config, encryptionKey, group, handle []byte) [32]byte {
	s, err := c.check()
	if err != nil {
		panic(err)
	}
	f, _ := parseFreshness(handle)
	return s.binding(mls.Member{
		Credential:   mls.Credential{Type: mls.X509Credential, Certificates: c.Chain},
		SignatureKey: c.Signer.Public(), EncryptionKey: encryptionKey,
	}, group, f)
}

// EvidenceComponent is what a leaf says about its room's software.
func EvidenceComponent(handle, evidence []byte) mls.AppData {
	f, _ := parseFreshness(handle)
	return mls.AppData{Component: componentEvidence, Data: leafEvidence{f, evidence}.bytes()}
}

// ParseLeafEvidence reads the component, for the fuzzer.
func ParseLeafEvidence(b []byte) (again []byte, ok bool) {
	l, ok := parseLeafEvidence(b)
	if !ok {
		return nil, false
	}
	return l.bytes(), true
}
