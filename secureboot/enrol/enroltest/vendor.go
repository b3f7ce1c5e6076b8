// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

// Package enroltest gives tests a vendor who builds releases and boxes that run
// them: real keys under real policies in a software TPM, real logs. It is in no
// release.
package enroltest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"incamera/secureboot/eventlog"
	"incamera/secureboot/evidence"
	"incamera/secureboot/seal"
	"incamera/secureboot/verify"
)

// Board is the board that boxes say they are.
const Board = "test-board"

// A Vendor builds and signs releases.
type Vendor struct {
	LogKey string // verifier's key of the transparency log
	Log    evidence.Log

	t                    testing.TB
	root, policy, bundle *ecdsa.PrivateKey
	log                  note.Signer
}

// NewVendor makes a vendor with keys of its own.
func NewVendor(t testing.TB) *Vendor {
	t.Helper()
	v := &Vendor{t: t, root: NewKey(t), policy: NewKey(t), bundle: NewKey(t)}
	private, public, err := note.GenerateKey(rand.Reader, "log.example")
	if err != nil {
		t.Fatal(err)
	}
	if v.log, err = note.NewSigner(private); err != nil {
		t.Fatal(err)
	}
	v.LogKey = public
	return v
}

// NewKey makes a P-256 key.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Root is the key that boxes trust.
func (v *Vendor) Root() seal.RootKey { return seal.RootKey{Generation: 1, Key: &v.root.PublicKey} }

