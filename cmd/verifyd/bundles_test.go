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
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/enrol/enroltest"
	"incamera/secureboot/evidence"
	"incamera/secureboot/update"
)

// system is a system image of n bytes.
func system(n int) []byte { return bytes.Repeat([]byte("system! "), n/8+1)[:n] }

// roomClient is a client that shows a room's certificate.
func roomClient(t testing.TB, m *client.Member, id *client.Identity) *client.Client {
	t.Helper()
	c, err := m.Client(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// fetch reads the bundle of release 1.5.0 to its end.
func fetch(t testing.TB, c *client.Client) ([]byte, error) {
	t.Helper()
	r, err := c.Bundle(t.Context(), enroltest.Board, "1.5.0")
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// files are the names in the folder of bundles.
func (s *testSite) files() []string {
	s.t.Helper()
	entries, err := os.ReadDir(s.config.Bundles)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// add gives the verifier a bundle and approves it.
func (s *testSite) add(bundle []byte) enrol.BundleEntry {
	s.t.Helper()
	e, err := s.staff().AddBundle(s.t.Context(), bytes.NewReader(bundle))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.staff().ApproveBundle(s.t.Context(), e.Board, e.Version); err != nil {
		s.t.Fatal(err)
	}
	return e
}

// TestBundle is the life of a release at a site: added, approved, fetched by a
// room that goes on to be judged by it, withdrawn.
func TestBundle(t *testing.T) {
	s, box, _ := newBox(t)
	m := s.member(box)
	id := s.enrol(m, box, "boardroom")
	room, staff := roomClient(t, m, id), s.staff()
	next := s.vendor.Release("1.5.0", 8)
	bundle := s.vendor.Bundle(next, system(3<<20+17))

	e, err := staff.AddBundle(t.Context(), bytes.NewReader(bundle))
	if err != nil {
		t.Fatal(err)
	}
	if e.Board != enroltest.Board || e.Version != "1.5.0" || e.Rollback != 8 || e.Size != int64(len(bundle)) || e.SHA256 != hexHash(bundle) || e.Approved {
		t.Errorf("added %+v", e)
	}
	// Not approved: staff see it, rooms do not and get nothing, nor do staff.
	list := func(c *client.Client, board string, want ...enrol.BundleEntry) {
		t.Helper()
		got, err := c.Bundles(t.Context(), board)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Bundles = %+v, %v; want %+v", got, err, want)
		}
	}
	list(staff, "", e)
	list(staff, enroltest.Board, e)
	list(staff, "other/board")
	list(room, enroltest.Board)
	for _, c := range []*client.Client{room, staff} {
		_, err = fetch(t, c)
		wantProblem(t, err, codeNotFound)
	}
	for range 2 { // a second time changes nothing
		if err := staff.ApproveBundle(t.Context(), e.Board, e.Version); err != nil {
			t.Fatal(err)
		}
	}
	e.Approved = true
	list(room, enroltest.Board, e)
	list(room, "", e)
	got, err := fetch(t, room)
	if err != nil || !bytes.Equal(got, bundle) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(bundle), err)
	}
	// The room that installs it is known: nobody had to add reference values.
	box.Restart(next)
	m = s.member(box)
	room = roomClient(t, m, id)
	if r := attestNow(t, m, id); r.Release == nil || r.Release.Version != "1.5.0" || r.Status == evidence.Contraindicated {
		t.Errorf("verdict %v on the new release: %+v", r.Status, r.Failures)
	}
	// The same file may come again and is still approved; another may not.
	if again, err := staff.AddBundle(t.Context(), bytes.NewReader(bundle)); err != nil || again != e {
		t.Errorf("again: %+v, %v", again, err)
	}
	list(room, enroltest.Board, e)
	_, err = staff.AddBundle(t.Context(), bytes.NewReader(s.vendor.Bundle(next, system(1<<20))))
	wantProblem(t, err, codeConflict)
	if names := s.files(); !slices.Equal(names, []string{e.SHA256 + ".bundle"}) {
		t.Errorf("files %q", names)
	}
	s.restart()
	if got, err := fetch(t, room); err != nil || !bytes.Equal(got, bundle) {
		t.Errorf("after a restart: %d bytes of %d, %v", len(got), len(bundle), err)
	}

	if err := staff.WithdrawBundle(t.Context(), e.Board, e.Version); err != nil {
		t.Fatal(err)
	}
	list(room, enroltest.Board)
	list(staff, "")
	_, err = fetch(t, room)
	wantProblem(t, err, codeNotFound)
	if names := s.files(); len(names) != 0 {
		t.Errorf("files %q are left", names)
	}
	wantProblem(t, staff.WithdrawBundle(t.Context(), e.Board, e.Version), codeNotFound)
	wantProblem(t, staff.ApproveBundle(t.Context(), e.Board, e.Version), codeNotFound)

	var acts []string
	err = s.service.store.update(t.Context(), func(x *txn) error {
		lines, err := x.auditLines()
		for _, l := range lines {
			if strings.Contains(l.Act, "bundle") {
				acts = append(acts, l.Who+" "+l.Act+" "+l.Subject)
			}
		}
		return err
	})
	is := "test-board 1.5.0"
	want := []string{
		"first add bundle " + is + " " + e.SHA256, "first approve bundle " + is, "first approve bundle " + is,
		"first add bundle " + is + " " + e.SHA256, "first withdraw bundle " + is,
	}
	if err != nil || !slices.Equal(acts, want) {
		t.Errorf("audit log %q, %v; want %q", acts, err, want)
	}
}

// TestBundleRanges fetches parts, as a room does whose network failed.
func TestBundleRanges(t *testing.T) {
	v := enroltest.NewVendor(t)
	s := newTestSite(t, v)
	bundle := v.Bundle(v.Release("1.5.0", 8), system(100_000))
	e := s.add(bundle)
	tag := `"` + e.SHA256 + `"`
	for name, test := range map[string]struct {
		method string
		header http.Header
		status int
		body   []byte
	}{
		"all":            {"GET", nil, 200, bundle},
		"head":           {"HEAD", nil, 200, nil},
		"middle":         {"GET", http.Header{"Range": {"bytes=1000-1999"}, "If-Range": {tag}}, 206, bundle[1000:2000]},
		"rest":           {"GET", http.Header{"Range": {"bytes=50000-"}}, 206, bundle[50000:]},
		"another file":   {"GET", http.Header{"Range": {"bytes=50000-"}, "If-Range": {`"0"`}}, 200, bundle},
		"behind its end": {"GET", http.Header{"Range": {"bytes=9999999-"}}, 416, nil},
		"had already":    {"GET", http.Header{"If-None-Match": {tag}}, 304, nil},
	} {
		r := httptest.NewRequest(test.method, "/v1/bundles/1.5.0?board=test-board", nil)
		for k, v := range test.header {
			r.Header[k] = v
		}
		r.Header.Set("Authorization", "Bearer "+s.token)
		w := httptest.NewRecorder()
		s.service.handler().ServeHTTP(w, r)
		if w.Code != test.status || test.body != nil && !bytes.Equal(w.Body.Bytes(), test.body) || w.Code < 400 && w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: status %d with %d bytes, want %d with %d", name, w.Code, w.Body.Len(), test.status, len(test.body))
		}
		if w.Code < 300 && (w.Header().Get("ETag") != tag || w.Header().Get("Content-Type") != enrol.MediaBundle) {
			t.Errorf("%s: %v", name, w.Header())
		}
	}
}

