// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package verify

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"golang.org/x/mod/sumdb/note"

	"incamera/secureboot/eventlog"
	"incamera/secureboot/evidence"
	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

const (
	board       = "qemu-virt"
	version     = "1.4.0"
	commandLine = "console=ttyAMA0 panic=10"
)

// noon is when the tests take place.
var noon = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

// A rig is a room with a real TPM that has booted a release, and all that its
// site knows of it.
type rig struct {
	tb       testing.TB
	chip     *tpmtest.Chip
	ek, ak   tpm.Key
	srk      tpm.Key
	ldevid   *ecdsa.PrivateKey
	leaf     *evidence.Certify // of a key in the TPM
	leafSPKI []byte
	firmware *eventlog.Log
	phases   []byte

	values evidence.ReferenceValues
	bundle *ecdsa.PrivateKey
	log    note.Signer
	logKey note.Verifier
	// logText is logKey as text.
	logText string
	device  evidence.Device
	policy  Policy
}

func newRig(tb testing.TB) *rig {
	tb.Helper()
	return rigOn(tb, tpmtest.Simulator(tb))
}

// rigOn provisions and boots a room on a new chip.
func rigOn(tb testing.TB, chip *tpmtest.Chip) *rig {
	tb.Helper()
	r := &rig{tb: tb, chip: chip, bundle: newKey(tb), ldevid: newKey(tb)}
	var err error
	keep := func(hierarchy tpm2.TPMHandle, template tpm2.TPMTPublic, h tpm2.TPMHandle) tpm.Key {
		k, err := tpm.Persist(r.chip, hierarchy, template, h)
		if err != nil {
			tb.Fatal(err)
		}
		return k
	}
	r.ek = keep(tpm2.TPMRHEndorsement, tpm.EKTemplateP256, tpm.HandleEKP256)
	r.ak = keep(tpm2.TPMRHEndorsement, tpm.AKTemplate, tpm.HandleAK)
	r.srk = keep(tpm2.TPMRHOwner, tpm.SRKTemplate, tpm.HandleSRK)
	r.leaf, r.leafSPKI = r.certify(leafTemplate())
	r.boot(commandLine)

	private, public, err := note.GenerateKey(rand.Reader, "log.example")
	if err != nil {
		tb.Fatal(err)
	}
	if r.log, err = note.NewSigner(private); err != nil {
		tb.Fatal(err)
	}
	if r.logKey, err = note.NewVerifier(public); err != nil {
		tb.Fatal(err)
	}
	r.logText = public
	replayed, err := eventlog.Replay(r.firmware, parsePhases(tb, r.phases))
	if err != nil {
		tb.Fatal(err)
	}
	r.device = evidence.Device{
		EKName: r.ek.Name.Buffer, AK: tpm2.Marshal(r.ak.Public), LDevID: spki(tb, &r.ldevid.PublicKey),
		KeyPolicy: policyDigest, Board: board, EKCertified: true,
		ResetCount: r.resetCount(), BootCount: 41, LastReset: r.resetCount(), PCR15: replayed[15],
	}
	r.policy = Policy{ID: "site", Developer: "In Camera", Build: "test", Minimum: 7}
	return r
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func spki(tb testing.TB, key *ecdsa.PublicKey) []byte {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func parsePhases(tb testing.TB, b []byte) *eventlog.Log {
	tb.Helper()
	l, err := eventlog.ParsePhases(b)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// policyDigest stands for the policy of identity keys: here a key only has to
// exist, not to sign.
var policyDigest = bytes.Repeat([]byte{0x5a}, 32)

// leafTemplate is that of LDevID and leaf keys.
func leafTemplate() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, NoDA: true, SignEncrypt: true,
		},
		AuthPolicy: tpm2.TPM2BDigest{Buffer: policyDigest},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Scheme: tpm2.TPMTECCScheme{
				Scheme:  tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
			},
			CurveID: tpm2.TPMECCNistP256,
		}),
	}
}

