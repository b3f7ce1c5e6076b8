// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/enrol/enroltest"
	"incamera/secureboot/evidence"
	"incamera/secureboot/tpm/tpmtest"
)

// A testSite is a verifier that runs, with a folder of its own, and its staff.
type testSite struct {
	t       testing.TB
	dir     string
	config  config
	token   string
	vendor  *enroltest.Vendor
	address string
	service *service
	stop    func()

	// pass sees each request before the verifier does, and may answer it.
	pass atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
}

// newTestSite founds a site as verifyd init does, and starts its verifier.
func newTestSite(t testing.TB, v *enroltest.Vendor, edits ...func(*config)) *testSite {
	t.Helper()
	return foundSite(t, v, enrol.Site{Name: "Example", Domain: "rooms.example"}, edits...)
}

func foundSite(t testing.TB, v *enroltest.Vendor, site enrol.Site, edits ...func(*config)) *testSite {
	t.Helper()
	s := &testSite{t: t, dir: filepath.Join(t.TempDir(), "site"), vendor: v}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var err error
	s.token, err = found(s.dir, site, "127.0.0.1:0", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "bundle.pem"), v.BundleKey(), 0o600); err != nil {
		t.Fatal(err)
	}
	s.edit(func(c *config) {
		c.BundleKeys, c.LogKey, c.KeyPolicies = "bundle.pem", v.LogKey, []string{enroltest.Hex(v.KeyPolicy())}
	})
	for _, edit := range edits {
		s.edit(edit)
	}
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

// edit changes the configuration file.
func (s *testSite) edit(f func(*config)) {
	s.t.Helper()
	path := filepath.Join(s.dir, "verifier.json")
	b, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	var c config
	if err := json.Unmarshal(b, &c); err != nil {
		s.t.Fatal(err)
	}
	f(&c)
	if b, err = json.Marshal(c); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// start opens everything anew, as a process does. The port stays.
func (s *testSite) start() {
	s.t.Helper()
	var err error
	if s.config, err = readConfig(filepath.Join(s.dir, "verifier.json")); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	store, err := openStore(ctx, s.config.Store)
	if err != nil {
		s.t.Fatal(err)
	}
	service, cert, err := newService(s.config, store, slog.New(slog.DiscardHandler))
	if err != nil {
		s.t.Fatal(err)
	}
	s.service = service
	listen := s.config.Listen
	if s.address != "" {
		listen = s.address
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = ln.Addr().String()
	ended := make(chan error, 1)
	api := service.handler()
	seen := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if pass := s.pass.Load(); pass == nil || (*pass)(w, r) {
			api.ServeHTTP(w, r)
		}
	})
	go func() { ended <- serveAPI(ctx, ln, seen, cert, slog.New(slog.DiscardHandler)) }()
	s.stop = func() {
		s.t.Helper()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			s.t.Errorf("serveAPI: %v", err)
		}
		if err := store.Close(); err != nil {
			s.t.Error(err)
		}
		s.stop = func() {}
	}
}

// restart ends the verifier and starts it again on the same folder.
func (s *testSite) restart() {
	s.t.Helper()
	s.stop()
	s.start()
}

func (s *testSite) base() string { return "https://" + s.address }

// staff is a client with the security role.
func (s *testSite) staff() *client.Client { return s.client(client.WithToken(s.token)) }

