// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// sampleResult has every member set.
func sampleResult() Result {
	return Result{
		Issued: time.Unix(1790000000, 0).UTC(), Developer: "In Camera", Build: "1.4.0", PolicyID: "site",
		Nonce: bytes.Repeat([]byte{7}, 32), Status: Contraindicated, Vector: Vector{97, 2, 96, 0, 32},
		Failures: []Failure{
			{Code: RefvalMismatch, Status: Contraindicated, Detail: "PCR 11", Event: &Event{PCR: 11, Number: 31, Type: 13, Digest: Digest{1}, Name: "EV_IPL"}},
			{Code: HWUnrooted, Status: Warning, Detail: "soft"},
		},
		Evidence: Digest{2}, References: Digest{3},
		Release: &Release{Version: "1.4.0", Rollback: 7, FirstStage: "EDK2", VerifiedBy: "fuses"},
		State:   &State{ResetCount: 9, RestartCount: 0, Safe: true, BootCount: 41, Registers: []Register{{0, Events, Digest{4}}, {11, Exact, Digest{5}}}},
		Device: Device{
			EKName: []byte("ek"), AK: []byte("ak"), LDevID: []byte("ldevid"), KeyPolicy: []byte("policy"), Board: "qemu-virt",
			Soft: true, EKCertified: true, ResetCount: 8, BootCount: 40, LastReset: 9, PCR15: Digest{6},
		},
	}
}

func TestResultRoundTrip(t *testing.T) {
	key, want := newKey(t), sampleResult()
	cmw, err := SignResult(want, key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseResult(cmw, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("ParseResult = %+v; want %+v", *got, want)
	}
	if _, err := ParseResult(cmw, newKey(t).Public()); !errors.Is(err, ErrSignature) {
		t.Errorf("under another key: %v; want %v", err, ErrSignature)
	}
	if e := got.Offender(); e == nil || e.Number != 31 {
		t.Errorf("Offender = %+v", e)
	}
	for at, age := range map[time.Duration]time.Duration{-time.Hour: 0, 0: 0, time.Hour: time.Hour} {
		if a := got.Age(want.Issued.Add(at)); a != age {
			t.Errorf("Age %v after = %v; want %v", at, a, age)
		}
	}
}

// TestResultRules: a status is never better than what it rests on, and a room is
// admitted only as a release.
func TestResultRules(t *testing.T) {
	key := newKey(t)
	good := sampleResult()
	good.Status, good.Vector, good.Failures = Affirming, Vector{2, 2, 3, 2, 2}, nil
	if _, err := SignResult(good, key); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Result){
		"none":                      func(r *Result) { r.Status = None },
		"unknown status":            func(r *Result) { r.Status = 3 },
		"affirming over a refusal":  func(r *Result) { r.Failures = sampleResult().Failures },
		"affirming over a vector":   func(r *Result) { r.Vector[0] = 32 },
		"affirming over a negative": func(r *Result) { r.Vector[0] = -33 },
		"warning over a vector":     func(r *Result) { r.Status, r.Vector[1] = Warning, 96 },
		"no release":                func(r *Result) { r.Release = nil },
		"no state":                  func(r *Result) { r.State = nil },
		"no reference values":       func(r *Result) { r.References = Digest{} },
		"no attestation key":        func(r *Result) { r.Device.AK = nil },
		"registers out of order":    func(r *Result) { r.State = &State{Registers: []Register{{11, Exact, Digest{}}, {0, Exact, Digest{}}}} },
		"failure without weight":    func(r *Result) { r.Failures = []Failure{{Code: Rollback}} },
	} {
		r := good
		change(&r)
		if _, err := SignResult(r, key); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v; want %v", name, err, ErrMalformed)
		}
	}
}

// TestLabels checks that what is written has the labels of labels.go.
func TestLabels(t *testing.T) {
	claims := sampleClaims()
	result, references := sampleResult(), sampleReferences()
	var set map[int]cbor.RawMessage
	claimsSet, err := encode(claims.wire(&claims.Quote))
	if err != nil {
		t.Fatal(err)
	}
	if err := cbor.Unmarshal(claimsSet, &set); err != nil || set[labelQuote] == nil {
		t.Errorf("claims without %d: %v", labelQuote, err)
	}
	var outer struct {
		Submods map[string]map[int]cbor.RawMessage `cbor:"266,keyasint"`
	}
	appraisal, err := encode(result.wire())
	if err != nil {
		t.Fatal(err)
	}
	if err := cbor.Unmarshal(appraisal, &outer); err != nil {
		t.Fatal(err)
	}
	for _, label := range []int{labelFailures, labelDevice, labelRelease, labelEvidence, labelReferences, labelState} {
		if outer.Submods[submodule][label] == nil {
			t.Errorf("result without %d", label)
		}
	}
	manifest, err := references.corim()
	if err != nil {
		t.Fatal(err)
	}
	if label, _ := encode(labelBoard); !bytes.Contains(manifest, label) {
		t.Errorf("reference values without %d", labelBoard)
	}
}

