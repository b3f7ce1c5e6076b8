// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"incamera/media/mls"
)

// ErrNotAttested means that a room did not prove its software, and that the
// meeting takes only rooms that do.
var ErrNotAttested = errors.New("e2ee: room did not prove its software")

// A Tier is what the appraisal of a room's evidence came to, by the names of
// draft-ietf-rats-ar4si.
type Tier int

// The tiers.
const (
	// None: the room gives no evidence, or nobody here can appraise it.
	None Tier = iota
	// Awaited: the room gives evidence, and none is here yet that this room can
	// tell to be fresh.
	Awaited
	// Affirming: the room runs a released firmware.
	Affirming
	// Warning: it does, with a reservation that Reason names.
	Warning
	// Contraindicated: it does not, or its evidence is not about it.
	Contraindicated
)

// String names the tier as the panel's API does.
func (t Tier) String() string {
	return [...]string{"none", "none", "affirming", "warning", "contraindicated"}[t]
}

// Accepted reports whether a meeting of attested rooms takes a room of the tier.
func (t Tier) Accepted() bool { return t == Affirming || t == Warning }

// A Verdict is what this room makes of another room's evidence. It is shown
// and never sent: each room judges for itself.
type Verdict struct {
	Tier    Tier
	Release string    // the firmware that the room proved to run, "" if none
	Reason  string    // a stable code of the verifier's vocabulary, "" if there is none
	Detail  string    // the same in words, for people who look closer
	At      time.Time // since when the evidence is known to be no older
	Revoked bool      // the site has withdrawn the room's enrolment: to be put out
}

// Aged returns the verdict as it counts when its evidence may be no older than
// limit.
func (v Verdict) Aged(now time.Time, limit time.Duration) Verdict {
	if v.Tier == Affirming && now.Sub(v.At) > limit {
		v.Tier, v.Reason, v.Detail = Warning, "evidence_old", "the evidence is too old"
	}
	return v
}

// An Attestor proves which software this room runs.
type Attestor interface {
	// Evidence returns a fresh statement about this room's software and about
	// the key that signs its leaves, with binding as its nonce; at most
	// [MaxEvidence] bytes. It takes as long as a TPM, and the cause of ctx ends
	// it.
	Evidence(ctx context.Context, binding [32]byte) ([]byte, error)
}

// An Appraiser judges what other rooms' Attestors say. Its methods are called
// from several goroutines; they look at no network.
type Appraiser interface {
	// Bound reports whether evidence is well formed and has binding as its
	// nonce. It depends on its arguments alone, so that every room of a meeting
	// comes to the same answer.
	Bound(evidence []byte, binding [32]byte) bool
	// Appraise judges the evidence of the room with this certificate (DER, with
	// the CAs above it), whose key signs the leaf. At is left to the caller.
	Appraise(chain [][]byte, evidence []byte, binding [32]byte) Verdict
}

// A Mode says whom a meeting takes. It is fixed when the meeting begins.
type Mode uint8

// The modes, the stricter one last.
const (
	// Flagged: a room is let in whatever it proves, and shown as it is.
	Flagged Mode = iota
	// AttestedOnly: a commit with a leaf without evidence that is bound to it is
	// invalid, and nobody lets in a room whose evidence fails.
	AttestedOnly
)

// DefaultMaxAge is how old evidence may be before it is shown as a warning:
// some rotations, each of which renews it.
const DefaultMaxAge = time.Hour

// An Attestation is a room's part in proving software. The zero value gives no
// evidence and appraises none.
type Attestation struct {
	Attestor  Attestor      // nil: this room proves nothing
	Appraiser Appraiser     // nil: this room can judge nobody
	Mode      Mode          // of meetings that this room begins, and the least strict that it takes part in
	MaxAge    time.Duration // 0 means DefaultMaxAge
}

// MaxEvidence bounds the evidence of a leaf, in bytes.
const MaxEvidence = 15 << 10

// Components of the app data dictionary (draft-ietf-mls-extensions), from its
// range for private use.
const (
	componentEvidence mls.ComponentID = 0x8001 // in a leaf: what proves its room's software
	componentPolicy   mls.ComponentID = 0x8002 // in the GroupContext: whom the meeting takes
)

