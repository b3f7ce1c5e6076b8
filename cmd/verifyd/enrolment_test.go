// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package main

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/evidence"
)

// TestEnrol takes a box from its code to its certificates, to verdicts, and to
// renewed certificates.
func TestEnrol(t *testing.T) {
	s, box, release := newBox(t)
	m := s.member(box)
	id := s.enrol(m, box, "boardroom")

	leaf, err := x509.ParseCertificate(id.MLS[0])
	if err != nil {
		t.Fatal(err)
	}
	if leaf.Subject.CommonName != "Room boardroom" || len(leaf.Subject.Organization) != 1 || leaf.Subject.Organization[0] != "Example" {
		t.Errorf("certificate for %v", leaf.Subject)
	}
	cmw, err := evidence.FromCertificate(leaf)
	if err != nil {
		t.Fatal(err)
	}
	inside, err := evidence.ParseResult(cmw, s.service.result.Public())
	if err != nil {
		t.Fatal(err)
	}
	// The EK was approved by staff and the TPM is a program: a warning.
	if inside.Status != evidence.Warning || !inside.Failed(evidence.HWUnrooted) || inside.Release == nil || inside.Release.Version != "1.4.0" {
		t.Errorf("result in the certificate: %v %+v", inside.Status, inside.Failures)
	}
	if read, err := client.ReadIdentity(m.Path); err != nil || read.Room != "boardroom" {
		t.Errorf("ReadIdentity = %v, %v", read, err)
	}

	first := s.room()
	if r := attestNow(t, m, id); r.Status != evidence.Warning {
		t.Errorf("verdict %v: %+v", r.Status, r.Failures)
	}
	room := s.room()
	if room.State != enrol.StateEnrolled || room.Firmware != "1.4.0" || !room.Released || !room.Since.Equal(first.Since) || !room.Verified.After(first.Verified) {
		t.Errorf("after a verdict: %+v", room)
	}

	renewed, err := m.Renew(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if string(renewed.TLS[0]) == string(id.TLS[0]) || string(renewed.MLS[0]) == string(id.MLS[0]) {
		t.Error("Renew left a certificate as it was")
	}
	box.NewLeaf(release) // as a change of the root does
	m.Room = box.Room()
	if renewed, err = m.Renew(t.Context(), renewed); err != nil {
		t.Fatalf("with another leaf key: %v", err)
	}
	again, err := m.Renew(t.Context(), renewed) // now it is the enrolled one
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.NotAfter(); err != nil {
		t.Error(err)
	}
}

// TestUpdate follows a room to another release and back in time.
func TestUpdate(t *testing.T) {
	s, box, release := newBox(t)
	m := s.member(box)
	id := s.enrol(m, box, "boardroom")
	before := s.room()

	next := s.vendor.Release("1.5.0", 8)
	box.Restart(next)
	m.Room = box.Room()
	// The verifier does not know the release yet.
	if r := attestNow(t, m, id); !r.Failed(evidence.RefvalMissing) || r.Status != evidence.Contraindicated {
		t.Errorf("unknown release: %v %+v", r.Status, r.Failures)
	}
	room := s.room()
	if room.Released || !room.Since.After(before.Since) || len(room.Reasons) == 0 {
		t.Errorf("unknown release: %+v", room)
	}
	if _, err := m.Renew(t.Context(), id); !errors.Is(err, client.ErrRefused) {
		t.Errorf("Renew = %v, want ErrRefused", err)
	}
	s.release(next)
	if r := attestNow(t, m, id); r.Status != evidence.Warning {
		t.Errorf("known release: %v %+v", r.Status, r.Failures)
	}
	if room := s.room(); room.Firmware != "1.5.0" || !room.Released {
		t.Errorf("known release: %+v", room)
	}

	// The site raises its minimum; the room goes back to the old release.
	s.edit(func(c *config) { c.Policy.MinimumRollback = 8 })
	s.restart()
	box.Restart(release)
	m.Room = box.Room()
	if r := attestNow(t, m, id); !r.Failed(evidence.Rollback) || r.Status != evidence.Contraindicated {
		t.Errorf("below the minimum: %v %+v", r.Status, r.Failures)
	}
}

// TestHalfDone cuts an enrolment at each point.
func TestHalfDone(t *testing.T) {
	s, box, _ := newBox(t)
	m := s.member(box)
	code := s.code(box, "boardroom")
	ticket := client.Ticket{Code: code}

	t.Run("begun again", func(t *testing.T) {
		for range 2 { // the box loses its power after begin: the code still serves
			if _, err := m.Join(t.Context(), ticket); !errors.Is(err, client.ErrWaiting) {
				t.Fatalf("Join = %v, want ErrWaiting", err)
			}
			if err := m.Abandon(); err != nil {
				t.Fatal(err)
			}
		}
	})
	if _, err := m.Join(t.Context(), ticket); !errors.Is(err, client.ErrWaiting) {
		t.Fatalf("Join = %v, want ErrWaiting", err)
	}
	t.Run("not acknowledged", func(t *testing.T) {
		if err := s.staff().Admit(t.Context(), "boardroom"); err != nil {
			t.Fatal(err)
		}
		// The verifier issues, and the answer is lost.
		var issued enrol.FinishResponse
		err := s.service.store.update(t.Context(), func(x *txn) error {
			e, err := x.enrolment("room", "boardroom")
			if err != nil {
				return err
			}
			r, err := s.service.issue(x, e, time.Now())
			if err == nil {
				issued = *r
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(m.Path); !errors.Is(err, os.ErrNotExist) {
			t.Error("there is an identity before the end")
		}
		if err := s.service.sweep(t.Context(), time.Now().Add(lifeIssued+time.Minute)); err != nil {
			t.Fatal(err)
		}
		rooms, err := s.staff().Rooms(t.Context())
		if err != nil || len(rooms) != 0 {
			t.Errorf("after the deadline: rooms %v, %v; want none", rooms, err)
		}
		if n := s.revoked(t, issued.Identity[0], issued.Leaf[0]); n != 2 {
			t.Errorf("%d of the 2 certificates are revoked", n)
		}
		// The room asks, is told that there is nothing, undoes its half, and
		// with its code begins again.
		if _, err := m.Join(t.Context(), client.Ticket{}); err == nil {
			t.Error("Join went on with an enrolment that was undone")
		}
		if _, err := os.Stat(m.Path + ".joining"); !errors.Is(err, os.ErrNotExist) {
			t.Error("the room's journal is still there")
		}
		if _, err := m.Join(t.Context(), ticket); !errors.Is(err, client.ErrWaiting) {
			t.Fatalf("Join = %v, want ErrWaiting", err)
		}
	})
	t.Run("answers lost", func(t *testing.T) {
		if err := s.staff().Admit(t.Context(), "boardroom"); err != nil {
			t.Fatal(err)
		}
		// Between the stored certificates and the acknowledgement the room's
		// journal is all there is. Then the acknowledgement comes twice.
		journal, err := os.ReadFile(m.Path + ".joining")
		if err != nil {
			t.Fatal(err)
		}
		id, err := m.Join(t.Context(), client.Ticket{})
		if err != nil {
			t.Fatal(err)
		}
		var stored map[string]any
		if err := json.Unmarshal(journal, &stored); err != nil {
			t.Fatal(err)
		}
		stored["identity"] = id
		if journal, err = json.Marshal(stored); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Remove(m.Path), os.WriteFile(m.Path+".joining", journal, 0o600)); err != nil {
			t.Fatal(err)
		}
		again, err := m.Join(t.Context(), client.Ticket{})
		if err != nil || string(again.MLS[0]) != string(id.MLS[0]) {
			t.Errorf("Join after a cut between acknowledgement and end: %v", err)
		}
		if room := s.room(); room.State != enrol.StateEnrolled {
			t.Errorf("the room is %s", room.State)
		}
	})
	t.Run("one use", func(t *testing.T) {
		_, err := s.member(box).Join(t.Context(), ticket)
		wantProblem(t, err, evidence.CodeInvalid)
	})
}

// revoked counts which certificates the signed list has.
func (s *testSite) revoked(t *testing.T, ders ...[]byte) int {
	t.Helper()
	status, text := s.do(t, "GET", "/v1/revocations", "", "", nil)
	if status != 200 {
		t.Fatalf("status %d: %s", status, text)
	}
	verifier, err := note.NewVerifier(s.service.noteKey)
	if err != nil {
		t.Fatal(err)
	}
	list, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, der := range ders {
		if slices.Contains(strings.Split(list.Text, "\n"), "certificate "+hexHash(der)) {
			n++
		}
	}
	return n
}