// certify makes a key under the SRK and has the AK certify it.
func (r *rig) certify(template tpm2.TPMTPublic) (*evidence.Certify, []byte) {
	r.tb.Helper()
	made, err := tpm2.Create{ParentHandle: r.srk.Auth(), InPublic: tpm2.New2B(template)}.Execute(r.chip)
	if err != nil {
		r.tb.Fatal(err)
	}
	loaded, err := tpm2.Load{ParentHandle: r.srk.Auth(), InPrivate: made.OutPrivate, InPublic: made.OutPublic}.Execute(r.chip)
	if err != nil {
		r.tb.Fatal(err)
	}
	defer func() {
		if err := tpm.Flush(r.chip, loaded.ObjectHandle); err != nil {
			r.tb.Error(err)
		}
	}()
	rsp, err := tpm2.Certify{
		ObjectHandle: tpm2.AuthHandle{Handle: loaded.ObjectHandle, Name: loaded.Name, Auth: tpm2.PasswordAuth(nil)},
		SignHandle:   r.ak.Auth(),
		InScheme:     tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
	}.Execute(r.chip)
	if err != nil {
		r.tb.Fatal(err)
	}
	public, err := made.OutPublic.Contents()
	if err != nil {
		r.tb.Fatal(err)
	}
	_, key, err := parsePublic(tpm2.Marshal(public))
	if err != nil {
		r.tb.Fatal(err)
	}
	c := &evidence.Certify{Attest: rsp.CertifyInfo.Bytes(), Signature: tpm2.Marshal(rsp.Signature), Public: tpm2.Marshal(public)}
	return c, spki(r.tb, key)
}

// sections are those of the unified kernel image.
var sections = []evidence.Section{
	{Name: ".linux", Digest: sha256.Sum256([]byte("kernel"))},
	{Name: ".cmdline", Digest: sha256.Sum256([]byte(commandLine))},
	{Name: ".initrd", Digest: sha256.Sum256([]byte("initrd"))},
}

var secureBoot = eventlog.Variable(eventlog.GlobalVariable, "SecureBoot", []byte{1})

// bootEvents is what a firmware and a boot loader measure, in short.
func bootEvents(line string) *eventlog.Log {
	l := eventlog.New()
	l.Measure(0, eventlog.CRTMVersion, []byte("firmware 1"))
	l.Add(0, eventlog.FirmwareBlob, sha256.Sum256([]byte("firmware volume")), make([]byte, 16)) // where it lies
	for pcr := 1; pcr <= 6; pcr++ {
		l.Measure(pcr, eventlog.Action, []byte{byte(pcr)})
	}
	l.Measure(7, eventlog.VariableConfig, secureBoot)
	l.Measure(7, eventlog.VariableAuthority, eventlog.Variable(eventlog.SecurityDatabase, "db", []byte("certificate")))
	for pcr := range 8 {
		l.Measure(pcr, eventlog.Separator, []byte{0, 0, 0, 0})
	}
	l.Add(4, eventlog.BootApplication, sha256.Sum256([]byte("image")), eventlog.ImageLoad(5, "\\EFI\\BOOT"))
	l.Measure(12, eventlog.IPL, eventlog.UTF16(line))
	for _, s := range sections {
		l.Measure(11, eventlog.IPL, []byte(s.Name+"\x00"))
		l.Add(11, eventlog.IPL, s.Digest, []byte(s.Name))
	}
	return l
}

var phaseWords = []string{"enter-initrd", "leave-initrd", "sysinit", "ready"}

// boot extends what a start of the room extends, writes both logs, and the
// reference values with them. Call it after a reset.
func (r *rig) boot(line string) {
	r.tb.Helper()
	r.firmware = bootEvents(line)
	r.phases = eventlog.PhaseHeader()
	for _, e := range r.firmware.Events {
		sum, _ := e.SHA256()
		r.extend(e.PCR, sum)
	}
	record := func(pcr int, word string) {
		b, digest, err := eventlog.PhaseRecord(pcr, word)
		if err != nil {
			r.tb.Fatal(err)
		}
		r.phases = append(r.phases, b...)
		r.extend(pcr, digest)
	}
	record(15, "machine-id:0123")
	for _, w := range phaseWords {
		record(11, w)
	}
	r.values = referenceValues(r.tb, line)
}

