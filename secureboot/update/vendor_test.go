// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"incamera/secureboot/evidence"
	"incamera/secureboot/measure"
	"incamera/secureboot/measure/measuretest"
	"incamera/secureboot/seal"
)

const testBoard = "qemu-arm64/debian"

// vendor makes releases: all keys of a release, and a log.
type vendor struct {
	t                    testing.TB
	root, policy, bundle *ecdsa.PrivateKey
	db                   *rsa.PrivateKey
	cert                 *x509.Certificate
	logSigner            note.Signer
	logVerifier          note.Verifier
	log                  *evidence.Log
}

func newVendor(t testing.TB) *vendor {
	t.Helper()
	v := &vendor{t: t, log: new(evidence.Log)}
	for _, k := range []**ecdsa.PrivateKey{&v.root, &v.policy, &v.bundle} {
		*k = newKey(t)
	}
	var err error
	if v.db, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "db"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, v.db.Public(), v.db)
	if err != nil {
		t.Fatal(err)
	}
	if v.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	skey, vkey, err := note.GenerateKey(rand.Reader, "in-camera.example/log")
	if err != nil {
		t.Fatal(err)
	}
	if v.logSigner, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	if v.logVerifier, err = note.NewVerifier(vkey); err != nil {
		t.Fatal(err)
	}
	return v
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (v *vendor) rootKey() seal.RootKey { return seal.RootKey{Generation: 1, Key: &v.root.PublicKey} }

func (v *vendor) trust() Trust {
	return Trust{
		Board: testBoard, BundleKey: v.bundle.Public(), Log: []note.Verifier{v.logVerifier},
		Root: v.rootKey(), DB: []*x509.Certificate{v.cert},
	}
}

// build is a release before it is signed; tests alter it.
type build struct {
	Manifest
	system, uki []byte
}

const systemSize = 2<<20 + 4321

// build makes a release whose files say what they belong to, and logs it. A
// raise that is not 0 is the floor that it asks for.
func (v *vendor) build(version string, rollback, raise uint64) *build {
	t := v.t
	t.Helper()
	b := &build{system: bytes.Repeat([]byte(version+" "), systemSize/len(version+" ")+1)[:systemSize]}
	root := sha256.Sum256(b.system)
	unsigned, err := measure.WriteUKI(measuretest.Stub(),
		measure.Section{Name: ".osrel", Data: fmt.Appendf(nil, "ID=in-camera\nVERSION_ID=%s\n", version)},
		measure.Section{Name: ".cmdline", Data: fmt.Appendf(nil, "panic=10 incamera.roothash=%x", root)},
		measure.Section{Name: ".initrd", Data: []byte("initrd of " + version)},
		measure.Section{Name: ".linux", Data: measuretest.Kernel(version)},
	)
	if err != nil {
		t.Fatal(err)
	}
	b.uki = v.signImage(unsigned)
	sections, err := measure.Sections(b.uki)
	if err != nil {
		t.Fatal(err)
	}
	r := evidence.ReferenceValues{
		Board: testBoard, Version: version, Rollback: rollback, Commit: "0123456789012345678901234567890123456789",
		VerityRoot: root, CommandLine: string(measure.Content(sections, ".cmdline")),
		Profile: evidence.BoardProfile{Rules: evidence.DefaultRules(), FirstStage: "AAVMF"},
	}
	release := seal.Release{Version: rollback, Generation: 1}
	for n, name := range measure.Phases() {
		pcr11 := measure.PCR11(sections, measure.Phases()[:n+1]...)
		r.Phases = append(r.Phases, evidence.Phase{Name: name, PCR11: pcr11})
		if use, ok := map[string]seal.Use{measure.EnterInitrd: seal.State, measure.Ready: seal.Identity}[name]; ok {
			release.Predictions = append(release.Predictions, seal.Prediction{Use: use, PCRs: map[int][32]byte{11: pcr11}})
		}
	}
	policies, err := seal.MakePolicies(release, 1, v.root, v.policy)
	if err != nil {
		t.Fatal(err)
	}
	if raise != 0 {
		policies = v.raise(policies, raise)
	}
	document, err := evidence.SignReferences(r, v.bundle)
	if err != nil {
		t.Fatal(err)
	}
	b.Manifest = Manifest{
		Board: testBoard, Version: version, Rollback: rollback, VerityRoot: root, Policies: policies,
		References: document, FloorRaise: raise,
		System: partOf(b.system), UKI: partOf(b.uki),
	}
	index, err := v.log.Append(document)
	if err != nil {
		t.Fatal(err)
	}
	v.prove(b, index)
	return b
}

