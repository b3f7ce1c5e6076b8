// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// verifierSays starts a verifier that answers all with h.
func verifierSays(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	web := httptest.NewTLSServer(h)
	t.Cleanup(web.Close)
	c, err := New(web.URL, WithKey(sha256.Sum256(web.Certificate().RawSubjectPublicKeyInfo)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestHostileLists: what a room makes of what a verifier says is bounded and
// well formed.
func TestHostileLists(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	for name, body := range map[string]string{
		"empty":                  "",
		"text":                   "hello",
		"id":                     `{"rooms":[{"id":"../x","name":"A","address":"a:1"}]}`,
		"name":                   `{"rooms":[{"id":"a","name":"","address":"a:1"}]}`,
		"address":                `{"rooms":[{"id":"a","name":"A","address":"a"}]}`,
		"second":                 `{"rooms":[{"id":"a","name":"A","address":"a:1"},{"id":"b","name":"B","address":"b:99999"}]}`,
		"version":                `{"bundles":[{"board":"a","version":"../1","size":1,"sha256":"` + hash + `"}]}`,
		"hash":                   `{"bundles":[{"board":"a","version":"1.0.0","size":1,"sha256":""}]}`,
		"size":                   `{"bundles":[{"board":"a","version":"1.0.0","size":-1,"sha256":"` + hash + `"}]}`,
		"more than can be meant": strings.Repeat(" ", maxAnswer) + `{}`,
	} {
		c := verifierSays(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
		rooms, err := c.Directory(t.Context())
		bundles, err2 := c.Bundles(t.Context(), "")
		if len(rooms)+len(bundles) != 0 || err == nil && err2 == nil {
			t.Errorf("%s: %v, %v; %v, %v", name, rooms, err, bundles, err2)
		}
	}
}

// TestHostileBundle: a bundle that is not whole does not end like one that is.
func TestHostileBundle(t *testing.T) {
	for name, test := range map[string]struct {
		say  http.HandlerFunc
		want error // nil: some error while it is read
	}{
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(make([]byte, 999))
		}, nil},
		"aborted": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, 100_000))
			panic(http.ErrAbortHandler)
		}, nil},
		"a problem":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, ErrUnavailable},
		"part of it":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(206) }, ErrUnavailable},
		"somewhere else": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, ErrUnavailable},
	} {
		c := verifierSays(t, test.say)
		r, err := c.Bundle(t.Context(), "a", "1.0.0")
		if test.want != nil {
			if !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", name, err, test.want)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n, err := io.Copy(io.Discard, r); err == nil {
			t.Errorf("%s: %d bytes, and no error", name, n)
		}
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBundlePath: nothing that a room was told can name another route.
func TestBundlePath(t *testing.T) {
	c := verifierSays(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s|%s|%s", r.Method, r.URL.EscapedPath(), r.URL.Query().Get("board"))
	})
	r, err := c.Bundle(t.Context(), "a/b&c", "../../rooms/x?y")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "GET|/v1/bundles/..%2F..%2Frooms%2Fx%3Fy|a/b&c" {
		t.Errorf("%s, %v", b, err)
	}
}

// TestUploadRefused: a refusal comes before a gigabyte does.
func TestUploadRefused(t *testing.T) {
	c := verifierSays(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"code":"unauthorized","detail":"for staff"}`)
	})
	body := &counter{}
	_, err := c.AddBundle(t.Context(), body)
	if p, ok := errors.AsType[*Problem](err); !ok || p.Code != "unauthorized" || p.Status != 401 {
		t.Errorf("%v, want the problem", err)
	}
	if body.n != 0 {
		t.Errorf("%d bytes were read", body.n)
	}
}

// A counter never ends and counts what is read of it.
type counter struct{ n int }

func (c *counter) Read(p []byte) (int, error) { c.n += len(p); return len(p), nil }

// TestStall: a transfer ends when nothing has moved for a while, however long
// it takes otherwise.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		tr := watch(t.Context())
		defer tr.Close()
		tr.Reader = bytes.NewReader(make([]byte, 100))
		for range 100 {
			time.Sleep(stall - time.Second)
			if _, err := tr.Read(make([]byte, 1)); err != nil || tr.ctx.Err() != nil {
				t.Fatalf("after %v: %v, %v", time.Since(began), err, tr.ctx.Err())
			}
		}
		last := time.Now()
		<-tr.ctx.Done()
		if d := time.Since(last); d != stall || !errors.Is(context.Cause(tr.ctx), errStalled) {
			t.Errorf("ended after %v with %v", d, context.Cause(tr.ctx))
		}
		tr.Reader = failing{}
		if _, err := tr.Read(make([]byte, 1)); !errors.Is(err, errStalled) {
			t.Errorf("Read = %v, want errStalled", err)
		}
	})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, context.Canceled }
