// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package enroltest

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/attest"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/eventlog"
	"incamera/secureboot/evidence"
	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

// A Box is a provisioned box that has started a release.
type Box struct {
	Chip             *tpmtest.Chip
	EK, AK, SRK      tpm.Key
	LDevID, Leaf     *seal.SigningKey
	Serial           string
	EKChain          [][]byte
	Attest           *attest.Room
	Firmware, Phases []byte // logs

	t            testing.TB
	blobs        [2]seal.KeyBlob // LDevID, leaf
	boots        uint64
	rootOfPolicy seal.RootKey
}

// NewBox provisions a new chip and starts r. The EK is the one that the chip's
// maker certified, if it has a certificate.
func NewBox(t testing.TB, chip *tpmtest.Chip, v *Vendor, r *Release) *Box {
	t.Helper()
	b := &Box{Chip: chip, Serial: "IC-0001", t: t, rootOfPolicy: v.Root()}
	choice, err := tpm.ChooseEK(chip)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err := tpm.EKCertificate(chip, choice.Certificate); err == nil {
		b.EKChain = [][]byte{cert}
	} else if !errors.Is(err, tpm.ErrAbsent) {
		t.Fatal(err)
	}
	b.EK = b.keep(tpm2.TPMRHEndorsement, choice.Template, choice.Handle)
	b.AK = b.keep(tpm2.TPMRHEndorsement, tpm.AKTemplate, tpm.HandleAK)
	b.SRK = b.keep(tpm2.TPMRHOwner, tpm.SRKTemplate, tpm.HandleSRK)
	if err := seal.Define(t.Context(), chip, b.SRK, v.Root(), nil); err != nil {
		t.Fatal(err)
	}
	for _, use := range []seal.Use{seal.Floor, seal.Keygen} {
		if _, err := seal.Advance(t.Context(), chip, b.SRK, v.Root(), r.Policies, use, 1); err != nil {
			t.Fatal(err)
		}
	}
	for i := range b.blobs {
		if b.blobs[i], err = seal.NewKey(t.Context(), chip, b.SRK, v.Root(), seal.Identity); err != nil {
			t.Fatal(err)
		}
	}
	b.Start(r)
	return b
}

func (b *Box) keep(hierarchy tpm2.TPMHandle, template tpm2.TPMTPublic, h tpm2.TPMHandle) tpm.Key {
	b.t.Helper()
	k, err := tpm.Persist(b.Chip, hierarchy, template, h)
	if err != nil {
		b.t.Fatal(err)
	}
	return k
}

// NewLeaf replaces the box's leaf key by another, as a change of the root does.
func (b *Box) NewLeaf(r *Release) {
	b.t.Helper()
	var err error
	if b.blobs[1], err = seal.NewKey(b.t.Context(), b.Chip, b.SRK, b.rootOfPolicy, seal.Identity); err != nil {
		b.t.Fatal(err)
	}
	b.open(r)
}

// Restart resets the box and starts r.
func (b *Box) Restart(r *Release) {
	b.t.Helper()
	b.Chip.Reset()
	b.Start(r)
}

// Start measures r into a chip that was just reset, up to the phase ready.
func (b *Box) Start(r *Release) {
	b.t.Helper()
	b.measure(r)
	b.open(r)
}

// NewBareBox is a box that nobody has provisioned: it has a chip and logs. The
// first start of a system provisions it.
func NewBareBox(t testing.TB, chip *tpmtest.Chip) *Box {
	return &Box{Chip: chip, Serial: "IC-0001", t: t}
}

// Boot measures r into a chip that was just reset, as firmware and boot loader
// do. The phases follow, by [Box.Measure].
func (b *Box) Boot(r *Release) {
	b.t.Helper()
	b.boots++
	log := r.events()
	for _, e := range log.Events {
		sum, _ := e.SHA256()
		b.extend(e.PCR, sum)
	}
	b.Firmware, b.Phases = log.Encode(), eventlog.PhaseHeader()
}

func (b *Box) measure(r *Release) {
	b.t.Helper()
	b.Boot(r)
	b.Measure(15, identityWord)
	for _, w := range phases {
		b.Measure(11, w)
	}
}

func (b *Box) open(r *Release) {
	b.t.Helper()
	for i, key := range []**seal.SigningKey{&b.LDevID, &b.Leaf} {
		var err error
		if *key, err = seal.OpenKey(b.Chip, b.SRK, b.blobs[i], r.Policies); err != nil {
			b.t.Fatal(err)
		}
	}
	var pcrs []int
	for _, rule := range evidence.DefaultRules() {
		pcrs = append(pcrs, rule.PCR)
	}
	b.Attest = &attest.Room{
		TPM: b.Chip, EK: b.EK, AK: b.AK, LDevID: b.LDevID, PCRs: pcrs, Board: Board, OEMBoot: true,
		Debug: evidence.DebugDisabledPermanently, BootCount: b.boots, Name: "In Camera", Version: r.Version,
		Logs: func() ([]byte, []byte, error) { return b.Firmware, b.Phases, nil },
	}
}

// Measure does what init does: it extends a word and notes it in the phase log.
func (b *Box) Measure(pcr int, word string) {
	b.t.Helper()
	record, digest, err := eventlog.PhaseRecord(pcr, word)
	if err != nil {
		b.t.Fatal(err)
	}
	b.Phases = append(b.Phases, record...)
	b.extend(pcr, digest)
}

// Extend measures something that no log tells of.
func (b *Box) Extend(pcr int, what string) { b.extend(pcr, sha256.Sum256([]byte(what))) }

func (b *Box) extend(pcr int, digest [32]byte) {
	b.t.Helper()
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: digest[:]}}},
	}.Execute(b.Chip)
	if err != nil {
		b.t.Fatalf("extend PCR %d: %v", pcr, err)
	}
}

// Room is the box as package client takes it.
func (b *Box) Room() client.Room {
	return client.Room{
		Attest: b.Attest, SRKName: b.SRK.Name.Buffer, Identity: b.LDevID, Leaf: b.Leaf, Serial: b.Serial,
		EKChain: b.EKChain, Soft: true,
	}
}

// Device is what a verifier records of the box at enrolment, but for the EK's
// certificate, which it takes for granted.
func (b *Box) Device(v *Vendor) evidence.Device {
	b.t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(b.LDevID.Public())
	if err != nil {
		b.t.Fatal(err)
	}
	clock, err := tpm2.ReadClock{}.Execute(b.Chip)
	if err != nil {
		b.t.Fatal(err)
	}
	var zero, pcr15 [32]byte
	word := sha256.Sum256([]byte(identityWord))
	pcr15 = sha256.Sum256(append(zero[:], word[:]...))
	resets := clock.CurrentTime.ClockInfo.ResetCount
	return evidence.Device{
		EKName: b.EK.Name.Buffer, AK: tpm2.Marshal(b.AK.Public), LDevID: spki, KeyPolicy: v.KeyPolicy(), Board: Board,
		EKCertified: true, ResetCount: resets, BootCount: b.boots, LastReset: resets, PCR15: pcr15,
	}
}

const identityWord = "machine-id:0123"

// StartForeign measures another system into a chip that was just reset. It has
// the disk, so it uses the keys with the policies that lie there.
func (b *Box) StartForeign(system, disk *Release) {
	b.t.Helper()
	b.measure(system)
	b.open(disk)
}