// referenceValues are written as a build does, from what it knows and not from
// the registers.
func referenceValues(tb testing.TB, line string) evidence.ReferenceValues {
	tb.Helper()
	v := evidence.ReferenceValues{
		Board: board, Version: version, Rollback: 7, Commit: strings.Repeat("ab", 20), CommandLine: commandLine,
		SBOM: sha256.Sum256([]byte("sbom")), VerityRoot: sha256.Sum256([]byte("verity")), Sections: sections,
		Profile: evidence.BoardProfile{Rules: evidence.DefaultRules(), FirstStage: "EDK2", VerifiedBy: "fuses"},
	}
	l := bootEvents(line)
	p, err := eventlog.Replay(l)
	if err != nil {
		tb.Fatal(err)
	}
	v.Values = []evidence.PCRValue{{PCR: 7, Value: p[7]}, {PCR: 12, Value: p[12]}}
	for _, e := range l.Events {
		if sum, _ := e.SHA256(); e.PCR == 0 || e.PCR == 4 {
			v.Events = append(v.Events, evidence.BoardEvent{PCR: e.PCR, Digest: sum, Name: e.Type.String()})
		}
	}
	slices.SortStableFunc(v.Events, func(a, b evidence.BoardEvent) int { return a.PCR - b.PCR })
	for _, w := range phaseWords {
		p.Extend(11, sha256.Sum256([]byte(w)))
		v.Phases = append(v.Phases, evidence.Phase{Name: w, PCR11: p[11]})
	}
	return v
}

func (r *rig) extend(pcr int, digest [32]byte) {
	r.tb.Helper()
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{
			{HashAlg: tpm2.TPMAlgSHA256, Digest: digest[:]},
		}},
	}.Execute(r.chip)
	if err != nil {
		r.tb.Fatalf("extend PCR %d: %v", pcr, err)
	}
}

func (r *rig) resetCount() uint32 {
	r.tb.Helper()
	rsp, err := tpm2.ReadClock{}.Execute(r.chip)
	if err != nil {
		r.tb.Fatal(err)
	}
	return rsp.CurrentTime.ClockInfo.ResetCount
}

// selection selects registers in a bank.
func selection(bank tpm2.TPMIAlgHash, pcrs ...int) tpm2.TPMLPCRSelection {
	bits := make([]byte, 3)
	for _, p := range pcrs {
		bits[p/8] |= 1 << (p % 8)
	}
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: bank, PCRSelect: bits}}}
}

var allPCRs = []int{0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 15}

// A statement is evidence before it is signed, with what may be changed in it.
type statement struct {
	claims    evidence.Claims
	selection tpm2.TPMLPCRSelection
	challenge Challenge
	device    evidence.Device
	policy    Policy
	values    evidence.ReferenceValues
	trust     Trust
	proof     []byte // nil: by the log
	noProof   bool
	noValues  bool
	cmw       []byte // nil: by signing claims
	now       time.Time

	// Between the TPM and the LDevID, and after it.
	afterQuote func(*evidence.Quote)
	afterSign  func([]byte) []byte
}

func (r *rig) statement() *statement {
	return &statement{
		claims: evidence.Claims{
			Nonce: bytes.Repeat([]byte{0x11}, 32), UEID: evidence.UEID(r.ek.Name.Buffer), Board: board, OEMBoot: true,
			Debug: evidence.DebugDisabledPermanently, BootCount: 41, Name: "In Camera", Version: version,
			Quote: evidence.Quote{AKName: r.ak.Name.Buffer, Log: r.firmware.Encode(), Phases: r.phases, Certify: r.leaf},
		},
		selection: selection(tpm2.TPMAlgSHA256, allPCRs...),
		challenge: Challenge{Nonce: bytes.Repeat([]byte{0x11}, 32), SPKI: r.leafSPKI, Issued: noon},
		device:    r.device, policy: r.policy, values: r.values, now: noon.Add(2 * time.Second),
		trust: Trust{Signers: []Signer{{Key: &r.bundle.PublicKey}}, Log: []note.Verifier{r.logKey}},
	}
}

