// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"incamera/secureboot/attest"
	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/enrol/enroltest"
	"incamera/secureboot/evidence"
)

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key := enroltest.NewKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// TestHostileBodies damages each request of a real enrolment in many ways. None
// may be taken, none may be answered with an internal error, and afterwards the
// enrolment goes through as if nothing had been.
func TestHostileBodies(t *testing.T) {
	s, box, _ := newBox(t)
	h := s.service.handler()
	code := s.code(box, "boardroom")
	var bodies []recorded
	m := s.member(box)
	s.record(t, &bodies, func() {
		if _, err := m.Join(t.Context(), client.Ticket{Code: code}); !errors.Is(err, client.ErrWaiting) {
			t.Fatalf("Join = %v, want ErrWaiting", err)
		}
	})
	if len(bodies) != 2 {
		t.Fatalf("%d requests, want begin and finish", len(bodies))
	}
	if err := s.staff().Revoke(t.Context(), "boardroom"); err != nil { // so that no code or session is left
		t.Fatal(err)
	}
	if err := s.staff().Admit(t.Context(), "boardroom"); err != nil {
		t.Fatal(err)
	}
	for _, b := range bodies {
		for name, damaged := range damage(t, b.body) {
			r := httptest.NewRequest("POST", b.path, bytes.NewReader(damaged))
			r.Header.Set("Content-Type", mediaJSON)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			var p problemBody
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code == http.StatusOK || p.Code == codeInternal {
				t.Errorf("%s, %s: status %d: %s", b.path, name, w.Code, w.Body)
			}
		}
	}
	// Proofs that are well formed and false, in a session that is real.
	for name, change := range map[string]struct {
		f    func(*enrol.FinishRequest)
		code evidence.Code
	}{
		"other secret":           {func(r *enrol.FinishRequest) { r.Secret[0] ^= 1 }, evidence.SigInvalid},
		"keys changed round":     {func(r *enrol.FinishRequest) { r.Identity, r.Leaf = r.Leaf, r.Identity }, evidence.SigInvalid},
		"one key for both":       {func(r *enrol.FinishRequest) { r.Leaf = r.Identity }, evidence.SigInvalid},
		"other request":          {func(r *enrol.FinishRequest) { r.Leaf.CSR = r.Identity.CSR }, evidence.SigInvalid},
		"request damaged":        {func(r *enrol.FinishRequest) { r.Leaf.CSR[len(r.Leaf.CSR)-1] ^= 1 }, evidence.SigInvalid},
		"attest damaged":         {func(r *enrol.FinishRequest) { r.Leaf.Attest[40] ^= 1 }, evidence.SigInvalid},
		"public area longer":     {func(r *enrol.FinishRequest) { r.Leaf.Public = append(r.Leaf.Public, 0) }, evidence.SigInvalid},
		"evidence cut":           {func(r *enrol.FinishRequest) { r.Evidence = r.Evidence[:len(r.Evidence)/2] }, evidence.Malformed},
		"evidence of a stranger": {func(r *enrol.FinishRequest) { r.Evidence = []byte{0x80} }, evidence.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			finish := s.begun(t, m, s.code(box, "boardroom"))
			change.f(finish)
			body, err := json.Marshal(finish)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest("POST", "/v1/enrol/finish", bytes.NewReader(body))
			r.Header.Set("Content-Type", mediaJSON)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			var p problemBody
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Code != change.code {
				t.Errorf("status %d: %s; want code %s", w.Code, w.Body, change.code)
			}
			// Nothing of it was taken in.
			e, err := s.pending(t, "boardroom")
			if err != nil || e.state != stateBegun {
				t.Errorf("the enrolment is %+v, %v; want begun", e, err)
			}
			if err := s.service.store.update(t.Context(), func(x *txn) error { return x.undo(e) }); err != nil {
				t.Fatal(err)
			}
		})
	}
	if err := m.Abandon(); err != nil {
		t.Fatal(err)
	}
	s.enrol(m, box, "boardroom")
}

func (s *testSite) pending(t *testing.T, room string) (e *enrolment, err error) {
	t.Helper()
	err = s.service.store.update(t.Context(), func(x *txn) (err error) { e, err = x.enrolment("room", room); return err })
	return e, err
}

// begun opens an enrolment and returns the request that would finish it.
func (s *testSite) begun(t *testing.T, m *client.Member, code string) *enrol.FinishRequest {
	t.Helper()
	if err := m.Abandon(); err != nil {
		t.Fatal(err)
	}
	var bodies []recorded
	s.record(t, &bodies, func() {
		_, err := m.Join(t.Context(), client.Ticket{Code: code})
		wantProblem(t, err, codeBusy)
	}, "/v1/enrol/finish")
	if err := m.Abandon(); err != nil {
		t.Fatal(err)
	}
	finish := new(enrol.FinishRequest)
	if err := json.Unmarshal(bodies[len(bodies)-1].body, finish); err != nil {
		t.Fatal(err)
	}
	return finish
}

