// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
)

// SystemControl is the box itself. Panels offer a restart and a factory reset
// while System/Serial is published. Errors and context as in [Calls].
type SystemControl interface {
	// SetName names the room: 1 to 64 characters.
	SetName(ctx context.Context, name string) error
	// SetLanguage chooses the language of the panels, by two letters.
	SetLanguage(ctx context.Context, language string) error
	Restart(ctx context.Context) error
	// FactoryReset destroys what the box holds. The server has checked that
	// the serial is the one that the panels show.
	FactoryReset(ctx context.Context, serial string) error
}

// NetworkSettings is how the wired network gets its address.
type NetworkSettings struct {
	Static  bool         // else all comes by DHCP and the rest is empty
	Address netip.Prefix // the box's own, with the length of its network
	Gateway netip.Addr   // in that network or link-local, or not valid: none
	DNS     []netip.Addr // at most 4
}

// NetworkControl is the wired network. Errors and context as in [Calls].
type NetworkControl interface {
	// SetNetwork tries settings. While they have to be confirmed,
	// Network/ConfirmBy says until when; then those before come back.
	SetNetwork(ctx context.Context, s NetworkSettings) error
	// ConfirmNetwork keeps the settings that are tried.
	ConfirmNetwork(ctx context.Context) error
}

// EnrolmentControl joins a site. Errors and context as in [Calls].
type EnrolmentControl interface {
	// StartEnrolment returns once it has begun and Setup/State says so, without
	// the LastError of before; how it goes on shows there and in Enrolment. The
	// invitation is a secret until it is used.
	StartEnrolment(ctx context.Context, invitation string) error
}

// UpdateControl installs releases. Each method returns once the work has begun
// or was refused. Errors and context as in [Calls].
type UpdateControl interface {
	CheckUpdates(ctx context.Context) error
	// DownloadUpdate installs the site's release of that version, one that is
	// offered; older allows one older than what runs. Its restart comes by
	// itself once no call runs.
	DownloadUpdate(ctx context.Context, version string, older bool) error
	// ImportUpdate installs the release of a stick. The id is that of an offer.
	ImportUpdate(ctx context.Context, id string, older bool) error
	// ApplyUpdate restarts into what is installed: at once, or once no call
	// runs.
	ApplyUpdate(ctx context.Context, now bool) error
	// CancelUpdate stops what is being installed, or gives up its restart.
	CancelUpdate(ctx context.Context) error
}

// addFacilities wires the commands of who looks after the room.
func addFacilities(m map[string]command, d Deps, seen *store) {
	plain := func(path string, do func(context.Context, params) error) {
		m["Command/"+path] = func(ctx context.Context, p params) (any, error) { return accepted{}, do(ctx, p) }
	}
	if s := d.System; s != nil {
		plain("System/SetName", func(ctx context.Context, p params) error {
			name := strings.TrimSpace(p.text("Name"))
			if name == "" {
				return &Refusal{Reason: InvalidParams, Detail: "Name must not be empty", Path: "Name"}
			}
			return s.SetName(ctx, name)
		})
		plain("System/SetLanguage", func(ctx context.Context, p params) error { return s.SetLanguage(ctx, p.text("Language")) })
		plain("System/Restart", func(ctx context.Context, _ params) error { return s.Restart(ctx) })
		plain("System/FactoryReset", func(ctx context.Context, p params) error {
			serial := p.text("Serial")
			if serial == "" || serial != seen.text("Status/System/Serial") {
				return &Refusal{Reason: TargetChanged, Detail: "this box has another serial", Path: "Serial"}
			}
			return s.FactoryReset(ctx, serial)
		})
	}
	if n := d.Network; n != nil {
		plain("Network/Set", func(ctx context.Context, p params) error {
			set, refusal := networkSettings(p)
			if refusal != nil {
				return refusal
			}
			return n.SetNetwork(ctx, set)
		})
		plain("Network/Confirm", func(ctx context.Context, _ params) error { return n.ConfirmNetwork(ctx) })
	}
	if e := d.Enrolment; e != nil {
		plain("Enrolment/Start", func(ctx context.Context, p params) error { return e.StartEnrolment(ctx, p.text("Invitation")) })
	}
	if u := d.Updates; u != nil {
		plain("Updates/Check", func(ctx context.Context, _ params) error { return u.CheckUpdates(ctx) })
		plain("Updates/Download", func(ctx context.Context, p params) error {
			if p.text("Version") == "" || !seen.offers("", "Site", p.text("Version")) {
				return Refuse(TargetChanged)
			}
			return u.DownloadUpdate(ctx, p.text("Version"), p.flag("Older"))
		})
		plain("Updates/Import", func(ctx context.Context, p params) error {
			if p.text("Name") == "" || !seen.offers(p.text("Name"), "Stick", "") {
				return Refuse(TargetChanged)
			}
			return u.ImportUpdate(ctx, p.text("Name"), p.flag("Older"))
		})
		plain("Updates/Apply", func(ctx context.Context, p params) error { return u.ApplyUpdate(ctx, p.text("When") == "Now") })
		plain("Updates/Cancel", func(ctx context.Context, _ params) error { return u.CancelUpdate(ctx) })
	}
}

