// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

func (b *box) SetName(ctx context.Context, name string) error {
	return b.do(ctx, "name "+name, func(tx *Tx) { tx.Set("System/Name", name) })
}

func (b *box) SetLanguage(ctx context.Context, language string) error {
	return b.do(ctx, "language "+language, func(tx *Tx) { tx.Set("System/Language", language) })
}

func (b *box) Restart(ctx context.Context) error { return b.do(ctx, "restart", func(*Tx) {}) }

func (b *box) FactoryReset(ctx context.Context, serial string) error {
	return b.do(ctx, "reset "+serial, func(*Tx) {})
}

func (b *box) SetNetwork(ctx context.Context, s NetworkSettings) error {
	return b.do(ctx, fmt.Sprintf("network %v %v %v %v", s.Static, s.Address, s.Gateway, s.DNS), func(tx *Tx) {
		n := map[string]any{"Method": "Dhcp", "Current": "10.1.1.7/24"}
		if s.Static {
			n = map[string]any{"Method": "Static", "Address": s.Address.String(), "Dns": s.DNS, "Current": s.Address.String()}
			if s.Gateway.IsValid() {
				n["Gateway"] = s.Gateway.String()
			}
			n["ConfirmBy"] = time.Now().Add(2 * time.Minute)
		}
		tx.Set("Network", n)
	})
}

func (b *box) ConfirmNetwork(ctx context.Context) error {
	return b.do(ctx, "confirm", func(tx *Tx) { tx.Remove("Network/ConfirmBy") })
}

func (b *box) StartEnrolment(ctx context.Context, invitation string) error {
	return b.do(ctx, "enrol "+invitation, func(tx *Tx) { tx.Set("Setup/State", "Enrolling") })
}

func (b *box) CheckUpdates(ctx context.Context) error {
	return b.do(ctx, "check", func(tx *Tx) { tx.Set("Updates/Offered/site", Offer{"1.3.0", 412 << 20, "Site"}) })
}

func (b *box) DownloadUpdate(ctx context.Context, version string, older bool) error {
	return b.do(ctx, fmt.Sprintf("download %s %v", version, older), func(tx *Tx) { receiving(tx, version) })
}

func (b *box) ImportUpdate(ctx context.Context, id string, older bool) error {
	return b.do(ctx, fmt.Sprintf("import %s %v", id, older), func(tx *Tx) { receiving(tx, "1.4.0") })
}

func receiving(tx *Tx, version string) {
	tx.Set("Updates/State", "Receiving")
	tx.Set("Updates/Candidate", version)
	tx.Set("Updates/Progress", 0)
}

func (b *box) ApplyUpdate(ctx context.Context, now bool) error {
	return b.do(ctx, fmt.Sprintf("apply %v", now), func(tx *Tx) { tx.Set("Updates/State", "Restarting") })
}

func (b *box) CancelUpdate(ctx context.Context) error {
	return b.do(ctx, "cancel", func(tx *Tx) { tx.Set("Updates/State", "Idle") })
}

// TestRoleNames checks what Hello says of a set of roles.
func TestRoleNames(t *testing.T) {
	for role, want := range map[Role]string{
		RoleNone: "None", RoleGuest: "Guest", RolePanel | RoleGuest: "Panel", RolePanel | RoleFacilities: "Facilities",
		RoleSecurity: "Security", RoleSecurity | RoleFacilities | RolePanel: "Facilities+Security",
	} {
		if got := role.String(); got != want {
			t.Errorf("role %d is %q, want %q", role, got, want)
		}
	}
	both := RoleFacilities | RoleSecurity
	if !both.includes(RoleFacilities) || !both.includes(RoleSecurity) || !both.includes(RolePanel) || RolePanel.includes(RoleFacilities) {
		t.Error("a set does not hold what it is made of")
	}
}

