// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/enrol/enroltest"
	"incamera/secureboot/evidence"
)

// TestBundleFor: who has which certificate gets what. A room that was revoked
// while its transfer runs does not get the rest.
func TestBundleFor(t *testing.T) {
	s, box, _ := newBox(t)
	bundle := s.vendor.Bundle(s.vendor.Release("1.5.0", 8), system(48<<20))
	s.add(bundle)
	ask := func(c *client.Client, code evidence.Code) {
		t.Helper()
		_, err := c.Directory(t.Context())
		wantProblem(t, err, code)
		_, err = c.Bundles(t.Context(), enroltest.Board)
		wantProblem(t, err, code)
		_, err = c.Bundle(t.Context(), enroltest.Board, "1.5.0")
		wantProblem(t, err, code)
	}
	ask(s.client(), codeUnauthorized)
	ask(s.client(client.WithToken(strings.Repeat("0", 40))), codeUnauthorized)
	ask(s.client(client.WithCertificate(selfSigned(t))), evidence.AKUnknown)

	m := s.member(box)
	id := s.enrol(m, box, "boardroom")
	room := roomClient(t, m, id)
	for _, act := range []func() error{
		func() error { _, err := room.AddBundle(t.Context(), bytes.NewReader(bundle)); return err },
		func() error { return room.ApproveBundle(t.Context(), enroltest.Board, "1.5.0") },
		func() error { return room.WithdrawBundle(t.Context(), enroltest.Board, "1.5.0") },
	} {
		wantProblem(t, act(), codeUnauthorized)
	}

	for _, cut := range []struct {
		name string
		act  func() error
		then evidence.Code
	}{
		{"withdrawn", func() error { return s.staff().WithdrawBundle(t.Context(), enroltest.Board, "1.5.0") }, codeNotFound},
		{"revoked", func() error { return s.staff().Revoke(t.Context(), "boardroom") }, evidence.AKRevoked},
	} {
		t.Run(cut.name, func(t *testing.T) {
			r, err := room.Bundle(t.Context(), enroltest.Board, "1.5.0")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := io.ReadFull(r, make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
			if err := cut.act(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(checkEvery + 100*time.Millisecond)
			if n, err := io.Copy(io.Discard, r); err == nil || n+1<<20 >= int64(len(bundle)) {
				t.Errorf("the other %d bytes came as well: %v", n, err)
			}
			_, err = room.Bundle(t.Context(), enroltest.Board, "1.5.0")
			wantProblem(t, err, cut.then)
			s.add(bundle)
		})
	}
	ask(room, evidence.AKRevoked)
}

// TestBundleTurns: a receiver has two transfers at a time, staff one upload, and
// the folder has an end.
func TestBundleTurns(t *testing.T) {
	v := enroltest.NewVendor(t)
	s := newTestSite(t, v)
	staff := s.staff()
	s.add(v.Bundle(v.Release("1.5.0", 8), system(48<<20))) // more than networks hold
	var open []io.Closer
	for range maxTurns {
		r, err := staff.Bundle(t.Context(), enroltest.Board, "1.5.0")
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, r)
	}
	_, err := staff.Bundle(t.Context(), enroltest.Board, "1.5.0")
	wantProblem(t, err, codeBusy)
	for _, r := range open {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	for give := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		r, err := staff.Bundle(t.Context(), enroltest.Board, "1.5.0")
		if err == nil {
			_ = r.Close()
			break
		}
		if time.Now().After(give) {
			t.Fatalf("no transfer after the others ended: %v", err)
		}
	}

	pipe, w := io.Pipe()
	first := make(chan error, 1)
	next := v.Bundle(v.Release("1.6.0", 9), system(1000))
	go func() { _, err := staff.AddBundle(t.Context(), pipe); first <- err }()
	if _, err := w.Write(next[:len(next)-1]); err != nil { // it is being received
		t.Fatal(err)
	}
	_, err = staff.AddBundle(t.Context(), bytes.NewReader(next))
	wantProblem(t, err, codeBusy)
	if _, err := w.Write(next[len(next)-1:]); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), <-first); err != nil {
		t.Fatal(err)
	}
	for n := 3; n <= maxBundles; n++ {
		s.add(v.Bundle(v.Release(fmt.Sprintf("2.0.%d", n), 10), system(1000)))
	}
	full := v.Bundle(v.Release("3.0.0", 11), system(1000))
	_, err = staff.AddBundle(t.Context(), bytes.NewReader(full))
	wantProblem(t, err, codeConflict)
	if err := staff.WithdrawBundle(t.Context(), enroltest.Board, "1.5.0"); err != nil {
		t.Fatal(err)
	}
	s.add(full)
}

// TestSlowTransfer: a bundle takes longer than other requests may.
func TestSlowTransfer(t *testing.T) {
	v := enroltest.NewVendor(t)
	s := newTestSite(t, v)
	bundle := v.Bundle(v.Release("1.5.0", 8), system(32<<20))
	e := s.add(bundle)
	web := httptest.NewUnstartedServer(s.service.handler())
	const short = 300 * time.Millisecond
	web.Config.ReadTimeout, web.Config.WriteTimeout = short, short
	web.EnableHTTP2 = true
	web.StartTLS()
	defer web.Close()
	for _, http2 := range []bool{false, true} {
		transport := web.Client().Transport.(*http.Transport).Clone()
		if transport.ForceAttemptHTTP2 = http2; !http2 {
			transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
		}
		send := func(method, path, mediaType string, body io.Reader) (*http.Response, error) {
			r, err := http.NewRequestWithContext(t.Context(), method, web.URL+path, body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+s.token)
			r.Header.Set("Content-Type", mediaType)
			return (&http.Client{Transport: transport}).Do(r)
		}
		rsp, err := send("PUT", "/v1/bundles", enrol.MediaBundle, &slowReader{bundle, short})
		if err != nil || rsp.StatusCode != http.StatusCreated {
			t.Fatalf("HTTP/2 %v: upload: %+v, %v", http2, rsp, err)
		}
		_ = rsp.Body.Close()
		if rsp, err = send("GET", "/v1/bundles/1.5.0?board="+e.Board, "", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(rsp.Body, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * short)
		if n, err := io.Copy(io.Discard, rsp.Body); err != nil || n+1000 != int64(len(bundle)) {
			t.Errorf("HTTP/2 %v: download: %d bytes, %v", http2, n, err)
		}
		_ = rsp.Body.Close()
		// Other requests have no more time than before.
		rsp, err = send("POST", "/v1/codes", mediaJSON, &slowReader{[]byte(`{"serial":"IC-1","room":"lobby","name":"Lobby"}`), short})
		if err == nil {
			if rsp.StatusCode/100 == 2 {
				t.Errorf("HTTP/2 %v: a slow request was served", http2)
			}
			_ = rsp.Body.Close()
		}
		transport.CloseIdleConnections()
	}
}

// A slowReader gives half, and the rest much later.
type slowReader struct {
	b    []byte
	wait time.Duration
}

func (r *slowReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b[:(len(r.b)+1)/2])
	if r.b = r.b[n:]; r.wait > 0 {
		time.Sleep(3 * r.wait)
		r.wait = 0
	}
	return n, nil
}