// quote has the TPM quote for the statement.
func (r *rig) quote(s *statement) {
	r.tb.Helper()
	data, err := evidence.QualifyingData(s.claims.Nonce, s.challenge.SPKI, s.claims)
	if err != nil {
		r.tb.Fatal(err)
	}
	rsp, err := tpm2.Quote{
		SignHandle: r.ak.Auth(), QualifyingData: tpm2.TPM2BData{Buffer: data[:]},
		InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}, PCRSelect: s.selection,
	}.Execute(r.chip)
	if err != nil {
		r.tb.Fatal(err)
	}
	s.claims.Quote.Attest, s.claims.Quote.Signature = rsp.Quoted.Bytes(), tpm2.Marshal(rsp.Signature)
}

// references signs and logs the statement's reference values.
func (r *rig) references(s *statement) References {
	r.tb.Helper()
	if s.noValues {
		return References{}
	}
	signed, err := evidence.SignReferences(s.values, r.bundle)
	if err != nil {
		r.tb.Fatal(err)
	}
	proof := s.proof
	if proof == nil && !s.noProof {
		proof = r.prove(signed)
	}
	refs, err := LoadReferences(s.trust, Document{Signed: signed, Proof: proof})
	if err != nil {
		r.tb.Fatal(err)
	}
	return refs
}

// prove puts a document into a log between others.
func (r *rig) prove(document []byte) []byte {
	r.tb.Helper()
	var l evidence.Log
	for _, d := range [][]byte{[]byte("an earlier release"), document, []byte("a later one")} {
		if _, err := l.Append(d); err != nil {
			r.tb.Fatal(err)
		}
	}
	p, err := l.Prove(1, r.log)
	if err != nil {
		r.tb.Fatal(err)
	}
	b, err := p.Marshal()
	if err != nil {
		r.tb.Fatal(err)
	}
	return b
}

// sign has the room sign the statement, unless it has bytes already.
func (r *rig) sign(s *statement) []byte {
	r.tb.Helper()
	if s.cmw != nil {
		return s.cmw
	}
	if s.claims.Quote.Attest == nil {
		r.quote(s)
	}
	if s.afterQuote != nil {
		s.afterQuote(&s.claims.Quote)
	}
	cmw, err := evidence.Sign(s.claims, r.ldevid)
	if err != nil {
		r.tb.Fatal(err)
	}
	if s.afterSign != nil {
		cmw = s.afterSign(cmw)
	}
	return cmw
}

// appraise makes, quotes, signs and judges a statement.
func (r *rig) appraise(s *statement) evidence.Result {
	r.tb.Helper()
	result := Appraise(r.sign(s), s.challenge, s.device, r.references(s), s.policy, s.now)
	// Whatever the verdict, it can be signed and read back.
	key := newKey(r.tb)
	cmw, err := evidence.SignResult(result, key)
	if err != nil {
		r.tb.Errorf("SignResult: %v", err)
	} else if _, err := evidence.ParseResult(cmw, &key.PublicKey); err != nil {
		r.tb.Errorf("ParseResult: %v", err)
	}
	return result
}

// wantOnly checks that exactly these checks failed, and that the status is the
// one that goes with them.
func wantOnly(tb testing.TB, result evidence.Result, status evidence.Status, codes ...evidence.Code) {
	tb.Helper()
	got, want := map[evidence.Code]bool{}, map[evidence.Code]bool{}
	for _, f := range result.Failures {
		got[f.Code] = true
	}
	for _, c := range codes {
		want[c] = true
	}
	if !maps.Equal(got, want) || result.Status != status {
		tb.Errorf("status %v, failed checks %+v; want %v, %q", result.Status, result.Failures, status, codes)
	}
}

// pcrValues reads registers from the TPM.
func (r *rig) pcrValues(pcrs ...int) []byte {
	r.tb.Helper()
	var values []byte
	for _, p := range pcrs {
		rsp, err := tpm2.PCRRead{PCRSelectionIn: selection(tpm2.TPMAlgSHA256, p)}.Execute(r.chip)
		if err != nil {
			r.tb.Fatal(err)
		}
		values = append(values, rsp.PCRValues.Digests[0].Buffer...)
	}
	return values
}