// TestBundleRefused gives the verifier what it must not keep. Nothing is left of
// it, and a good one is taken afterwards.
func TestBundleRefused(t *testing.T) {
	v, foreign := enroltest.NewVendor(t), enroltest.NewVendor(t)
	// What a developer signed is known by name, and is nothing for rooms.
	s := newTestSite(t, v)
	if err := os.WriteFile(filepath.Join(s.dir, "debug.pem"), foreign.BundleKey(), 0o600); err != nil {
		t.Fatal(err)
	}
	s.edit(func(c *config) { c.DebugKeys = "debug.pem" })
	s.restart()
	next := v.Release("1.5.0", 8)
	image := system(200_000)
	good := v.Bundle(next, image)
	altered := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	manifest := func(change func(*update.Manifest)) []byte {
		m := v.Manifest(next, image)
		change(m)
		return v.Pack(m, image)
	}
	other := v.Release("1.6.0", 9)
	for name, test := range map[string]struct {
		bundle []byte
		code   evidence.Code
	}{
		"empty":                   {nil, evidence.Malformed},
		"not a bundle":            {bytes.Repeat([]byte("x"), 4096), evidence.Malformed},
		"long manifest":           {append([]byte("ICBUNDL1\xff\xff\xff\xff"), good[12:]...), evidence.TooLarge},
		"manifest altered":        {altered(2000), evidence.SigInvalid},
		"system altered":          {altered(len(good) - 100_000), evidence.SigInvalid},
		"last byte altered":       {altered(len(good) - 1), evidence.SigInvalid},
		"cut in the manifest":     {good[:2000], evidence.Malformed},
		"cut in the system":       {good[:len(good)-100_000], evidence.Malformed},
		"a byte short":            {good[:len(good)-1], evidence.Malformed},
		"a byte more":             {append(bytes.Clone(good), 0), evidence.Malformed},
		"signed by a developer":   {foreign.Bundle(foreign.Release("1.5.0", 8), image), evidence.SigInvalid},
		"proof of another":        {manifest(func(m *update.Manifest) { m.LogProof = v.Proof(other) }), evidence.RefvalUnlogged},
		"another release's":       {manifest(func(m *update.Manifest) { m.References = other.Document }), evidence.Malformed},
		"other number":            {manifest(func(m *update.Manifest) { m.Rollback = 9 }), evidence.Malformed},
		"the log is another":      {manifest(func(m *update.Manifest) { m.History = foreign.Log.Marshal() }), evidence.RefvalUnlogged},
		"checkpoint by strangers": {manifest(func(m *update.Manifest) { m.LogProof = foreign.Proof(foreign.Release("1.7.0", 9)) }), evidence.RefvalUnlogged},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.staff().AddBundle(t.Context(), bytes.NewReader(test.bundle))
			wantProblem(t, err, test.code)
			if names := s.files(); len(names) != 0 {
				t.Errorf("files %q are left", names)
			}
			if list, err := s.staff().Bundles(t.Context(), ""); err != nil || len(list) != 0 {
				t.Errorf("Bundles = %v, %v", list, err)
			}
		})
	}
	// More than any bundle has, as it is announced.
	r := httptest.NewRequest("PUT", "/v1/bundles", bytes.NewReader(good))
	r.Header.Set("Authorization", "Bearer "+s.token)
	r.Header.Set("Content-Type", enrol.MediaBundle)
	r.ContentLength = update.MaxBundle + 1
	w := httptest.NewRecorder()
	s.service.handler().ServeHTTP(w, r)
	wantAnswer(t, w, http.StatusRequestEntityTooLarge, evidence.TooLarge)
	s.add(good)
}