func partOf(b []byte) Part { return Part{int64(len(b)), sha256.Sum256(b)} }

// prove puts the log as it stands into a release.
func (v *vendor) prove(b *build, index int64) {
	v.t.Helper()
	proof, err := v.log.Prove(index, v.logSigner)
	if err != nil {
		v.t.Fatal(err)
	}
	if b.LogProof, err = proof.Marshal(); err != nil {
		v.t.Fatal(err)
	}
	b.History = v.log.Marshal()
}

func (v *vendor) raise(policies []byte, floor uint64) []byte {
	v.t.Helper()
	p, err := seal.ParsePolicies(policies)
	if err != nil {
		v.t.Fatal(err)
	}
	w, err := seal.AllowWrite(1, v.root, seal.Floor, floor, false)
	if err != nil {
		v.t.Fatal(err)
	}
	merged, err := seal.Merge(p, w)
	if err != nil {
		v.t.Fatal(err)
	}
	b, err := merged.Marshal()
	if err != nil {
		v.t.Fatal(err)
	}
	return b
}

// pack signs a release.
func (v *vendor) pack(b *build) []byte {
	v.t.Helper()
	var out bytes.Buffer
	if err := Write(&out, &b.Manifest, v.bundle, bytes.NewReader(b.system), bytes.NewReader(b.uki)); err != nil {
		v.t.Fatal(err)
	}
	return out.Bytes()
}

// signImage does what sbsign does. The product only verifies; sbverify judges
// this in TestSbsign.
func (v *vendor) signImage(pe []byte) []byte {
	t := v.t
	t.Helper()
	must := func(v any, params string) []byte {
		b, err := asn1.MarshalWithParams(v, params)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	raw := func(class, tag int, parts ...[]byte) []byte {
		return must(asn1.RawValue{Class: class, Tag: tag, IsCompound: true, Bytes: bytes.Join(parts, nil)}, "")
	}
	seq := func(parts ...[]byte) []byte { return raw(asn1.ClassUniversal, asn1.TagSequence, parts...) }
	set := func(parts ...[]byte) []byte { return raw(asn1.ClassUniversal, asn1.TagSet, parts...) }
	context := func(parts ...[]byte) []byte { return raw(asn1.ClassContextSpecific, 0, parts...) }

	digest, err := measure.Authenticode(pe)
	if err != nil {
		t.Fatal(err)
	}
	sha := seq(must(oidSHA256, ""), must(asn1.NullRawValue, ""))
	oidPEImage := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 15}
	content := bytes.Join([][]byte{
		seq(must(oidPEImage, ""), seq(must(asn1.BitString{}, ""))),
		seq(sha, must(digest[:], "")),
	}, nil)
	sum := sha256.Sum256(content)
	attributes := bytes.Join([][]byte{
		seq(must(oidContentType, ""), set(must(oidIndirectData, ""))),
		seq(must(oidMessageDigest, ""), set(must(sum[:], ""))),
	}, nil)
	toSign := sha256.Sum256(set(attributes))
	signature, err := rsa.SignPKCS1v15(nil, v.db, crypto.SHA256, toSign[:])
	if err != nil {
		t.Fatal(err)
	}
	oidRSA := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	signer := seq(must(1, ""), seq(v.cert.RawIssuer, must(1, "")), sha, context(attributes), seq(must(oidRSA, ""), must(asn1.NullRawValue, "")), must(signature, ""))
	pkcs7 := seq(must(oidSignedData, ""), context(seq(must(1, ""), set(sha), seq(must(oidIndirectData, ""), context(seq(content))), context(v.cert.Raw), set(signer))))

	return attach(pe, pkcs7)
}

// attach puts a signature behind an image.
func attach(pe, pkcs7 []byte) []byte {
	le := binary.LittleEndian
	entry := le.AppendUint32(nil, uint32(8+len(pkcs7)))
	entry = append(append(entry, 0, 2, 2, 0), pkcs7...)
	entry = append(entry, make([]byte, -len(entry)&7)...)
	out := bytes.Clone(pe)
	directory := out[le.Uint32(out[0x3c:])+24+112+32:]
	le.PutUint32(directory, uint32(len(out)))
	le.PutUint32(directory[4:], uint32(len(entry)))
	return append(out, entry...)
}
