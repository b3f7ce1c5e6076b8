// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/enroltest"
	"incamera/secureboot/evidence"
	"incamera/secureboot/tpm/tpmtest"
)

// TestPostgres runs two verifiers on one PostgreSQL server: a room enrols at one
// and is judged by the other, a nonce serves at one of them, their audit lines
// make one chain, and a bundle that one took the other has, approves and
// withdraws.
func TestPostgres(t *testing.T) {
	dsn := startPostgres(t)
	v := enroltest.NewVendor(t)
	release := v.Release("1.4.0", 7)
	s := newTestSite(t, v, func(c *config) { c.Store = dsn })
	s.release(release)
	box := enroltest.NewBox(t, tpmtest.Simulator(t), v, release)
	m := s.member(box)
	id := s.enrol(m, box, "boardroom")
	if r := attestNow(t, m, id); r.Status != evidence.Warning {
		t.Errorf("verdict %v: %+v", r.Status, r.Failures)
	}
	before := s.room()
	s.restart()
	if after := s.room(); !after.Since.Equal(before.Since) || !after.Verified.Equal(before.Verified) {
		t.Errorf("the room was %+v, and is %+v", before, after)
	}

	second, err := openStore(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	bundle := v.Bundle(v.Release("1.5.0", 8), system(100_000))
	e, err := s.staff().AddBundle(t.Context(), bytes.NewReader(bundle))
	if err != nil {
		t.Fatal(err)
	}
	other := &service{store: second, log: s.service.log, staff: s.config.Staff, bundles: s.service.bundles}
	act := func(path string) {
		t.Helper()
		r := httptest.NewRequest("POST", "/v1/bundles/1.5.0/"+path+"?board="+e.Board, nil)
		r.Header.Set("Authorization", "Bearer "+s.token)
		w := httptest.NewRecorder()
		other.handler().ServeHTTP(w, r)
		wantAnswer(t, w, http.StatusNoContent, "")
	}
	act("approve")
	room := roomClient(t, m, id)
	if got, err := fetch(t, room); err != nil || !bytes.Equal(got, bundle) {
		t.Errorf("%d bytes of %d, %v", len(got), len(bundle), err)
	}
	if err := other.sweep(t.Context(), time.Now().Add(2*orphanAge)); err != nil || len(s.files()) != 1 {
		t.Errorf("files %q, %v", s.files(), err)
	}
	act("withdraw")
	if list, err := room.Bundles(t.Context(), ""); err != nil || len(list) != 0 || len(s.files()) != 0 {
		t.Errorf("Bundles = %v, %v, files %q; want none", list, err, s.files())
	}
	want := []enrol.DirectoryEntry{{ID: "boardroom", Name: "Room boardroom", Address: "boardroom.rooms.example:7443"}}
	if list, err := room.Directory(t.Context()); err != nil || !slices.Equal(list, want) {
		t.Errorf("Directory = %v, %v; want %v", list, err, want)
	}
	challenge, err := s.client().Challenge(t.Context(), enrol.ChallengeRequest{Device: "boardroom"})
	if err != nil {
		t.Fatal(err)
	}
	// The same answer at both, at once: one takes it.
	var wg sync.WaitGroup
	taken := make(chan bool, 16)
	for i := range 16 {
		wg.Go(func() {
			store := s.service.store
			if i%2 == 1 {
				store = second
			}
			err := store.update(context.Background(), func(x *txn) error {
				_, _, err := x.answered(challenge.Session, time.Now())
				return err
			})
			taken <- err == nil
		})
	}
	wg.Wait()
	close(taken)
	n := 0
	for ok := range taken {
		if ok {
			n++
		}
	}
	if n != 1 {
		t.Errorf("a nonce served %d times", n)
	}
	for i := range 40 {
		wg.Go(func() {
			store := s.service.store
			if i%2 == 1 {
				store = second
			}
			if err := store.update(context.Background(), func(x *txn) error { return x.audit(time.Now(), "test", "act", strconv.Itoa(i)) }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var lines []auditLine
	if err := second.update(t.Context(), func(x *txn) (err error) { lines, err = x.auditLines(); return err }); err != nil {
		t.Fatal(err)
	}
	if len(lines) < 40 || int(lines[len(lines)-1].Seq) != len(lines) {
		t.Errorf("%d audit lines, the last with number %d", len(lines), lines[len(lines)-1].Seq)
	}
}

// absent skips a test, and fails it where everything must be there.
func absent(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("REQUIRE_VECTORS") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// startPostgres starts a server of its own on a Unix socket. It ends with the
// test.
func startPostgres(t *testing.T) string {
	t.Helper()
	bin := ""
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(found) > 0 {
		bin = filepath.Dir(found[len(found)-1])
	} else if path, err := exec.LookPath("initdb"); err == nil {
		bin = filepath.Dir(path)
	} else {
		absent(t, "PostgreSQL is not installed: apt-get install postgresql")
	}
	dir, err := os.MkdirTemp("", "pg") //nolint:usetesting // t.TempDir is too long for a socket, and not open to the server
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	data, attr := filepath.Join(dir, "data"), (*syscall.SysProcAttr)(nil)
	if os.Getuid() == 0 { // the server does not run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			absent(t, "PostgreSQL's user is not there: apt-get install postgresql")
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = dir, attr, &log, &log
		return cmd
	}
	if err := command("initdb", "-D", data, "-U", "incamera", "-A", "trust", "--no-sync").Run(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, &log)
	}
	server := command("postgres", "-D", data, "-c", "listen_addresses=", "-c", "unix_socket_directories="+dir)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGINT) // fast shutdown
		_ = server.Wait()                         // says that it was interrupted
	})
	dsn := fmt.Sprintf("postgres://incamera@/postgres?host=%s", url.QueryEscape(dir))
	for give := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		s, err := openStore(t.Context(), dsn)
		if err == nil {
			s.Close()
			return dsn
		}
		if time.Now().After(give) {
			t.Fatalf("%v\n%s", err, &log)
		}
	}
}
