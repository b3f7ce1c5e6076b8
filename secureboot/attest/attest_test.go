// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package attest_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"incamera/secureboot/attest"
	"incamera/secureboot/enrol/enroltest"
	"incamera/secureboot/evidence"
	"incamera/secureboot/tpm/tpmtest"
	"incamera/secureboot/verify"
)

// A judge is a verifier that knows a box.
type judge struct {
	t      *testing.T
	vendor *enroltest.Vendor
	box    *enroltest.Box
	refs   verify.References
	device evidence.Device
}

func newJudge(t *testing.T) *judge {
	t.Helper()
	j := &judge{t: t, vendor: enroltest.NewVendor(t)}
	release := j.vendor.Release("1.4.0", 7)
	j.box = enroltest.NewBox(t, tpmtest.Simulator(t), j.vendor, release)
	j.refs = j.vendor.References(release)
	j.device = j.box.Device(j.vendor)
	return j
}

func (j *judge) spki(key any) []byte {
	j.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		j.t.Fatal(err)
	}
	return der
}

func (j *judge) appraise(cmw, nonce, spki []byte) evidence.Result {
	j.t.Helper()
	now := time.Now()
	return verify.Appraise(cmw, verify.Challenge{Nonce: nonce, SPKI: spki, Issued: now}, j.device, j.refs, verify.Policy{ID: "test"}, now)
}

func newNonce() []byte {
	nonce := make([]byte, attest.NonceSize)
	_, _ = rand.Read(nonce)
	return nonce
}

// TestEvidence has real evidence judged by package verify.
func TestEvidence(t *testing.T) {
	j := newJudge(t)
	for _, test := range []struct {
		name      string
		statement attest.Statement
		about     any
	}{
		{"LDevID", attest.Statement{}, j.box.LDevID.Public()},
		{"leaf", attest.Statement{Key: j.box.Leaf}, j.box.Leaf.Public()},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.statement.Nonce = newNonce()
			cmw, err := j.box.Attest.Evidence(t.Context(), test.statement)
			if err != nil {
				t.Fatal(err)
			}
			if r := j.appraise(cmw, test.statement.Nonce, j.spki(test.about)); r.Status != evidence.Affirming {
				t.Errorf("verdict %v: %+v", r.Status, r.Failures)
			}
			if r := j.appraise(cmw, newNonce(), j.spki(test.about)); !r.Failed(evidence.NonceUnknown) {
				t.Errorf("another nonce: %v: %+v", r.Status, r.Failures)
			}
			if r := j.appraise(cmw, test.statement.Nonce, j.spki(&enroltest.NewKey(t).PublicKey)); r.Status != evidence.Contraindicated {
				t.Errorf("about another key: %v", r.Status)
			}
		})
	}
	if _, err := j.box.Attest.Evidence(t.Context(), attest.Statement{Nonce: []byte("short")}); err == nil {
		t.Error("a nonce of 5 bytes was taken")
	}
}

// TestCompact judges evidence without logs as a peer does: by the values that a
// verdict on the whole evidence found good.
func TestCompact(t *testing.T) {
	j := newJudge(t)
	nonce := newNonce()
	whole, err := j.box.Attest.Evidence(t.Context(), attest.Statement{Nonce: nonce})
	if err != nil {
		t.Fatal(err)
	}
	verdict := j.appraise(whole, nonce, j.spki(j.box.LDevID.Public()))
	if j.device, j.refs, err = verify.FromResult(&verdict); err != nil {
		t.Fatal(err)
	}
	compact := func() (cmw, nonce []byte) {
		nonce = newNonce()
		cmw, err := j.box.Attest.Evidence(t.Context(), attest.Statement{Nonce: nonce, Key: j.box.Leaf, Compact: true})
		if err != nil {
			t.Fatal(err)
		}
		return cmw, nonce
	}
	cmw, nonce := compact()
	if len(cmw) > 2048 { // it goes into each MLS leaf
		t.Errorf("%d bytes", len(cmw))
	}
	if r := j.appraise(cmw, nonce, j.spki(j.box.Leaf.Public())); r.Status != evidence.Affirming {
		t.Errorf("verdict %v: %+v", r.Status, r.Failures)
	}
	j.box.Extend(12, "another command line")
	cmw, nonce = compact()
	if r := j.appraise(cmw, nonce, j.spki(j.box.Leaf.Public())); !r.Failed(evidence.RefvalMismatch) {
		t.Errorf("with another PCR 12: %v: %+v", r.Status, r.Failures)
	}
}