// A freshness says what evidence is bound to besides the leaf: an epoch of the
// group, by its handle (RFC 9334, Section 10.3). Every member can compute the
// handle, so nobody need be asked, and nobody outside can before it is stated.
type freshness struct {
	Epoch  uint64
	Handle [handleSize]byte
}

const (
	handleSize    = 32             // bytes of the exporter's value
	freshnessSize = 8 + handleSize // bytes of a freshness
)

// bytes is the epoch in 8 bytes, then the handle.
func (f freshness) bytes() []byte {
	return append(binary.BigEndian.AppendUint64(nil, f.Epoch), f.Handle[:]...)
}

// parseFreshness reads what bytes made. Anything else is no freshness: the
// relay may have made it up, and evidence bound to it will not be taken.
func parseFreshness(b []byte) (f freshness, ok bool) {
	if len(b) != freshnessSize {
		return freshness{}, false
	}
	f.Epoch = binary.BigEndian.Uint64(b)
	copy(f.Handle[:], b[8:])
	return f, true
}

// maxHandles is how many epochs back a handle counts as fresh: what passes
// between stating it and a newcomer's commit.
const maxHandles = 4

// freshnessOf computes the handle of the group's epoch. It is an exporter value
// that keys nothing, so it may be told to a relay.
func freshnessOf(g *mls.Group) (freshness, error) {
	f := freshness{Epoch: g.Epoch()}
	b, err := g.Export("In Camera attest", nil, handleSize)
	if err != nil {
		return freshness{}, fmt.Errorf("e2ee: export: %w", err)
	}
	copy(f.Handle[:], b)
	return f, nil
}

// binding is what evidence about a leaf has as its nonce: the leaf's keys and
// credential, and the freshness.
func binding(suite mls.CipherSuite, signatureKey, encryptionKey []byte, credential [32]byte, groupID []byte, f freshness) [32]byte {
	h := sha256.New()
	for _, part := range [][]byte{
		[]byte("In Camera leaf 1"), binary.BigEndian.AppendUint16(nil, uint16(suite)), signatureKey, encryptionKey,
		credential[:], groupID, f.bytes(),
	} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		h.Write(part)
	}
	return [32]byte(h.Sum(nil))
}

// A leafEvidence is the component of a leaf: what the evidence is bound to, in
// 40 bytes, and the evidence.
type leafEvidence struct {
	fresh    freshness
	evidence []byte
}

func (l leafEvidence) bytes() []byte { return append(l.fresh.bytes(), l.evidence...) }

func parseLeafEvidence(b []byte) (leafEvidence, bool) {
	if len(b) <= freshnessSize || len(b) > freshnessSize+MaxEvidence {
		return leafEvidence{}, false
	}
	f, ok := parseFreshness(b[:freshnessSize])
	return leafEvidence{f, b[freshnessSize:]}, ok
}

// evidenceOf returns what a leaf says about its room's software.
func evidenceOf(m mls.Member) (leafEvidence, bool) {
	b, ok := mls.Component(m.Extensions, componentEvidence)
	if !ok {
		return leafEvidence{}, false
	}
	return parseLeafEvidence(b)
}

// policy is the extension that says whom the meeting takes: version, mode.
func policy(m Mode) mls.Extension {
	return mls.AppDataDictionary([]mls.AppData{
		{Component: mls.ComponentAppComponents, Data: mls.AppComponents(components)},
		{Component: componentPolicy, Data: []byte{1, byte(m)}},
	})
}

// components is what every room supports.
var components = []mls.ComponentID{componentEvidence, componentPolicy}

// modeOf reads the policy of a meeting. One without it, or with one that this
// release does not know, is refused: nobody could say whom it takes.
func modeOf(context []mls.Extension) (Mode, error) {
	b, ok := mls.Component(context, componentPolicy)
	if !ok || len(b) != 2 || b[0] != 1 || Mode(b[1]) > AttestedOnly {
		return 0, fmt.Errorf("%w: the meeting does not say whom it takes", ErrPolicy)
	}
	return Mode(b[1]), nil
}