// networkSettings reads the parameters of Network/Set. The refusal names the
// field, so that the page can mark it.
func networkSettings(p params) (NetworkSettings, *Refusal) {
	bad := func(field, detail string) (NetworkSettings, *Refusal) {
		return NetworkSettings{}, &Refusal{Reason: InvalidParams, Detail: field + " " + detail, Path: field}
	}
	if p.text("Method") != "Static" {
		for _, field := range []string{"Address", "Gateway", "Dns"} {
			if _, has := p[field]; has {
				return bad(field, "comes by DHCP")
			}
		}
		return NetworkSettings{}, nil
	}
	s := NetworkSettings{Static: true}
	var err error
	if s.Address, err = netip.ParsePrefix(p.text("Address")); err != nil || !ofHost(s.Address.Addr()) || s.Address.Bits() == 0 {
		return bad("Address", "must be an address with the length of its network, such as 10.0.0.5/24")
	}
	if text := p.text("Gateway"); text != "" {
		s.Gateway, err = netip.ParseAddr(text)
		onLink := s.Address.Contains(s.Gateway) || (s.Address.Addr().Is6() && s.Gateway.Is6() && s.Gateway.IsLinkLocalUnicast())
		if err != nil || !ofHost(s.Gateway) || !onLink || s.Gateway == s.Address.Addr() {
			return bad("Gateway", "must be another address of the same network")
		}
	}
	for _, text := range p.list("Dns") {
		addr, err := netip.ParseAddr(text)
		if err != nil || !ofHost(addr) {
			return bad("Dns", "must be addresses")
		}
		s.DNS = append(s.DNS, addr)
	}
	return s, nil
}

// ofHost reports whether one host of a network may have the address.
func ofHost(a netip.Addr) bool {
	return a.Zone() == "" && !a.Is4In6() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() &&
		a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// offers reports whether the panels show such an offer. An empty id or version
// is any.
func (s *store) offers(id, source, version string) bool {
	const in = "Status/Updates/Offered/"
	s.mu.RLock()
	defer s.mu.RUnlock()
	is := func(path, want string) bool {
		var got string
		l := s.leaves[path]
		return l != nil && json.Unmarshal(l.raw, &got) == nil && got == want
	}
	for path := range s.leaves {
		at, ok := strings.CutSuffix(path, "/Source")
		if !ok || !strings.HasPrefix(path, in) || (id != "" && at != in+id) || !is(path, source) {
			continue
		}
		if version == "" || is(at+"/Version", version) {
			return true
		}
	}
	return false
}