// TestBundleLog: bundles bring the log, of which the verifier sees one history.
func TestBundleLog(t *testing.T) {
	v := enroltest.NewVendor(t)
	s := newTestSite(t, v)
	a := v.Release("1.4.0", 7)
	before := v.Bundle(a, system(1000))
	b := v.Release("1.5.0", 8)
	middle := v.Bundle(b, system(1000))
	fork := v.Log // a copy that goes another way
	c := v.Release("1.6.0", 9)
	after := v.Bundle(c, system(1000))

	s.add(middle)
	s.add(before) // an older one: the log of the newer contains it
	s.add(after)
	// Reference values that are newer than any bundle: a bundle between is not
	// shown to be of that log, one that the kept log contains is.
	d := v.Release("1.7.0", 9)
	between := v.Bundle(d, system(1000))
	s.release(v.Release("1.8.0", 9))
	_, err := s.staff().AddBundle(t.Context(), bytes.NewReader(between))
	wantProblem(t, err, evidence.RefvalUnlogged)
	if err := s.staff().WithdrawBundle(t.Context(), enroltest.Board, "1.5.0"); err != nil {
		t.Fatal(err)
	}
	s.add(middle)
	s.add(v.Bundle(d, system(1000))) // with the log as it stands now

	// The vendor shows this site another log than it showed before.
	for _, size := range []string{"shorter", "longer"} {
		v.Log = fork
		if size == "longer" {
			for range 8 {
				if _, err := v.Log.Append([]byte("something")); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, err = s.staff().AddBundle(t.Context(), bytes.NewReader(v.Bundle(v.Release("1.9."+fmt.Sprint(len(size)), 9), system(1000))))
		wantProblem(t, err, evidence.RefvalUnlogged)
	}
}

// TestBundleRevoked: who withdraws a release's reference values takes it from
// rooms as well, and it cannot be approved again.
func TestBundleRevoked(t *testing.T) {
	v := enroltest.NewVendor(t)
	s := newTestSite(t, v)
	e := s.add(v.Bundle(v.Release("1.5.0", 8), system(1000)))
	status, body := s.do(t, "POST", "/v1/reference/1.5.0/revoke", "", s.token, nil)
	if status != http.StatusNoContent {
		t.Fatalf("revoke: %d: %s", status, body)
	}
	_, err := fetch(t, s.staff())
	wantProblem(t, err, codeNotFound)
	wantProblem(t, s.staff().ApproveBundle(t.Context(), e.Board, e.Version), codeConflict)
}

// TestBundleFiles: what a power cut leaves is removed in time, nothing else is,
// and a file that somebody removed comes back with the next upload.
func TestBundleFiles(t *testing.T) {
	v := enroltest.NewVendor(t)
	s := newTestSite(t, v)
	bundle := v.Bundle(v.Release("1.5.0", 8), system(1000))
	e := s.add(bundle)
	old := time.Now().Add(-2 * orphanAge)
	for name, when := range map[string]time.Time{
		".arriving-1": old, ".arriving-2": time.Now(), strings.Repeat("ab", 32) + ".bundle": old, strings.Repeat("cd", 32) + ".bundle": time.Now(),
		"notes.bundle": old, "README": old, e.SHA256 + ".bundle": old,
	} {
		path := filepath.Join(s.config.Bundles, name)
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
		if err := errors.Join(err, f.Close(), os.Chtimes(path, when, when)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.service.sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	want := []string{".arriving-2", e.SHA256 + ".bundle", strings.Repeat("cd", 32) + ".bundle", "notes.bundle", "README"}
	slices.Sort(want)
	if got := s.files(); !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	if err := os.Remove(filepath.Join(s.config.Bundles, e.SHA256+".bundle")); err != nil {
		t.Fatal(err)
	}
	_, err := fetch(t, s.staff())
	wantProblem(t, err, codeInternal)
	s.add(bundle)
	if got, err := fetch(t, s.staff()); err != nil || !bytes.Equal(got, bundle) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
