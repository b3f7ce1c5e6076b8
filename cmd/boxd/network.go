// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"incamera/cmd/internal/box"
	"incamera/cmd/internal/boxlink"
	"incamera/cmd/internal/strict"
)

// A network keeps the configuration of the wired interface, and writes it as
// networkd reads it. With DHCP nothing is written: a file of the image has that.
type network struct {
	kept, folder string
	log          *slog.Logger
}

// networkFile goes before the file of the image, 80-in-camera.network.
const networkFile = "70-in-camera.network"

const maxDNS = 3 // as resolvers take

func newNetwork(at places, log *slog.Logger) *network {
	return &network{filepath.Join(at.state, "network.json"), at.network, log}
}

// A setting is a configuration that was checked. Nothing of its text is another's:
// it is written from the values.
type setting struct {
	static  bool
	address netip.Prefix
	gateway netip.Addr // invalid: none
	dns     []netip.Addr
}

// check refuses what no host can have.
func check(n boxlink.Network) (s setting, err error) {
	bad := func(what string) (setting, error) {
		return setting{}, &boxlink.Refusal{Reason: boxlink.Invalid, Detail: what}
	}
	switch {
	case n.Method == boxlink.DHCP && n.Address == "" && n.Gateway == "" && len(n.DNS) == 0:
		return setting{}, nil
	case n.Method == boxlink.DHCP:
		return bad("with DHCP nothing else is set")
	case n.Method != boxlink.Static:
		return bad("method")
	case len(n.DNS) > maxDNS:
		return bad("more than " + strconv.Itoa(maxDNS) + " DNS servers")
	}
	s.static = true
	if s.address, err = netip.ParsePrefix(n.Address); err != nil || !host(s.address) {
		return bad("address")
	}
	if n.Gateway != "" {
		s.gateway, err = netip.ParseAddr(n.Gateway)
		near := s.address.Contains(s.gateway) && host(netip.PrefixFrom(s.gateway, s.address.Bits())) ||
			s.gateway.Is6() && s.address.Addr().Is6() && s.gateway.IsLinkLocalUnicast()
		if err != nil || s.gateway.Zone() != "" || s.gateway == s.address.Addr() || !near {
			return bad("gateway")
		}
	}
	for _, text := range n.DNS {
		server, err := netip.ParseAddr(text)
		if err != nil || !unicast(server) || server.IsLinkLocalUnicast() {
			return bad("DNS server")
		}
		s.dns = append(s.dns, server)
	}
	return s, nil
}

// unicast reports whether an address is one machine's, and not this one's own.
func unicast(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && !a.Is4In6() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() &&
		a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// host reports whether an address can be that of a machine in its network.
func host(p netip.Prefix) bool {
	a := p.Addr()
	if p.Bits() < 1 || !unicast(a) || a.IsLinkLocalUnicast() {
		return false
	}
	if !a.Is4() || p.Bits() >= 31 { // RFC 3021
		return true
	}
	b := a.As4()
	all := uint32(1)<<(32-p.Bits()) - 1
	own := (uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])) & all
	return own != 0 && own != all // the network's own address, and that of all
}

// text writes a setting as systemd.network(5) has it; none for DHCP.
func (s setting) text() string {
	if !s.static {
		return ""
	}
	var b strings.Builder
	b.WriteString("[Match]\nType=ether\nKind=!*\n\n[Network]\nDHCP=no\nIPv6AcceptRA=no\nLLMNR=no\nMulticastDNS=no\nEmitLLDP=no\n")
	fmt.Fprintf(&b, "Address=%s\n", s.address)
	if s.gateway.IsValid() {
		fmt.Fprintf(&b, "Gateway=%s\n", s.gateway)
	}
	for _, server := range s.dns {
		fmt.Fprintf(&b, "DNS=%s\n", server)
	}
	return b.String()
}

// read reads what was kept: DHCP if nothing was.
func (n *network) read() (boxlink.Network, setting, error) {
	none := boxlink.Network{Method: boxlink.DHCP, DNS: []string{}}
	b, err := box.ReadUpTo(n.kept, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return none, setting{}, nil
	}
	var kept boxlink.Network
	if err == nil {
		err = strict.Decode(b, &kept)
	}
	s, invalid := check(kept)
	if err = errors.Join(err, invalid); err != nil {
		return none, setting{}, fmt.Errorf("network: %w", err)
	}
	return kept, s, nil
}

// render writes for networkd what was kept. What cannot be read is DHCP: a box
// that nobody reaches nobody mends.
func (n *network) render() error {
	_, s, err := n.read()
	if err != nil {
		n.log.Error("network configuration damaged", "err", err)
	}
	return n.write(s)
}

func (n *network) write(s setting) error {
	path := filepath.Join(n.folder, networkFile)
	if !s.static {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("network: %w", err)
		}
		return nil
	}
	if err := os.MkdirAll(n.folder, 0o755); err != nil { //nolint:gosec // networkd reads it, and is not root
		return fmt.Errorf("network: %w", err)
	}
	if err := place(path, []byte(s.text()), 0o644); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}

// written is what networkd has been given; empty for DHCP.
func (n *network) written() (string, error) {
	b, err := box.ReadUpTo(filepath.Join(n.folder, networkFile), maxFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("network: %w", err)
	}
	return string(b), nil
}

// keep keeps a configuration, which was checked, for this start and later ones.
func (n *network) keep(c boxlink.Network) error {
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if err := place(n.kept, b, 0o600); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}