// BundleKey is the key that signs reference values, in PEM.
func (v *Vendor) BundleKey() []byte {
	v.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&v.bundle.PublicKey)
	if err != nil {
		v.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// KeyPolicy is the policy of the boxes' identity keys.
func (v *Vendor) KeyPolicy() []byte {
	v.t.Helper()
	p, err := seal.AuthPolicy(v.Root(), seal.Identity)
	if err != nil {
		v.t.Fatal(err)
	}
	return p.Buffer
}

// A Release is one build.
type Release struct {
	Version  string
	Values   evidence.ReferenceValues
	Document []byte // signed reference values
	Index    int64  // of Document in the log
	Policies *seal.Policies

	image string
}

const commandLine = "console=ttyAMA0 panic=10"

var phases = []string{"enter-initrd", "leave-initrd", "sysinit", "ready"}

// Release builds a release with a rollback number and puts it into the log.
func (v *Vendor) Release(version string, rollback uint64) *Release {
	v.t.Helper()
	return v.ReleaseFor(Board, version, rollback)
}

// ReleaseFor builds a release for another board.
func (v *Vendor) ReleaseFor(board, version string, rollback uint64) *Release {
	v.t.Helper()
	r := &Release{Version: version, image: "kernel " + version}
	log := r.events()
	p, err := eventlog.Replay(log)
	if err != nil {
		v.t.Fatal(err)
	}
	r.Values = evidence.ReferenceValues{
		Board: board, Version: version, Rollback: rollback, Commit: strings.Repeat("ab", 20), CommandLine: commandLine,
		SBOM: sha256.Sum256([]byte("sbom")), VerityRoot: sha256.Sum256([]byte("verity")),
		Sections: []evidence.Section{{Name: ".linux", Digest: sha256.Sum256([]byte(r.image))}},
		Values:   []evidence.PCRValue{{PCR: 7, Value: p[7]}, {PCR: 12, Value: p[12]}},
		Profile:  evidence.BoardProfile{Rules: evidence.DefaultRules(), FirstStage: "EDK2", VerifiedBy: "fuses"},
	}
	for _, e := range log.Events {
		if sum, _ := e.SHA256(); e.PCR == 0 || e.PCR == 4 {
			r.Values.Events = append(r.Values.Events, evidence.BoardEvent{PCR: e.PCR, Digest: sum, Name: e.Type.String()})
		}
	}
	slices.SortStableFunc(r.Values.Events, func(a, b evidence.BoardEvent) int { return a.PCR - b.PCR })
	predictions := map[string][32]byte{}
	for _, w := range phases {
		p.Extend(11, sha256.Sum256([]byte(w)))
		r.Values.Phases = append(r.Values.Phases, evidence.Phase{Name: w, PCR11: p[11]})
		predictions[w] = p[11]
	}
	v.sign(r, rollback, predictions)
	return r
}

func (v *Vendor) sign(r *Release, rollback uint64, pcr11 map[string][32]byte) {
	v.t.Helper()
	at := func(phase string) map[int][32]byte { return map[int][32]byte{11: pcr11[phase]} }
	b, err := seal.MakePolicies(seal.Release{Version: rollback, Generation: 1, Predictions: []seal.Prediction{
		{Use: seal.State, PCRs: at("enter-initrd")}, {Use: seal.Identity, PCRs: at("ready")}, {Use: seal.Owner, PCRs: at("ready")},
	}}, 1, v.root, v.policy)
	if err != nil {
		v.t.Fatal(err)
	}
	if r.Policies, err = seal.ParsePolicies(b); err != nil {
		v.t.Fatal(err)
	}
	if r.Document, err = evidence.SignReferences(r.Values, v.bundle); err != nil {
		v.t.Fatal(err)
	}
	if r.Index, err = v.Log.Append(r.Document); err != nil {
		v.t.Fatal(err)
	}
}

// Proof proves that the release is in the log as it stands now.
func (v *Vendor) Proof(r *Release) []byte {
	v.t.Helper()
	p, err := v.Log.Prove(r.Index, v.log)
	if err != nil {
		v.t.Fatal(err)
	}
	b, err := p.Marshal()
	if err != nil {
		v.t.Fatal(err)
	}
	return b
}

// events is what firmware and boot loader measure, in short.
func (r *Release) events() *eventlog.Log {
	l := eventlog.New()
	l.Measure(0, eventlog.CRTMVersion, []byte("firmware 1"))
	for pcr := 1; pcr <= 6; pcr++ {
		l.Measure(pcr, eventlog.Action, []byte{byte(pcr)})
	}
	l.Measure(7, eventlog.VariableConfig, []byte("SecureBoot on"))
	for pcr := range 8 {
		l.Measure(pcr, eventlog.Separator, []byte{0, 0, 0, 0})
	}
	l.Add(4, eventlog.BootApplication, sha256.Sum256([]byte(r.image)), []byte("path"))
	l.Measure(12, eventlog.IPL, eventlog.UTF16(commandLine))
	l.Measure(11, eventlog.IPL, []byte(".linux\x00"))
	l.Add(11, eventlog.IPL, sha256.Sum256([]byte(r.image)), []byte(".linux"))
	return l
}

// Hex is how configurations spell bytes.
func Hex(b []byte) string { return hex.EncodeToString(b) }

// References are the reference values of releases as a verifier holds them.
func (v *Vendor) References(releases ...*Release) verify.References {
	v.t.Helper()
	log, err := note.NewVerifier(v.LogKey)
	if err != nil {
		v.t.Fatal(err)
	}
	var documents []verify.Document
	for _, r := range releases {
		documents = append(documents, verify.Document{Signed: r.Document, Proof: v.Proof(r)})
	}
	refs, err := verify.LoadReferences(verify.Trust{Signers: []verify.Signer{{Key: &v.bundle.PublicKey}}, Log: []note.Verifier{log}}, documents...)
	if err != nil {
		v.t.Fatal(err)
	}
	return refs
}

// Logs returns the logs of a start of the release up to the phase ready, and the
// registers that it leaves.
func (r *Release) Logs(t testing.TB) (firmware, phaseLog []byte, registers eventlog.PCRs) {
	t.Helper()
	phaseLog = eventlog.PhaseHeader()
	add := func(pcr int, word string) {
		record, _, err := eventlog.PhaseRecord(pcr, word)
		if err != nil {
			t.Fatal(err)
		}
		phaseLog = append(phaseLog, record...)
	}
	add(15, identityWord)
	for _, w := range phases {
		add(11, w)
	}
	second, err := eventlog.ParsePhases(phaseLog)
	if err != nil {
		t.Fatal(err)
	}
	if registers, err = eventlog.Replay(r.events(), second); err != nil {
		t.Fatal(err)
	}
	return r.events().Encode(), phaseLog, registers
}
