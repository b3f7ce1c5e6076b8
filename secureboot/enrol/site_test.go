// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestIsAddress(t *testing.T) {
	for s, want := range map[string]bool{
		"lobby.rooms.example:7443": true, "10.0.2.15:7443": true, "[fd00::1]:7443": true, "a:1": true, "a:65535": true,
		strings.Repeat("a", 63) + ":1": true, strings.Repeat("a", 64) + ":1": false, strings.Repeat("a.", 127) + "a:1": false,
		"": false, "lobby": false, ":7443": false, "lobby:": false, "lobby:0": false, "lobby:65536": false, "lobby:07443": false, "lobby:+1": false,
		"Lobby:1": false, "-a:1": false, "a-:1": false, "a..b:1": false, "a.:1": false, "a b:1": false, "a_b:1": false, "https://a:1": false, "a:1/": false,
		"fd00::1:7443": false, "[fd00::1]": false, "[FD00::1]:1": false, "[fd00:0::1]:1": false, "[fe80::1%eth0]:1": false, "[10.0.0.1]:1": false,
	} {
		if got := IsAddress(s); got != want {
			t.Errorf("IsAddress(%q) = %v", s, got)
		}
	}
}

// FuzzAddress: what is accepted has one spelling, and can be dialled as it is.
func FuzzAddress(f *testing.F) {
	f.Add("lobby.rooms.example:7443")
	f.Add("[fd00::1]:7443")
	f.Add("[::ffff:10.0.0.1]:1")
	f.Fuzz(func(t *testing.T, s string) {
		if !IsAddress(s) {
			return
		}
		host, port, err := net.SplitHostPort(s)
		if err != nil || net.JoinHostPort(host, port) != s || strings.ToLower(s) != s || len(s) > 253+6 {
			t.Errorf("%q: %q, %q, %v", s, host, port, err)
		}
		if ip, err := netip.ParseAddr(host); err == nil && netip.AddrPortFrom(ip, 1).String() != net.JoinHostPort(host, "1") {
			t.Errorf("%q is spelled %s", host, ip)
		}
	})
}

func TestEntries(t *testing.T) {
	good := BundleEntry{Board: "qemu-arm64/debian", Version: "0.1.0-dev.12", Rollback: 1, Size: 1, SHA256: strings.Repeat("ab", 32)}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*BundleEntry){
		"board":    func(e *BundleEntry) { e.Board = "a b" },
		"no board": func(e *BundleEntry) { e.Board = "" },
		"version":  func(e *BundleEntry) { e.Version = "../1" },
		"hidden":   func(e *BundleEntry) { e.Version = ".1" },
		"long":     func(e *BundleEntry) { e.Version = strings.Repeat("1", 41) },
		"size":     func(e *BundleEntry) { e.Size = 0 },
		"hash":     func(e *BundleEntry) { e.SHA256 = "ab" },
	} {
		e := good
		if change(&e); e.Check() == nil {
			t.Errorf("%s: accepted %+v", name, e)
		}
	}
	for _, e := range []DirectoryEntry{{"A", "A", "a:1"}, {"a", "", "a:1"}, {"a", "A", "a"}, {"a", "A\u202e", "a:1"}} {
		if e.Check() == nil {
			t.Errorf("accepted %+v", e)
		}
	}
}

// TestVoucherAddress: a voucher says where the room will be, as a code does.
func TestVoucherAddress(t *testing.T) {
	a := newAuthority(t, Site{Name: "Example", Domain: "rooms.example"})
	now := time.Now()
	for _, test := range []struct{ asked, want string }{{"", "lobby.rooms.example:7443"}, {"10.0.2.15:443", "10.0.2.15:443"}} {
		b, _, err := a.SignVoucher(CodeRequest{Serial: "IC-1", Room: "lobby", Name: "Lobby", Address: test.asked}, [32]byte{1}, now)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := a.CheckVoucher(b, "IC-1", now); err != nil || v.Address != test.want {
			t.Errorf("%q: voucher for %q, %v; want %q", test.asked, v.Address, err, test.want)
		}
	}
	if _, _, err := a.SignVoucher(CodeRequest{Serial: "IC-1", Room: "lobby", Name: "Lobby", Address: "10.0.2.15"}, [32]byte{1}, now); err == nil {
		t.Error("a voucher for an address without a port")
	}
}
