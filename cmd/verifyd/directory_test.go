// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/enrol/enroltest"
	"incamera/secureboot/tpm/tpmtest"
)

// TestDirectory: rooms find one another where staff said that they are, and a
// room that was withdrawn is not found. A certificate names an IP address if the
// site's root may speak of it.
func TestDirectory(t *testing.T) {
	v := enroltest.NewVendor(t)
	release := v.Release("1.4.0", 7)
	_, ten, err := net.ParseCIDR("10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	s := foundSite(t, v, enrol.Site{Name: "Example", Domain: "rooms.example", Networks: []net.IPNet{*ten}})
	s.release(release)
	box := enroltest.NewBox(t, tpmtest.Simulator(t), v, release)
	s.approve(box)
	for _, test := range []struct {
		room, address, want string
		voucher             bool
		named               []string // addresses in the certificate
	}{
		{"boardroom", "", "boardroom.rooms.example:7443", false, nil},
		{"lobby", "10.0.2.15:7443", "10.0.2.15:7443", false, []string{"10.0.2.15"}},
		{"annexe", "192.0.2.7:443", "192.0.2.7:443", false, nil}, // outside the site's networks
		{"attic", "[fd00::1]:7443", "[fd00::1]:7443", false, nil},
		{"cellar", "10.9.9.9:7443", "10.9.9.9:7443", true, []string{"10.9.9.9"}},
		{"garden", "", "garden.rooms.example:7443", true, nil},
	} {
		rsp, err := s.staff().Code(t.Context(), enrol.CodeRequest{Serial: box.Serial, Room: test.room, Name: "Room " + test.room, Address: test.address, Voucher: test.voucher})
		if err != nil {
			t.Fatal(err)
		}
		m := s.member(box)
		if _, err := m.Join(t.Context(), client.Ticket{Code: rsp.Code, Voucher: rsp.Voucher}); !errors.Is(err, client.ErrWaiting) {
			t.Fatal(err)
		}
		c := s.staff()
		if rooms, err := c.Rooms(t.Context()); err != nil || !slices.ContainsFunc(rooms, func(r enrol.Room) bool { return r.ID == test.room && r.Address == test.want }) {
			t.Errorf("%s waits: %+v, %v", test.room, rooms, err)
		}
		if err := c.Admit(t.Context(), test.room); err != nil {
			t.Fatal(err)
		}
		id, err := m.Join(t.Context(), client.Ticket{})
		if err != nil {
			t.Fatal(err)
		}
		// A box is one room at a time, so the directory has this one alone.
		want := []enrol.DirectoryEntry{{ID: test.room, Name: "Room " + test.room, Address: test.want}}
		if got, err := roomClient(t, m, id).Directory(t.Context()); err != nil || !slices.Equal(got, want) {
			t.Errorf("Directory = %+v, %v; want %+v", got, err, want)
		}
		if id, err = m.Renew(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		for chain, want := range map[*[][]byte][]string{&id.TLS: test.named, &id.MLS: nil} {
			cert, err := x509.ParseCertificate((*chain)[0])
			if err != nil {
				t.Fatal(err)
			}
			var named []string
			for _, ip := range cert.IPAddresses {
				named = append(named, ip.String())
			}
			if !slices.Equal(named, want) || !slices.Equal(cert.DNSNames, []string{test.room + ".rooms.example"}) {
				t.Errorf("%s: the certificate names %q and %q, want %q", test.room, cert.DNSNames, named, want)
			}
		}
	}
	if err := s.staff().Revoke(t.Context(), "garden"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.staff().Directory(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("Directory = %+v, %v; want nobody", got, err)
	}
}

// BenchmarkDirectory has 10,000 rooms. The first answer reads them all.
func BenchmarkDirectory(b *testing.B) {
	s := newTestSite(b, enroltest.NewVendor(b))
	err := s.service.store.update(b.Context(), func(x *txn) error {
		for i := range 10_000 {
			id := fmt.Sprintf("room-%05d", i)
			r := record{Room: enrol.Room{ID: id, Name: id, State: enrol.StateEnrolled, Address: id + ".rooms.example:7443"}, Result: make([]byte, 4<<10)}
			text, err := r.encode()
			if err != nil {
				return err
			}
			if _, err := x.exec(`INSERT INTO rooms (id, session, secret, state, identity, ek, record) VALUES (?, '', ?, ?, ?, '', ?)`,
				id, []byte{1}, enrol.StateEnrolled, []byte(id), text); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	c := s.staff()
	began := time.Now()
	for n := 0; b.Loop(); n++ {
		list, err := c.Directory(b.Context())
		if err != nil || len(list) != 10_000 {
			b.Fatalf("%d rooms, %v", len(list), err)
		}
		if n == 0 {
			b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/first")
		}
	}
}

// TestDirectoryBefore: a room that enrolled when there were no addresses is
// found under its DNS name.
func TestDirectoryBefore(t *testing.T) {
	s, box, _ := newBox(t)
	m := s.member(box)
	id := s.enrol(m, box, "boardroom")
	err := s.service.store.update(t.Context(), func(x *txn) error {
		r, err := x.room("boardroom")
		if err != nil {
			return err
		}
		r.Room.Address = ""
		return x.putRoom(r)
	})
	if err != nil {
		t.Fatal(err)
	}
	want := enrol.DirectoryEntry{ID: "boardroom", Name: "Room boardroom", Address: "boardroom.rooms.example:7443"}
	if got, err := roomClient(t, m, id).Directory(t.Context()); err != nil || !slices.Equal(got, []enrol.DirectoryEntry{want}) {
		t.Errorf("Directory = %+v, %v; want %+v", got, err, want)
	}
	if r := s.room(); r.Address != want.Address {
		t.Errorf("staff see %q, want %q", r.Address, want.Address)
	}
}