// TestFacilities has every command of who looks after the room.
func TestFacilities(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		p          map[string]any
		reason     Reason
		at         string // the parameter to blame
		done       string // what the room did
	}{
		{"name", "System/SetName", map[string]any{"Name": "  Lyon 3 "}, "", "", "name Lyon 3"},
		{"name of controls", "System/SetName", map[string]any{"Name": "Ly\u202eon\n"}, "", "", "name Lyon"},
		{"no name", "System/SetName", map[string]any{"Name": " "}, InvalidParams, "Name", ""},
		{"language", "System/SetLanguage", map[string]any{"Language": "pl"}, "", "", "language pl"},
		{"language unknown", "System/SetLanguage", map[string]any{"Language": "PL"}, InvalidParams, "Language", ""},
		{"restart", "System/Restart", nil, "", "", "restart"},
		{"reset", "System/FactoryReset", map[string]any{"Serial": "IC-0042"}, "", "", "reset IC-0042"},
		{"reset another box", "System/FactoryReset", map[string]any{"Serial": "IC-0043"}, TargetChanged, "Serial", ""},
		{"reset without a look", "System/FactoryReset", map[string]any{"Serial": ""}, TargetChanged, "Serial", ""},
		{"enrol", "Enrolment/Start", map[string]any{"Invitation": "ic1." + strings.Repeat("A", 296)}, "", "", "enrol ic1." + strings.Repeat("A", 296)},
		{"network by itself", "Network/Set", map[string]any{"Method": "Dhcp"}, "", "", "network false invalid Prefix invalid IP []"},
		{
			"network by hand", "Network/Set",
			map[string]any{"Method": "Static", "Address": "10.0.0.5/24", "Gateway": "10.0.0.1", "Dns": []any{"10.0.0.1", "fd00::1"}},
			"", "",
			"network true 10.0.0.5/24 10.0.0.1 [10.0.0.1 fd00::1]",
		},
		{"network without a way out", "Network/Set", map[string]any{"Method": "Static", "Address": "fd00::5/64"}, "", "", "network true fd00::5/64 invalid IP []"},
		{"network with a link-local way out", "Network/Set", map[string]any{"Method": "Static", "Address": "fd00::5/64", "Gateway": "fe80::1"}, "", "", "network true fd00::5/64 fe80::1 []"},
		{"address and DHCP", "Network/Set", map[string]any{"Method": "Dhcp", "Address": "10.0.0.5/24"}, InvalidParams, "Address", ""},
		{"no address", "Network/Set", map[string]any{"Method": "Static"}, InvalidParams, "Address", ""},
		{"no prefix", "Network/Set", map[string]any{"Method": "Static", "Address": "10.0.0.5"}, InvalidParams, "Address", ""},
		{"the whole world", "Network/Set", map[string]any{"Method": "Static", "Address": "10.0.0.5/0"}, InvalidParams, "Address", ""},
		{"loopback", "Network/Set", map[string]any{"Method": "Static", "Address": "127.0.0.1/8"}, InvalidParams, "Address", ""},
		{"lines of a file", "Network/Set", map[string]any{"Method": "Static", "Address": "10.0.0.5/24\n[Route]"}, InvalidParams, "Address", ""},
		{"gateway elsewhere", "Network/Set", map[string]any{"Method": "Static", "Address": "10.0.0.5/24", "Gateway": "10.0.1.1"}, InvalidParams, "Gateway", ""},
		{"gateway is the room", "Network/Set", map[string]any{"Method": "Static", "Address": "10.0.0.5/24", "Gateway": "10.0.0.5"}, InvalidParams, "Gateway", ""},
		{"gateway by name", "Network/Set", map[string]any{"Method": "Static", "Address": "10.0.0.5/24", "Gateway": "router"}, InvalidParams, "Gateway", ""},
		{"DNS by name", "Network/Set", map[string]any{"Method": "Static", "Address": "10.0.0.5/24", "Dns": []any{"10.0.0.1", "router"}}, InvalidParams, "Dns", ""},
		{"DNS of a zone", "Network/Set", map[string]any{"Method": "Static", "Address": "10.0.0.5/24", "Dns": []any{"fe80::1%eth0"}}, InvalidParams, "Dns", ""},
		{"DNS too many", "Network/Set", map[string]any{"Method": "Static", "Address": "10.0.0.5/24", "Dns": []any{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.6"}}, InvalidParams, "Dns", ""},
		{"network kept", "Network/Confirm", nil, "", "", "confirm"},
		{"check", "Updates/Check", nil, "", "", "check"},
		{"download", "Updates/Download", map[string]any{"Version": "1.2.0"}, "", "", "download 1.2.0 false"},
		{"download an older one", "Updates/Download", map[string]any{"Version": "1.2.0", "Older": true}, "", "", "download 1.2.0 true"},
		{"download what is not offered", "Updates/Download", map[string]any{"Version": "9.0.0"}, TargetChanged, "", ""},
		{"download from the stick", "Updates/Download", map[string]any{"Version": "1.1.0"}, TargetChanged, "", ""},
		{"download nothing", "Updates/Download", map[string]any{"Version": ""}, TargetChanged, "", ""},
		{"import", "Updates/Import", map[string]any{"Name": "stick-1"}, "", "", "import stick-1 false"},
		{"import a path", "Updates/Import", map[string]any{"Name": "../stick-1"}, TargetChanged, "", ""},
		{"import from the site", "Updates/Import", map[string]any{"Name": "site-1"}, TargetChanged, "", ""},
		{"import nothing", "Updates/Import", map[string]any{"Name": ""}, TargetChanged, "", ""},
		{"apply", "Updates/Apply", map[string]any{"When": "Now"}, "", "", "apply true"},
		{"apply later", "Updates/Apply", map[string]any{"When": "Idle"}, "", "", "apply false"},
		{"apply some day", "Updates/Apply", map[string]any{"When": "Tomorrow"}, InvalidParams, "When", ""},
		{"cancel", "Updates/Cancel", nil, "", "", "cancel"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t)
			b.srv.Publish(func(tx *Tx) {
				tx.Set("System/Serial", "IC-0042")
				tx.Set("Updates/Offered/site-1", Offer{"1.2.0", 1 << 28, "Site"})
				tx.Set("Updates/Offered/stick-1", Offer{"1.1.0", 1 << 28, "Stick"})
			})
			for _, role := range []Role{RolePanel, RoleSecurity, RoleFacilities} {
				_, refusal := b.srv.do(t.Context(), client{"table", role}, "Command/"+tt.path, tt.p, "")
				if refusal == nil {
					refusal = &Refusal{}
				}
				reason, at, done := tt.reason, tt.at, tt.done
				if role != RoleFacilities {
					reason, at, done = ForbiddenRole, "", ""
				}
				if got := strings.Join(b.done(), ", "); refusal.Reason != reason || refusal.Path != at || got != done {
					t.Errorf("%s: %v at %q, did %q; want %q at %q, %q", role, refusal, refusal.Path, got, reason, at, done)
				}
			}
		})
	}
}

