// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"incamera/secureboot/attest"
	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/enrol/enroltest"
	"incamera/secureboot/evidence"
)

// TestRoutes has for each route a success that needs no room (those with one are
// in the tests of enrolment and verdicts), the refusals, and a body too large.
func TestRoutes(t *testing.T) {
	v := enroltest.NewVendor(t)
	release := v.Release("1.4.0", 7)
	s := newTestSite(t, v)
	h := s.service.handler()
	text := func(x any) string {
		b, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	document := text(enrol.ReferenceDocument{Document: release.Document, Proof: v.Proof(release)})
	stranger := enroltest.NewVendor(t)
	foreign := stranger.Release("1.4.0", 7)
	bundle := string(v.Bundle(v.Release("1.6.0", 8), system(1000)))
	foreignBundle := string(stranger.Bundle(foreign, system(1000)))
	session, secret := strings.Repeat("0", 32), bytes.Repeat([]byte{1}, 32)
	begin := func(change func(*enrol.BeginRequest)) string {
		b := enrol.BeginRequest{Code: "0000-0000-0000-0000", Serial: "IC-1", EK: []byte{1}, AK: []byte{1}, SRKName: make([]byte, 34)}
		change(&b)
		return text(b)
	}
	const js, staff, none = mediaJSON, "staff", ""
	for _, test := range []struct {
		name, request, who, mediaType, body string
		status                              int
		code                                evidence.Code
	}{
		{"begin: wrong code", "POST /v1/enrol/begin", none, js, begin(func(*enrol.BeginRequest) {}), 403, evidence.CodeInvalid},
		{"begin: no code", "POST /v1/enrol/begin", none, js, begin(func(b *enrol.BeginRequest) { b.Code = "" }), 400, evidence.Malformed},
		{"begin: code and voucher", "POST /v1/enrol/begin", none, js, begin(func(b *enrol.BeginRequest) { b.Voucher = []byte{1} }), 400, evidence.Malformed},
		{"begin: voucher of nobody", "POST /v1/enrol/begin", none, js, begin(func(b *enrol.BeginRequest) { b.Code, b.Voucher = "", []byte{1} }), 403, evidence.CodeInvalid},
		{"begin: serial", "POST /v1/enrol/begin", none, js, begin(func(b *enrol.BeginRequest) { b.Serial = "a b" }), 400, evidence.Malformed},
		{"begin: long chain", "POST /v1/enrol/begin", none, js, begin(func(b *enrol.BeginRequest) { b.EKChain = make([][]byte, 5) }), 400, evidence.Malformed},
		{"finish: no such session", "POST /v1/enrol/finish", none, js, text(enrol.FinishRequest{Session: session, Secret: secret}), 404, evidence.NonceUnknown},
		{"finish: short secret", "POST /v1/enrol/finish", none, js, text(enrol.FinishRequest{Session: session, Secret: secret[1:]}), 400, evidence.Malformed},
		{"finish: half a proof", "POST /v1/enrol/finish", none, js, text(enrol.FinishRequest{Session: session, Secret: secret, Evidence: []byte{1}}), 400, evidence.Malformed},
		{"acknowledge: no such session", "POST /v1/enrol/acknowledge", none, js, text(enrol.AckRequest{Session: session, Secret: secret}), 404, evidence.NonceUnknown},
		{"challenge: no such room", "POST /v1/challenge", none, js, `{"device":"nowhere"}`, 404, evidence.AKUnknown},
		{"challenge: id", "POST /v1/challenge", none, js, `{"device":"No Where"}`, 400, evidence.Malformed},
		{"challenge: profile", "POST /v1/challenge", none, js, `{"device":"nowhere","profile":"other"}`, 400, evidence.Malformed},
		{"challenge: unknown member", "POST /v1/challenge", none, js, `{"device":"nowhere","x":1}`, 400, evidence.Malformed},
		{"challenge: two objects", "POST /v1/challenge", none, js, `{"device":"nowhere"}{}`, 400, evidence.Malformed},
		{"challenge: empty", "POST /v1/challenge", none, js, ``, 400, evidence.Malformed},
		{"challenge: media type", "POST /v1/challenge", none, "text/plain", `{"device":"nowhere"}`, 415, codeMediaType},
		{"challenge: no media type", "POST /v1/challenge", none, "", `{"device":"nowhere"}`, 415, codeMediaType},
		{"evidence: no such session", "POST /v1/evidence?session=" + session, none, attest.MediaType, "x", 404, evidence.NonceUnknown},
		{"evidence: no session", "POST /v1/evidence", none, attest.MediaType, "x", 404, evidence.NonceUnknown},
		{"evidence: media type", "POST /v1/evidence", none, js, "{}", 415, codeMediaType},
		{"renew: no certificate", "POST /v1/renew", none, js, "{}", 401, codeUnauthorized},
		{"site", "GET /v1/site", none, "", "", 200, ""},
		{"openapi", "GET /v1/openapi.json", none, "", "", 200, ""},
		{"revocations", "GET /v1/revocations", none, "", "", 200, ""},
		{"checkpoint: none yet", "GET /v1/checkpoint", none, "", "", 404, codeNotFound},
		{"reference: none yet", "GET /v1/reference/1.4.0", none, "", "", 404, codeNotFound},
		{"references: none yet", "GET /v1/reference", none, "", "", 200, ""},
		{"add reference: nobody", "POST /v1/reference", none, js, document, 401, codeUnauthorized},
		{"add reference: other signer", "POST /v1/reference", staff, js, text(enrol.ReferenceDocument{Document: foreign.Document, Proof: v.Proof(release)}), 403, evidence.SigInvalid},
		{"add reference: garbage", "POST /v1/reference", staff, js, text(enrol.ReferenceDocument{Document: []byte{1}, Proof: []byte{1}}), 400, evidence.Malformed},
		{"add reference: other document's proof", "POST /v1/reference", staff, js, text(enrol.ReferenceDocument{Document: v.Release("1.4.1", 7).Document, Proof: v.Proof(release)}), 403, evidence.RefvalUnlogged},
		{"add reference", "POST /v1/reference", staff, js, document, 204, ""},
		{"add reference: again", "POST /v1/reference", staff, js, document, 204, ""},
		{"add reference: another history", "POST /v1/reference", staff, js, text(enrol.ReferenceDocument{Document: release.Document, Proof: v.Proof(release)}), 403, evidence.RefvalUnlogged},
		{"checkpoint", "GET /v1/checkpoint", none, "", "", 200, ""},
		{"reference", "GET /v1/reference/1.4.0", none, "", "", 200, ""},
		{"references", "GET /v1/reference", none, "", "", 200, ""},
		{"revoke reference: nobody", "POST /v1/reference/1.4.0/revoke", none, "", "", 401, codeUnauthorized},
		{"revoke reference: unknown", "POST /v1/reference/9.9.9/revoke", staff, "", "", 404, codeNotFound},
		{"revoke reference", "POST /v1/reference/1.4.0/revoke", staff, "", "", 204, ""},
		{"rooms: nobody", "GET /v1/rooms", none, "", "", 401, codeUnauthorized},
		{"rooms: other token", "GET /v1/rooms", "guess", "", "", 401, codeUnauthorized},
		{"rooms", "GET /v1/rooms", staff, "", "", 200, ""},
		{"admit: nobody", "POST /v1/rooms/nowhere/admit", none, "", "", 401, codeUnauthorized},
		{"admit: unknown", "POST /v1/rooms/nowhere/admit", staff, "", "", 404, codeNotFound},
		{"admit: id", "POST /v1/rooms/No%20Where/admit", staff, "", "", 404, codeNotFound},
		{"revoke: nobody", "POST /v1/rooms/nowhere/revoke", none, "", "", 401, codeUnauthorized},
		{"revoke: unknown", "POST /v1/rooms/nowhere/revoke", staff, "", "", 404, codeNotFound},
		{"code: nobody", "POST /v1/codes", none, js, "{}", 401, codeUnauthorized},
		{"code: name", "POST /v1/codes", staff, js, text(enrol.CodeRequest{Serial: "IC-1", Room: "lobby", Name: "a\u202eb"}), 400, evidence.Malformed},
		{"code", "POST /v1/codes", staff, js, text(enrol.CodeRequest{Serial: "IC-1", Room: "lobby", Name: "Lobby"}), 201, ""},
		{"voucher", "POST /v1/codes", staff, js, text(enrol.CodeRequest{Serial: "IC-1", Room: "lobby", Name: "Lobby", Voucher: true}), 201, ""},
		{"code: address", "POST /v1/codes", staff, js, text(enrol.CodeRequest{Serial: "IC-1", Room: "lobby", Name: "Lobby", Address: "10.0.0.1"}), 400, evidence.Malformed},
		{"directory: nobody", "GET /v1/directory", none, "", "", 401, codeUnauthorized},
		{"directory: other token", "GET /v1/directory", "guess", "", "", 401, codeUnauthorized},
		{"directory", "GET /v1/directory", staff, "", "", 200, ""},
		{"bundles: nobody", "GET /v1/bundles", none, "", "", 401, codeUnauthorized},
		{"bundles: board", "GET /v1/bundles?board=A", staff, "", "", 400, evidence.Malformed},
		{"bundles", "GET /v1/bundles?board=test-board", staff, "", "", 200, ""},
		{"add bundle: nobody", "PUT /v1/bundles", none, enrol.MediaBundle, bundle, 401, codeUnauthorized},
		{"add bundle: media type", "PUT /v1/bundles", staff, js, bundle, 415, codeMediaType},
		{"add bundle: other signer", "PUT /v1/bundles", staff, enrol.MediaBundle, foreignBundle, 403, evidence.SigInvalid},
		{"add bundle", "PUT /v1/bundles", staff, enrol.MediaBundle, bundle, 201, ""},
		{"approve bundle: nobody", "POST /v1/bundles/1.6.0/approve?board=test-board", none, "", "", 401, codeUnauthorized},
		{"approve bundle: unknown", "POST /v1/bundles/9.9.9/approve?board=test-board", staff, "", "", 404, codeNotFound},
		{"approve bundle: other board", "POST /v1/bundles/1.6.0/approve?board=other", staff, "", "", 404, codeNotFound},
		{"approve bundle: no board", "POST /v1/bundles/1.6.0/approve", staff, "", "", 400, evidence.Malformed},
		{"approve bundle: version", "POST /v1/bundles/..%2f1.6.0/approve?board=test-board", staff, "", "", 400, evidence.Malformed},
		{"bundle: not approved", "GET /v1/bundles/1.6.0?board=test-board", staff, "", "", 404, codeNotFound},
		{"approve bundle", "POST /v1/bundles/1.6.0/approve?board=test-board", staff, "", "", 204, ""},
		{"bundle: nobody", "GET /v1/bundles/1.6.0?board=test-board", none, "", "", 401, codeUnauthorized},
		{"bundle: no board", "GET /v1/bundles/1.6.0", staff, "", "", 400, evidence.Malformed},
		{"bundle: unknown", "GET /v1/bundles/9.9.9?board=test-board", staff, "", "", 404, codeNotFound},
		{"bundle", "GET /v1/bundles/1.6.0?board=test-board", staff, "", "", 200, ""},
		{"withdraw bundle: nobody", "POST /v1/bundles/1.6.0/withdraw?board=test-board", none, "", "", 401, codeUnauthorized},
		{"withdraw bundle: unknown", "POST /v1/bundles/9.9.9/withdraw?board=test-board", staff, "", "", 404, codeNotFound},
		{"withdraw bundle", "POST /v1/bundles/1.6.0/withdraw?board=test-board", staff, "", "", 204, ""},
		{"bundle: withdrawn", "GET /v1/bundles/1.6.0?board=test-board", staff, "", "", 404, codeNotFound},
		{"approve EK: nobody", "POST /v1/endorsement-keys", none, js, "{}", 401, codeUnauthorized},
		{"approve EK: hash", "POST /v1/endorsement-keys", staff, js, text(enrol.EKRequest{EK: "AB"}), 400, evidence.Malformed},
		{"approve EK", "POST /v1/endorsement-keys", staff, js, text(enrol.EKRequest{EK: strings.Repeat("ab", 32)}), 204, ""},
		{"audit: nobody", "GET /v1/audit", none, "", "", 401, codeUnauthorized},
		{"audit", "GET /v1/audit", staff, "", "", 200, ""},
		{"other path", "GET /v1/secret", none, "", "", 404, codeNotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "add reference: another history" {
				// The log's operator shows this verifier a log that does not
				// contain what it had shown before.
				for range 3 {
					if _, err := v.Log.Append([]byte("something")); err != nil {
						t.Fatal(err)
					}
				}
				test.body = text(enrol.ReferenceDocument{Document: release.Document, Proof: v.Proof(release)})
			}
			method, path, _ := strings.Cut(test.request, " ")
			r := httptest.NewRequest(method, path, strings.NewReader(test.body))
			if test.mediaType != "" {
				r.Header.Set("Content-Type", test.mediaType)
			}
			switch test.who {
			case staff:
				r.Header.Set("Authorization", "Bearer "+s.token)
			case "guess":
				r.Header.Set("Authorization", "Bearer "+strings.Repeat("0", 40))
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			wantAnswer(t, w, test.status, test.code)
			if strings.Contains(w.Body.String(), s.token) {
				t.Error("the token is in the answer")
			}
		})
	}
}

func wantAnswer(t *testing.T, w *httptest.ResponseRecorder, status int, code evidence.Code) {
	t.Helper()
	if w.Code != status {
		t.Errorf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	if code == "" {
		return
	}
	var p problemBody
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Code != code || p.Status != status || p.Detail == "" ||
		w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("%q: %s; want a problem with code %s", w.Header().Get("Content-Type"), w.Body, code)
	}
}

// TestTooLarge sends each route one byte more than it takes, with the length
// announced and without.
func TestTooLarge(t *testing.T) {
	s := newTestSite(t, enroltest.NewVendor(t))
	h := s.service.handler()
	for _, rt := range routes {
		if rt.mediaType == "" || rt.role == identity {
			continue
		}
		if rt.limit > maxBody {
			continue // TestBundleRefused
		}
		for _, announced := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s announced %v", rt.path, announced), func(t *testing.T) {
				// A text that would be well formed if it ended: a decoder
				// that stops early does not see the end.
				body := append([]byte(`{"serial":"`), bytes.Repeat([]byte("a"), int(rt.limit))...)
				r := httptest.NewRequest(rt.method, rt.path, bytes.NewReader(body))
				if !announced {
					r.ContentLength = -1
				}
				r.Header.Set("Content-Type", rt.mediaType)
				r.Header.Set("Authorization", "Bearer "+s.token)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				wantAnswer(t, w, http.StatusRequestEntityTooLarge, evidence.TooLarge)
			})
		}
	}
}