// TestSecondSpellings: one value has one encoding.
func TestSecondSpellings(t *testing.T) {
	claims := sampleClaims()
	good, err := encode(claims.wire(&claims.Quote))
	if err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) error {
		if err := checkEAT(b); err != nil {
			return err
		}
		var w wireClaims
		if err := decode(decoder, b, MaxCMW, &w); err != nil {
			return err
		}
		_, err := w.claims()
		return err
	}
	if err := read(good); err != nil {
		t.Fatal(err)
	}
	// good is a map of 11; its first entry is 10: nonce, 32 bytes.
	if good[0] != 0xab || good[1] != 0x0a || good[2] != 0x58 || good[3] != 32 {
		t.Fatalf("claims begin with % x", good[:4])
	}
	first := good[1 : 4+32]
	splice := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, b := range map[string][]byte{
		"nothing":                 {},
		"trailing byte":           splice(good, []byte{0}),
		"truncated":               good[:len(good)-1],
		"duplicate key":           splice([]byte{0xac}, first, good[1:]),
		"indefinite map":          splice([]byte{0xbf}, good[1:], []byte{0xff}),
		"indefinite string":       splice([]byte{0xab, 0x0a, 0x5f, 0x58, 32}, good[4:36], []byte{0xff}, good[36:]),
		"long key":                splice([]byte{0xab, 0x18, 0x0a}, good[2:]),
		"long length":             splice([]byte{0xab, 0x0a, 0x59, 0, 32}, good[4:]),
		"keys out of order":       splice([]byte{0xab}, good[36:], first),
		"unknown claim":           splice([]byte{0xac}, good[1:], []byte{0x3a, 0x7f, 0xff, 0xff, 0xff, 0}),
		"missing claim":           splice([]byte{0xaa}, good[36:]),
		"tag":                     splice([]byte{0xc1}, good),
		"null for the quote":      splice(good[:bytes.Index(good, []byte{0x3a, 0, 1, 0x11, 0x70})+5], []byte{0xf6}),
		"deep":                    splice([]byte{0xac}, good[1:], []byte{0x3a, 0x7f, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{0x81}, 8), []byte{0}),
		"array that says 2^32":    {0x9a, 0xff, 0xff, 0xff, 0xff},
		"string that says 2^62":   {0x5b, 0x40, 0, 0, 0, 0, 0, 0, 0},
		"text that is not UTF-8":  bytes.Replace(good, []byte("1.4.0"), []byte("1.\xff.0"), 1),
		"another profile":         bytes.Replace(good, []byte("room#1"), []byte("room#2"), 1),
		"another maker":           bytes.Replace(good, oemID, make([]byte, 16), 1),
		"another version scheme":  bytes.Replace(good, []byte{0x19, 0x40, 0x00}, []byte{0x19, 0x40, 0x01}, 1),
		"version with a new line": bytes.Replace(good, []byte("1.4.0"), []byte("1.4\n0"), 1),
	} {
		if err := read(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v; want %v", name, err, ErrMalformed)
		}
	}
}