func (s *testSite) client(options ...client.Option) *client.Client {
	s.t.Helper()
	c, err := client.New(s.base(), append(options, client.WithKey(s.service.tlsKey))...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// release gives the verifier the reference values of a release.
func (s *testSite) release(r *enroltest.Release) {
	s.t.Helper()
	d := enrol.ReferenceDocument{Document: r.Document, Proof: s.vendor.Proof(r), Consistency: s.consistency()}
	if err := s.staff().AddReference(s.t.Context(), d); err != nil {
		s.t.Fatal(err)
	}
}

// consistency leads from the checkpoint that the verifier keeps to the log of
// today.
func (s *testSite) consistency() [][]byte {
	s.t.Helper()
	var kept []byte
	err := s.service.store.update(s.t.Context(), func(t *txn) (err error) { kept, err = t.meta("checkpoint"); return err })
	if err != nil || len(kept) == 0 {
		return nil
	}
	c, err := evidence.ParseCheckpoint(kept, s.service.trust.Log...)
	if err != nil {
		s.t.Fatal(err)
	}
	proof, err := s.vendor.Log.ProveConsistency(c.Size)
	if err != nil {
		s.t.Fatal(err)
	}
	var hashes [][]byte
	for _, h := range proof {
		hashes = append(hashes, h[:])
	}
	return hashes
}

// code makes an activation code for a box, whose EK it approves.
func (s *testSite) code(b *enroltest.Box, room string) string {
	s.t.Helper()
	s.approve(b)
	rsp, err := s.staff().Code(s.t.Context(), enrol.CodeRequest{Serial: b.Serial, Room: room, Name: "Room " + room})
	if err != nil {
		s.t.Fatal(err)
	}
	return rsp.Code
}

func (s *testSite) approve(b *enroltest.Box) {
	s.t.Helper()
	if err := s.staff().ApproveEK(s.t.Context(), enrol.EKRequest{EK: hexHash(b.EK.Name.Buffer), Note: "from the delivery note"}); err != nil {
		s.t.Fatal(err)
	}
}

// member is a box as a member of this site.
func (s *testSite) member(b *enroltest.Box) *client.Member {
	s.t.Helper()
	return &client.Member{Room: b.Room(), Path: filepath.Join(s.t.TempDir(), "identity.json"), Verifier: s.base(), Key: s.service.tlsKey}
}

// enrol does all that makes a room of a box.
func (s *testSite) enrol(m *client.Member, b *enroltest.Box, room string) *client.Identity {
	s.t.Helper()
	if _, err := m.Join(s.t.Context(), client.Ticket{Code: s.code(b, room)}); !errors.Is(err, client.ErrWaiting) {
		s.t.Fatalf("Join: %v, want ErrWaiting", err)
	}
	if err := s.staff().Admit(s.t.Context(), room); err != nil {
		s.t.Fatal(err)
	}
	id, err := m.Join(s.t.Context(), client.Ticket{})
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// room is what staff see of the boardroom.
func (s *testSite) room() enrol.Room {
	s.t.Helper()
	rooms, err := s.staff().Rooms(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range rooms {
		if r.ID == "boardroom" {
			return r
		}
	}
	s.t.Fatalf("no boardroom in %v", rooms)
	return enrol.Room{}
}

// attest makes fresh evidence and returns the verdict on it.
func attestNow(t testing.TB, m *client.Member, id *client.Identity) *evidence.Result {
	t.Helper()
	result, _, err := m.Attest(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// newBox is a box on a simulator that runs a release which the site knows.
func newBox(t testing.TB) (*testSite, *enroltest.Box, *enroltest.Release) {
	t.Helper()
	v := enroltest.NewVendor(t)
	r := v.Release("1.4.0", 7)
	s := newTestSite(t, v)
	s.release(r)
	return s, enroltest.NewBox(t, tpmtest.Simulator(t), v, r), r
}

// wantProblem checks that an error is a problem with a code.
func wantProblem(t testing.TB, err error, code evidence.Code) {
	t.Helper()
	p, ok := errors.AsType[*client.Problem](err)
	if !ok || p.Code != string(code) {
		t.Errorf("error %v; want a problem with code %s", err, code)
	}
}

// do sends a request as it is and returns status and body.
func (s *testSite) do(t testing.TB, method, path, mediaType, token string, body []byte) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.base()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	web := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	rsp, err := web.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	b, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rsp.StatusCode, b
}