// TestOtherOrigin has a page in a browser of the site try to act.
func TestOtherOrigin(t *testing.T) {
	s := newTestSite(t, enroltest.NewVendor(t))
	r := httptest.NewRequest("POST", "/v1/rooms/lobby/revoke", nil)
	r.Header.Set("Authorization", "Bearer "+s.token)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	s.service.handler().ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("status %d, want 403", w.Code)
	}
}

// TestStaffCertificate knows a member of staff by the key of a certificate.
func TestStaffCertificate(t *testing.T) {
	s := newTestSite(t, enroltest.NewVendor(t))
	cert := selfSigned(t)
	c := s.client(client.WithCertificate(cert))
	_, err := c.Rooms(t.Context())
	wantProblem(t, err, codeUnauthorized)
	s.edit(func(c *config) {
		c.Staff = append(c.Staff, staffConfig{Name: "second", KeySHA256: hexHash(cert.Leaf.RawSubjectPublicKeyInfo)})
	})
	s.restart()
	if _, err := s.client(client.WithCertificate(cert)).Rooms(t.Context()); err != nil {
		t.Error(err)
	}
	_, err = s.client(client.WithCertificate(selfSigned(t))).Rooms(t.Context())
	wantProblem(t, err, codeUnauthorized)
	_, err = s.client().Rooms(t.Context())
	wantProblem(t, err, codeUnauthorized)
}