// TestClaimBounds: Sign refuses what Parse would.
func TestClaimBounds(t *testing.T) {
	key := newKey(t)
	for name, change := range map[string]func(*Claims){
		"short nonce":          func(c *Claims) { c.Nonce = make([]byte, 7) },
		"long nonce":           func(c *Claims) { c.Nonce = make([]byte, 65) },
		"ueid of another form": func(c *Claims) { c.UEID = append([]byte{2}, c.UEID[1:]...) },
		"no board":             func(c *Claims) { c.Board = "" },
		"long board":           func(c *Claims) { c.Board = strings.Repeat("b", 33) },
		"debug status":         func(c *Claims) { c.Debug = 5 },
		"bootcount":            func(c *Claims) { c.BootCount = maxBoots + 1 },
		"no version":           func(c *Claims) { c.Version = "" },
		"long version":         func(c *Claims) { c.Version = strings.Repeat("1", 257) },
		"no quote":             func(c *Claims) { c.Quote = Quote{} },
		"long attest":          func(c *Claims) { c.Quote.Attest = make([]byte, maxTPM+1) },
		"log and values":       func(c *Claims) { c.Quote.PCRs = make([]byte, 32) },
		"hash without values":  func(c *Claims) { c.Quote = c.Quote.Compact(nil) },
		"half values":          func(c *Claims) { c.Quote = c.Quote.Compact(make([]byte, 33)) },
		"hash with phases": func(c *Claims) {
			c.Quote = c.Quote.Compact(make([]byte, 32))
			c.Quote.Phases = []byte("phases")
		},
		"empty certify": func(c *Claims) { c.Quote.Certify = &Certify{} },
	} {
		c := sampleClaims()
		change(&c)
		if _, err := Sign(c, key); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v; want %v", name, err, ErrMalformed)
		}
	}
	for name, change := range map[string]func(*Claims){
		"log":    func(c *Claims) { c.Quote.Log = make([]byte, maxLog+1) },
		"phases": func(c *Claims) { c.Quote.Phases = make([]byte, maxPhases+1) },
	} {
		c := sampleClaims()
		change(&c)
		if _, err := Sign(c, key); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v; want %v", name, err, ErrTooLarge)
		}
	}
	largest := sampleClaims()
	largest.Quote.Log, largest.Quote.Phases = make([]byte, maxLog), make([]byte, maxPhases)
	if cmw, err := Sign(largest, key); err != nil {
		t.Error(err)
	} else if _, err := Parse(cmw); err != nil {
		t.Error(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Sign(sampleClaims(), other); !errors.Is(err, ErrSignature) {
		t.Errorf("P-384: %v; want %v", err, ErrSignature)
	}
}

// TestCMWKinds: evidence is no result, and the other way about.
func TestCMWKinds(t *testing.T) {
	key := newKey(t)
	e, err := Sign(sampleClaims(), key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := SignResult(sampleResult(), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(r); !errors.Is(err, ErrMalformed) {
		t.Errorf("a result as evidence: %v", err)
	}
	if _, err := ParseResult(e, key.Public()); !errors.Is(err, ErrMalformed) {
		t.Errorf("evidence as a result: %v", err)
	}
	// With the other indicator the claims still differ.
	for _, b := range [][]byte{e, r} {
		if last := len(b) - 1; b[last] != cmwEvidence && b[last] != cmwResults {
			t.Fatalf("a record ends with %#x", b[last])
		}
	}
	e[len(e)-1], r[len(r)-1] = cmwResults, cmwEvidence
	if _, err := Parse(r); !errors.Is(err, ErrMalformed) {
		t.Errorf("a result relabelled: %v", err)
	}
	if _, err := ParseResult(e, key.Public()); !errors.Is(err, ErrMalformed) {
		t.Errorf("evidence relabelled: %v", err)
	}
}

func TestCertificate(t *testing.T) {
	key := newKey(t)
	cmw, err := SignResult(sampleResult(), key)
	if err != nil {
		t.Fatal(err)
	}
	ext, err := Extension(cmw)
	if err != nil {
		t.Fatal(err)
	}
	if ext.Critical || ext.Id.String() != "1.3.6.1.5.5.7.1.35" {
		t.Errorf("extension %v, critical %v", ext.Id, ext.Critical)
	}
	make := func(extensions ...pkix.Extension) *x509.Certificate {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), ExtraExtensions: extensions}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil { // crypto/x509 refuses doubles itself: then this is what we meet
			c = &x509.Certificate{Extensions: extensions}
		}
		return c
	}
	got, err := FromCertificate(make(ext))
	if err != nil || !bytes.Equal(got, cmw) {
		t.Errorf("FromCertificate = %x, %v", got, err)
	}
	if _, err := FromCertificate(make()); !errors.Is(err, ErrNoStatement) {
		t.Errorf("without: %v; want %v", err, ErrNoStatement)
	}
	if _, err := FromCertificate(make(ext, ext)); !errors.Is(err, ErrMalformed) {
		t.Errorf("two: %v; want %v", err, ErrMalformed)
	}
	for name, value := range map[string][]byte{
		"no DER": {1, 2, 3}, "trailing": append(bytes.Clone(ext.Value), 0), "empty": {4, 0}, "text": {0x0c, 1, 'a'},
	} {
		if _, err := FromCertificate(make(pkix.Extension{Id: ext.Id, Value: value})); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v; want %v", name, err, ErrMalformed)
		}
	}
}

