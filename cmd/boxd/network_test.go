// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"incamera/cmd/internal/boxlink"
)

const header = "[Match]\nType=ether\nKind=!*\n\n[Network]\nDHCP=no\nIPv6AcceptRA=no\nLLMNR=no\nMulticastDNS=no\nEmitLLDP=no\n"

func fixed(address, gateway string, dns ...string) boxlink.Network {
	return boxlink.Network{Method: boxlink.Static, Address: address, Gateway: gateway, DNS: dns}
}

func TestNetwork(t *testing.T) {
	dir := t.TempDir()
	at := places{state: dir, network: filepath.Join(dir, "run/systemd/network")}
	n := newNetwork(at, slog.New(slog.DiscardHandler))
	written := func() string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(at.network, networkFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return string(b)
	}
	set := func(c boxlink.Network) error {
		s, err := check(c)
		return errors.Join(err, n.keep(c), n.write(s))
	}
	if err := n.render(); err != nil || written() != "" {
		t.Errorf("a new box: %q, %v", written(), err)
	}
	for _, c := range []struct {
		set  boxlink.Network
		want string // behind the header
	}{
		{fixed("10.0.0.5/24", "10.0.0.1", "10.0.0.2", "2001:db8::2"), "Address=10.0.0.5/24\nGateway=10.0.0.1\nDNS=10.0.0.2\nDNS=2001:db8::2\n"},
		{fixed("192.0.2.7/31", "192.0.2.6"), "Address=192.0.2.7/31\nGateway=192.0.2.6\n"},
		{fixed("10.0.0.5/8", ""), "Address=10.0.0.5/8\n"},
		{fixed("2001:DB8:0::5/64", "fe80::1"), "Address=2001:db8::5/64\nGateway=fe80::1\n"},
	} {
		if err := set(c.set); err != nil || written() != header+c.want {
			t.Errorf("%+v: %q, %v", c.set, written(), err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "run")); err != nil { // the power went
			t.Fatal(err)
		}
		if err := n.render(); err != nil || written() != header+c.want {
			t.Errorf("%+v: after a start: %q, %v", c.set, written(), err)
		}
		kept, _, err := n.read()
		if err != nil || kept.Address != c.set.Address {
			t.Errorf("%+v: kept %+v, %v", c.set, kept, err)
		}
	}
	info, err := os.Stat(filepath.Join(at.network, networkFile))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("networkd, which is not root, reads a file of mode %v, %v", info.Mode(), err)
	}
	if err := set(boxlink.Network{Method: boxlink.DHCP}); err != nil || written() != "" {
		t.Errorf("DHCP: %q, %v", written(), err)
	}
	// What was kept is damaged: the box must be reached all the same.
	for _, kept := range []string{"", "{", `{"method":"static","address":"10.0.0.5/24","gateway":"","dns":[],"exec":"a"}`, `{"method":"static","address":"0.0.0.0/0","gateway":"","dns":[]}`} {
		if err := os.WriteFile(filepath.Join(dir, "network.json"), []byte(kept), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := n.render(); err != nil || written() != "" {
			t.Errorf("kept %q: %q, %v", kept, written(), err)
		}
		if state, _, err := n.read(); err == nil || state.Method != boxlink.DHCP {
			t.Errorf("kept %q: %+v, %v", kept, state, err)
		}
	}
}

func TestNetworkRefusals(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	restart := func(context.Context) error { return errors.New("networkd was restarted") }
	n := newTrials(newNetwork(places{state: dir, network: dir}, log), restart, time.Hour, log)
	for _, c := range []boxlink.Network{
		{},
		{Method: "ppp"},
		{Method: "dhcp\n[Network]"},
		{Method: boxlink.DHCP, Address: "10.0.0.5/24"},
		{Method: boxlink.DHCP, Gateway: "10.0.0.1"},
		{Method: boxlink.DHCP, DNS: []string{"10.0.0.1"}},
		fixed("", ""),
		fixed("10.0.0.5", ""),
		fixed("10.0.0.5/0", ""),
		fixed("10.0.0.5/33", ""),
		fixed("10.0.0.5/24\nGateway=10.0.0.1", ""),
		fixed("10.0.0.5/24 ", ""),
		fixed("10.0.0.0/24", ""),
		fixed("10.0.0.255/24", ""),
		fixed("127.0.0.1/8", ""),
		fixed("224.0.0.1/24", ""),
		fixed("169.254.0.5/16", ""),
		fixed("255.255.255.255/32", ""),
		fixed("fe80::5/64", ""),
		fixed("::1/64", ""),
		fixed("::ffff:10.0.0.5/120", ""),
		fixed("10.0.0.5/24", "10.0.1.1"),
		fixed("10.0.0.5/24", "10.0.0.5"),
		fixed("10.0.0.5/24", "10.0.0.255"),
		fixed("10.0.0.5/24", "10.0.0.1/24"),
		fixed("10.0.0.5/24", "10.0.0.1\nDNS=10.0.0.9"),
		fixed("10.0.0.5/24", "2001:db8::1"),
		fixed("2001:db8::5/64", "fe80::1%end0"),
		fixed("2001:db8::5/64", "fe80::1%a\nDHCP=yes"),
		fixed("10.0.0.5/24", "", "resolver.example"),
		fixed("10.0.0.5/24", "", "127.0.0.1"),
		fixed("10.0.0.5/24", "", "fe80::1%a\nDHCP=yes"),
		fixed("10.0.0.5/24", "", "2001:db8::1%a\n[Match]"),
		fixed("10.0.0.5/24", "", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"),
	} {
		err := n.set(t.Context(), c)
		if refusal, ok := errors.AsType[*boxlink.Refusal](err); !ok || refusal.Reason != boxlink.Invalid {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("something was written: %v, %v", left, err)
	}
}

// FuzzNetwork: what is accepted has the lines that it may have, each with one
// value that reads the same.
func FuzzNetwork(f *testing.F) {
	f.Add("static", "10.0.0.5/24", "10.0.0.1", "10.0.0.2")
	f.Add("static", "2001:db8::5/64", "fe80::1", "2001:db8::2")
	f.Add("dhcp", "", "", "")
	f.Add("static", "10.0.0.5/24\nDHCP=yes", "fe80::1%a\nb", "::ffff:1.2.3.4")
	f.Fuzz(func(t *testing.T, method, address, gateway, dns string) {
		n := boxlink.Network{Method: method, Address: address, Gateway: gateway}
		if dns != "" {
			n.DNS = []string{dns}
		}
		s, err := check(n)
		if err != nil {
			if !reflect.DeepEqual(s, setting{}) {
				t.Errorf("%+v: refused, and %+v", n, s)
			}
			return
		}
		if s.static != (method == boxlink.Static) || !s.static && s.text() != "" {
			t.Fatalf("%+v: %q", n, s.text())
		}
		if !s.static {
			return
		}
		rest, ok := strings.CutPrefix(s.text(), header)
		if !ok {
			t.Fatalf("%q", s.text())
		}
		for line := range strings.Lines(rest) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			switch name {
			case "Address":
				if p, err := netip.ParsePrefix(value); err != nil || p != netip.MustParsePrefix(address) {
					t.Errorf("%+v: %q", n, line)
				}
			case "Gateway", "DNS":
				if a, err := netip.ParseAddr(value); err != nil || a != netip.MustParseAddr(map[string]string{"Gateway": gateway, "DNS": dns}[name]) {
					t.Errorf("%+v: %q", n, line)
				}
			default:
				t.Errorf("%+v: %q", n, line)
			}
		}
	})
}