// TestCertifyOnce counts the commands: the second evidence about a leaf needs no
// TPM2_Certify and no loading of the key.
func TestCertifyOnce(t *testing.T) {
	j := newJudge(t)
	count := func() uint64 {
		before := j.box.Chip.Commands()
		if _, err := j.box.Attest.Evidence(t.Context(), attest.Statement{Nonce: newNonce(), Key: j.box.Leaf}); err != nil {
			t.Fatal(err)
		}
		return j.box.Chip.Commands() - before
	}
	count() // the LDevID's tickets are kept from its first signature on
	certified := count()
	plain := func() uint64 {
		before := j.box.Chip.Commands()
		if _, err := j.box.Attest.Evidence(t.Context(), attest.Statement{Nonce: newNonce()}); err != nil {
			t.Fatal(err)
		}
		return j.box.Chip.Commands() - before
	}()
	if certified != plain {
		t.Errorf("evidence about a leaf that was certified before takes %d commands; about the LDevID, %d", certified, plain)
	}
	j.box.NewLeaf(j.vendor.Release("1.4.0", 7))
	nonce := newNonce()
	cmw, err := j.box.Attest.Evidence(t.Context(), attest.Statement{Nonce: nonce, Key: j.box.Leaf})
	if err != nil {
		t.Fatal(err)
	}
	if r := j.appraise(cmw, nonce, j.spki(j.box.Leaf.Public())); r.Status != evidence.Affirming {
		t.Errorf("another leaf: %v: %+v", r.Status, r.Failures)
	}
}

// TestMoving has the room measure a word right after the logs were read, twice:
// the evidence must have both words, since the quote may.
func TestMoving(t *testing.T) {
	j := newJudge(t)
	moves := 0
	j.box.Attest.Logs = func() ([]byte, []byte, error) {
		firmware, phases := j.box.Firmware, j.box.Phases
		if moves < 2 {
			moves++
			j.box.Measure(9, "late")
		}
		return firmware, phases, nil
	}
	nonce := newNonce()
	cmw, err := j.box.Attest.Evidence(t.Context(), attest.Statement{Nonce: nonce})
	if err != nil {
		t.Fatal(err)
	}
	e, err := evidence.Parse(cmw)
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.Count(e.Quote.Phases, []byte("late")); got != 2 {
		t.Errorf("the log in the evidence has %d of the 2 words", got)
	}
	if r := j.appraise(cmw, nonce, j.spki(j.box.LDevID.Public())); r.Status != evidence.Affirming {
		t.Errorf("verdict %v: %+v", r.Status, r.Failures)
	}

	n := byte(0)
	j.box.Attest.Logs = func() ([]byte, []byte, error) { n++; return []byte{n}, nil, nil }
	if _, err := j.box.Attest.Evidence(t.Context(), attest.Statement{Nonce: nonce}); !errors.Is(err, attest.ErrMoving) {
		t.Errorf("a log that never holds still: %v, want ErrMoving", err)
	}
}

func TestHandler(t *testing.T) {
	j := newJudge(t)
	h := attest.Handler(j.box.Attest, j.box.Leaf, slog.New(slog.DiscardHandler))
	nonce := newNonce()
	text := base64.RawURLEncoding.EncodeToString(nonce)
	for _, test := range []struct {
		name, method, url string
		status            int
		code              string
	}{
		{"LDevID", "GET", "/v1/attestation?nonce=" + text, 200, ""},
		{"leaf", "GET", "/v1/attestation?key=leaf&nonce=" + text, 200, ""},
		{"no nonce", "GET", "/v1/attestation", 400, "malformed"},
		{"short nonce", "GET", "/v1/attestation?nonce=AAAA", 400, "malformed"},
		{"padded nonce", "GET", "/v1/attestation?nonce=" + text + "=", 400, "malformed"},
		{"second spelling", "GET", "/v1/attestation?nonce=" + text[:42] + "B", 400, "malformed"},
		{"long nonce", "GET", "/v1/attestation?nonce=" + strings.Repeat("A", 4000), 400, "malformed"},
		{"other key", "GET", "/v1/attestation?key=ak&nonce=" + text, 400, "malformed"},
		{"POST", "POST", "/v1/attestation?nonce=" + text, 405, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(test.method, test.url, nil))
			if w.Code != test.status {
				t.Fatalf("status %d, want %d: %s", w.Code, test.status, w.Body)
			}
			if test.code != "" {
				var p struct{ Code string }
				if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Code != test.code || w.Header().Get("Content-Type") != "application/problem+json" {
					t.Errorf("%q: %s, want code %s", w.Header().Get("Content-Type"), w.Body, test.code)
				}
			}
			if test.status == http.StatusOK {
				about := j.box.LDevID.Public()
				if test.name == "leaf" {
					about = j.box.Leaf.Public()
				}
				if r := j.appraise(bytes.Clone(w.Body.Bytes()), nonce, j.spki(about)); r.Status != evidence.Affirming {
					t.Errorf("verdict %v: %+v", r.Status, r.Failures)
				}
			}
		})
	}
}

// TestHandlerBusy asks more often than a TPM can bear.
func TestHandlerBusy(t *testing.T) {
	j := newJudge(t)
	h := attest.Handler(j.box.Attest, nil, slog.New(slog.DiscardHandler))
	for i := range 11 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/v1/attestation?nonce="+base64.RawURLEncoding.EncodeToString(newNonce()), nil))
		want := http.StatusOK
		if i == 10 {
			want = http.StatusTooManyRequests
		}
		if w.Code != want {
			t.Fatalf("request %d: status %d, want %d", i+1, w.Code, want)
		}
	}
}