// TestSign1Refuses: other algorithms and headers.
func TestSign1Refuses(t *testing.T) {
	cmw, err := Sign(sampleClaims(), newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	var r record
	if err := decode(decoder, cmw, MaxCMW, &r); err != nil {
		t.Fatal(err)
	}
	good := r.Value
	if !bytes.HasPrefix(good, []byte{0xd2, 0x84, 0x43, 0xa1, 0x01, 0x26, 0xa0}) {
		t.Fatalf("statement begins with % x", good[:7])
	}
	rest := good[7:]
	for name, head := range map[string][]byte{
		"no tag":             {0x84, 0x43, 0xa1, 0x01, 0x26, 0xa0},
		"COSE_Mac0":          {0xd1, 0x84, 0x43, 0xa1, 0x01, 0x26, 0xa0},
		"ES384":              {0xd2, 0x84, 0x44, 0xa1, 0x01, 0x38, 0x22, 0xa0},
		"no algorithm":       {0xd2, 0x84, 0x40, 0xa0},
		"algorithm outside":  {0xd2, 0x84, 0x40, 0xa1, 0x01, 0x26},
		"unprotected header": {0xd2, 0x84, 0x43, 0xa1, 0x01, 0x26, 0xa1, 0x04, 0x41, 0x00},
		"long algorithm":     {0xd2, 0x84, 0x44, 0xa1, 0x01, 0x38, 0x06, 0xa0},
		"more headers":       {0xd2, 0x84, 0x46, 0xa2, 0x01, 0x26, 0x04, 0x41, 0x00, 0xa0},
		"long array":         {0xd2, 0x98, 0x04, 0x43, 0xa1, 0x01, 0x26, 0xa0},
		"five members":       {0xd2, 0x85, 0x43, 0xa1, 0x01, 0x26, 0xa0},
	} {
		b, err := wrap(append(bytes.Clone(head), rest...), cmwEvidence)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v; want %v", name, err, ErrMalformed)
		}
	}
}

// TestReferenceBounds: what cannot be reference values.
func TestReferenceBounds(t *testing.T) {
	key := newKey(t)
	for name, change := range map[string]func(*ReferenceValues){
		"no board":                 func(r *ReferenceValues) { r.Board = "" },
		"no version":               func(r *ReferenceValues) { r.Version = "" },
		"commit":                   func(r *ReferenceValues) { r.Commit = "main" },
		"commit in capitals":       func(r *ReferenceValues) { r.Commit = strings.Repeat("AB", 20) },
		"command line":             func(r *ReferenceValues) { r.CommandLine = "a\x00b" },
		"no phase":                 func(r *ReferenceValues) { r.Phases = nil },
		"a phase twice":            func(r *ReferenceValues) { r.Phases = append(r.Phases, r.Phases[0]) },
		"a section twice":          func(r *ReferenceValues) { r.Sections = append(r.Sections, r.Sections[0]) },
		"value of PCR 11":          func(r *ReferenceValues) { r.Values = []PCRValue{{PCR: 11}} },
		"value of PCR 24":          func(r *ReferenceValues) { r.Values = []PCRValue{{PCR: 24}} },
		"values out of order":      func(r *ReferenceValues) { r.Values = []PCRValue{{PCR: 12}, {PCR: 7}} },
		"event of PCR -1":          func(r *ReferenceValues) { r.Events = []BoardEvent{{PCR: -1, Name: "e"}} },
		"event without name":       func(r *ReferenceValues) { r.Events = []BoardEvent{{PCR: 0}} },
		"no first stage":           func(r *ReferenceValues) { r.Profile.FirstStage = "" },
		"no rules":                 func(r *ReferenceValues) { r.Profile.Rules = nil },
		"rules out of order":       func(r *ReferenceValues) { r.Profile.Rules = []Rule{{11, Exact}, {7, Exact}} },
		"rule twice":               func(r *ReferenceValues) { r.Profile.Rules = []Rule{{11, Exact}, {11, Exact}} },
		"word":                     func(r *ReferenceValues) { r.Profile.Rules = []Rule{{7, "some"}, {11, Exact}} },
		"PCR 11 that is not exact": func(r *ReferenceValues) { r.Profile.Rules = []Rule{{11, Any}} },
		"no PCR 11":                func(r *ReferenceValues) { r.Profile.Rules = []Rule{{7, Exact}} },
	} {
		r := sampleReferences()
		change(&r)
		if _, err := SignReferences(r, key); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v; want %v", name, err, ErrMalformed)
		}
	}
	twin, err := new(ReferenceValues).JSON()
	if err == nil {
		t.Errorf("empty values have a twin: %s", twin)
	}
	full := sampleReferences()
	if twin, err = full.JSON(); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"trailing":      append(bytes.Clone(twin), '\n'),
		"unknown field": bytes.Replace(twin, []byte(`"board"`), []byte(`"extra": 1, "board"`), 1),
		"other case":    bytes.Replace(twin, []byte(`"board"`), []byte(`"Board"`), 1),
		"no JSON":       []byte("{"),
	} {
		if _, err := ParseReferencesJSON(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("twin, %s: %v; want %v", name, err, ErrMalformed)
		}
	}
}