// TestFacilitiesState publishes all of it as the room does.
func TestFacilitiesState(t *testing.T) {
	b := newBox(t)
	b.srv.Publish(func(tx *Tx) {
		tx.Set("Setup", map[string]string{"State": "Waiting", "Detail": "waits for the site's staff"})
		tx.Set("Enrolment", map[string]string{"State": "Waiting", "Site": "Nord", "Chip": strings.Repeat("a", 64), "LastError": "Unreachable"})
		tx.Set("Network", map[string]any{"Method": "Static", "Address": "10.0.0.5/24", "Gateway": "", "Dns": []string{"10.0.0.1"}, "Current": "", "ConfirmBy": start})
		tx.Set("Updates", map[string]any{
			"Running": "1.2.3", "Candidate": "1.3.0", "State": "Waiting", "Progress": 100, "BlockedBy": "Call", "Floor": 1, "DarkMinutes": 3,
			"Failure": Failure{"1.3.0", "unhealthy", "no picture"}, "Offered": map[string]Offer{"s": {"1.3.0", 1 << 40, "Site"}},
		})
		tx.Event("Updates/RolledBack", map[string]string{"Version": "1.3.0", "Reason": "unhealthy"})
		tx.Event("Network/Reverted", map[string]string{})
	})
	want := map[string]string{
		"Setup":     `{"Detail":"waits for the site's staff","State":"Waiting"}`,
		"Enrolment": `{"Chip":"` + strings.Repeat("a", 64) + `","LastError":"Unreachable","Site":"Nord","State":"Waiting"}`,
		"Network":   `{"Address":"10.0.0.5/24","ConfirmBy":"2026-11-03T09:02:00.000Z","Current":"","Dns":["10.0.0.1"],"Gateway":"","Method":"Static"}`,
		"Updates": `{"BlockedBy":"Call","Candidate":"1.3.0","DarkMinutes":3,"Failure":{"Detail":"no picture","Reason":"unhealthy","Version":"1.3.0"},"Floor":1,` +
			`"Offered":{"s":{"Bytes":1099511627776,"Source":"Site","Version":"1.3.0"}},"Progress":100,"Running":"1.2.3","State":"Waiting"}`,
	}
	for path, text := range want {
		got, refusal := b.srv.store.get("Status/"+path, RolePanel)
		if refusal != nil {
			t.Fatal(refusal)
		}
		if raw, _ := encode(got.Value); string(raw) != text {
			t.Errorf("%s is %s, want %s", path, raw, text)
		}
	}
	if n := len(b.srv.store.ring); n != 2 {
		t.Errorf("%d moments, want the two events", n)
	}
}
