// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"crypto/hmac"
	"crypto/hpke"
	"fmt"
	"slices"
)

// A groupContext is GroupContext of Section 8.1. It is immutable.
type groupContext struct {
	version    ProtocolVersion
	suite      CipherSuite
	groupID    []byte
	epoch      uint64
	treeHash   []byte
	confirmed  []byte // confirmed_transcript_hash
	extensions []Extension
}

func decodeGroupContext(r *reader) groupContext {
	return groupContext{
		version: ProtocolVersion(r.u16()), suite: CipherSuite(r.u16()), groupID: r.vec(maxGroupID), epoch: r.u64(),
		treeHash: r.vec(64), confirmed: r.vec(64), extensions: decodeExtensions(r),
	}
}

func (c *groupContext) encoded() []byte {
	b := appendU16(nil, uint16(c.version))
	b = appendU16(b, uint16(c.suite))
	b = appendVec(b, c.groupID)
	b = appendU64(b, c.epoch)
	b = appendVec(b, c.treeHash)
	b = appendVec(b, c.confirmed)
	return appendExtensions(b, c.extensions)
}

// epochSecrets is what the key schedule gives an epoch (Section 8, table 4; for
// appExport see safeexport.go).
type epochSecrets struct {
	senderData    secret
	encryption    secret // nil once the secret tree has it
	exporter      secret
	appExport     secret // nil once the exporter tree has it
	external      secret
	confirmation  secret
	membership    secret
	resumption    secret
	authenticator secret
	init          secret
}

// joinerSecret mixes the commit into the chain of epochs; context is the
// GroupContext of the new one.
func (s *Suite) joinerSecret(init, commit secret, context []byte) secret {
	return s.expandWithLabel(s.extract(init, commit), "joiner", context, s.nh)
}

// epoch runs the key schedule from the joiner secret. It returns the welcome
// secret too.
func (s *Suite) epoch(joiner, psk secret, context []byte) (welcome secret, e *epochSecrets) {
	member := s.extract(joiner, psk)
	defer member.wipe()
	return s.deriveSecret(member, "welcome"), s.epochFrom(s.expandWithLabel(member, "epoch", context, s.nh))
}

// epochFrom derives the secrets of an epoch and wipes what they come from.
func (s *Suite) epochFrom(epoch secret) *epochSecrets {
	defer epoch.wipe()
	x := s.expander(epoch)
	return &epochSecrets{
		senderData:    x.deriveSecret("sender data"),
		encryption:    x.deriveSecret("encryption"),
		exporter:      x.deriveSecret("exporter"),
		appExport:     x.deriveSecret(appExportLabel),
		external:      x.deriveSecret("external"),
		confirmation:  x.deriveSecret("confirm"),
		membership:    x.deriveSecret("membership"),
		resumption:    x.deriveSecret("resumption"),
		authenticator: x.deriveSecret("authentication"),
		init:          x.deriveSecret("init"),
	}
}

func (e *epochSecrets) wipe() {
	for _, s := range []secret{e.senderData, e.encryption, e.exporter, e.appExport, e.external, e.confirmation, e.membership, e.resumption, e.authenticator, e.init} {
		s.wipe()
	}
}

// confirm checks a confirmation tag against a transcript (Section 8.1).
func (s *Suite) confirm(e *epochSecrets, confirmed, tag []byte) error {
	if !hmac.Equal(s.mac(e.confirmation, confirmed), tag) {
		return ErrRefused
	}
	return nil
}

// export is MLS-Exporter of Section 8.5.
func (s *Suite) export(exporter secret, label string, context []byte, length int) (secret, error) {
	if length < 0 || length > 255*s.nh {
		return nil, fmt.Errorf("mls: export of %d bytes", length)
	}
	base := s.deriveSecret(exporter, label)
	defer base.wipe()
	return s.expandWithLabel(base, "exported", s.digest(context), length), nil
}

// externalKey is the key pair to which external commits seal (Section 8.3).
func (s *Suite) externalKey(e *epochSecrets) (hpke.PrivateKey, error) { return s.deriveKey(e.external) }

const externalInitLabel = "MLS 1.0 external init secret"

// externalInitSend makes an init secret for an external commit and what leads
// the members to it.
func (s *Suite) externalInitSend(to hpke.PublicKey) (kemOutput []byte, init secret, err error) {
	enc, sender, err := hpke.NewSender(to, s.kdf, s.aead, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("mls: external init: %w", err)
	}
	init, err = sender.Export(externalInitLabel, s.nh)
	if err != nil {
		return nil, nil, fmt.Errorf("mls: external init: %w", err)
	}
	return enc, init, nil
}

// externalInitReceive is a member's side of externalInitSend.
func (s *Suite) externalInitReceive(e *epochSecrets, kemOutput []byte) (secret, error) {
	key, err := s.externalKey(e)
	if err != nil {
		return nil, err
	}
	r, err := hpke.NewRecipient(kemOutput, key, s.kdf, s.aead, nil)
	if err != nil {
		return nil, ErrRefused
	}
	init, err := r.Export(externalInitLabel, s.nh)
	if err != nil {
		return nil, ErrRefused
	}
	return init, nil
}

// next returns the context of the following epoch, without its tree hash and
// transcript.
func (c *groupContext) next(extensions []Extension) *groupContext {
	return &groupContext{
		version: c.version, suite: c.suite, groupID: c.groupID, epoch: c.epoch + 1,
		confirmed: c.confirmed, extensions: slices.Clone(extensions),
	}
}