type recorded struct {
	path string
	body []byte
}

// record runs f while what is posted to enrol is written down, and not passed on
// where the path is one to hold.
func (s *testSite) record(t *testing.T, bodies *[]recorded, f func(), hold ...string) {
	t.Helper()
	var mu sync.Mutex
	pass := func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/v1/enrol/") {
			return true
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		*bodies = append(*bodies, recorded{r.URL.Path, b})
		mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(b))
		if !slices.Contains(hold, r.URL.Path) {
			return true
		}
		(&problem{http.StatusServiceUnavailable, codeBusy, "held back"}).write(w)
		return false
	}
	s.pass.Store(&pass)
	defer s.pass.Store(nil)
	f()
}

// damage returns ways to spoil a JSON object.
func damage(t *testing.T, body []byte) map[string][]byte {
	t.Helper()
	out := map[string][]byte{"empty": nil, "null": []byte("null"), "array": []byte("[]"), "twice": append(bytes.Clone(body), body...), "deep": bytes.Repeat([]byte("["), 900)}
	for i := 0; i < len(body); i += len(body)/40 + 1 {
		out[fmt.Sprint("cut at ", i)] = body[:i]
		flipped := bytes.Clone(body)
		flipped[i] ^= 0x15
		out[fmt.Sprint("flipped at ", i)] = flipped
	}
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		t.Fatal(err)
	}
	for key, value := range object {
		for name, other := range map[string]any{"gone": nil, "number": 1, "empty": "", "object": map[string]any{"a": 1}, "long": strings.Repeat("A", 8000)} {
			object[key] = other
			if name == "gone" {
				delete(object, key)
			}
			b, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			out[key+" "+name] = b
		}
		object[key] = value
	}
	return out
}

// fuzzBody has a route that anyone may use take any body: it must never answer
// with an internal error and never take what changes anything.
func fuzzBody(f *testing.F, path, mediaType string, seeds ...string) {
	s := newTestSite(f, enroltest.NewVendor(f))
	h := s.service.handler()
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", path, bytes.NewReader(body))
		r.Header.Set("Content-Type", mediaType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var p problemBody
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code/100 != 4 || p.Code == codeInternal {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}

func FuzzBegin(f *testing.F) {
	fuzzBody(f, "/v1/enrol/begin", mediaJSON, `{"code":"0123-4567-89AB-CDEF","serial":"IC-1","ek":"AA==","ak":"AA==","srk_name":"AA=="}`, `{"voucher":"0oQ="}`)
}

func FuzzFinish(f *testing.F) {
	fuzzBody(f, "/v1/enrol/finish", mediaJSON, `{"session":"00000000000000000000000000000000","secret":"AA==","identity":{"csr":"AA=="}}`)
}

func FuzzAcknowledge(f *testing.F) {
	fuzzBody(f, "/v1/enrol/acknowledge", mediaJSON, `{"session":"00000000000000000000000000000000","secret":"AA=="}`)
}

func FuzzChallenge(f *testing.F) {
	fuzzBody(f, "/v1/challenge", mediaJSON, `{"device":"boardroom","profile":"leaf"}`)
}

func FuzzEvidence(f *testing.F) {
	fuzzBody(f, "/v1/evidence?session=00000000000000000000000000000000", attest.MediaType, "\x83\x60\x40\x04")
}

// FuzzRenew comes from a stranger with a certificate.
func FuzzRenew(f *testing.F) {
	s := newTestSite(f, enroltest.NewVendor(f))
	h := s.service.handler()
	key := enroltest.NewKey(f)
	peer := &x509.Certificate{RawSubjectPublicKeyInfo: spkiOf(f, &key.PublicKey)}
	f.Add([]byte(`{"identity":"AA==","leaf":"AA==","result":"AA=="}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", "/v1/renew", bytes.NewReader(body))
		r.Header.Set("Content-Type", mediaJSON)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{peer}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var p problemBody
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code/100 != 4 || p.Code == codeInternal {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}

func spkiOf(t testing.TB, key *ecdsa.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// FuzzStaff sends what staff send: a success or a refusal, never an internal
// error, and what is taken was decoded strictly.
func FuzzStaff(f *testing.F) {
	s := newTestSite(f, enroltest.NewVendor(f))
	h := s.service.handler()
	paths := []string{"/v1/codes", "/v1/endorsement-keys", "/v1/reference"}
	for i, seed := range []string{`{"serial":"IC-1","room":"lobby","name":"Lobby"}`, `{"ek":"` + strings.Repeat("ab", 32) + `","note":""}`, `{"document":"AA==","proof":"AA=="}`} {
		f.Add(uint8(i), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		r := httptest.NewRequest("POST", paths[int(which)%len(paths)], bytes.NewReader(body))
		r.Header.Set("Content-Type", mediaJSON)
		r.Header.Set("Authorization", "Bearer "+s.token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code/100 != 4 && w.Code/100 != 2 || w.Code/100 == 2 && !json.Valid(body) {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}
