// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo && !release

package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"incamera/cmd/internal/demo"
	"incamera/device/pairing"
	"incamera/secureboot/enrol"
	"incamera/secureboot/evidence"
	"incamera/secureboot/update"
)

// TestSetUp makes a room of a box through its panel alone: from no configuration
// to a verified meeting with another room of the site. Between any two steps the
// power is cut, and nothing that was entered is lost.
func TestSetUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	trust, rooms, programs := attestedSite(ctx, t, demo.Options{Mode: "attested-only"})
	curie := rooms[1]
	if err := curie.Start(context.WithoutCancel(ctx)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := curie.Stop(); err != nil {
			t.Error(err)
		}
	})
	other, err := curie.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	b := unpack(ctx, t, trust.Dir(), programs)
	again := func() *demo.Controller {
		t.Helper()
		b.cut()
		return b.start(ctx)
	}

	// A person names the box and sets its network.
	p := b.start(ctx)
	show(ctx, t, p, map[string]string{
		"Setup/State": "Needed", "Enrolment/State": "None", "System/Serial": serial, "System/Name": nameless,
		"Network/Method": "Dhcp",
	})
	chip := p.Text("Enrolment/Chip")
	if len(chip) != 64 {
		t.Errorf("the chip is shown as %q", chip)
	}
	if err := p.Do(ctx, "Call/Start", map[string]any{"Room": "curie"}); !because(err, "not_supported_by_hardware") {
		t.Errorf("a box that is no room calls: %v", err)
	}
	tablet := b.pair(ctx)
	if got := b.status(ctx, tablet, "setup"); got["State"] != "Needed" {
		t.Errorf("a paired tablet is shown %v", got)
	}
	try(ctx, t, p, "System/SetLanguage", map[string]any{"Language": "fr"})
	try(ctx, t, p, "System/SetName", map[string]any{"Name": "Salle 3"})
	try(ctx, t, p, "Network/Set", map[string]any{"Method": "Static", "Address": "10.0.0.5/24", "Gateway": "10.0.0.1", "Dns": []string{"10.0.0.2"}})
	if err := p.Do(ctx, "Network/Set", map[string]any{"Method": "Static", "Address": "10.9.9.9/24"}); !because(err, "invalid_params") {
		t.Errorf("a network that boxd does not take: %v", err)
	}
	reverted := p.Watch("Event/Network/Reverted")
	show(ctx, t, p, map[string]string{"Network/Address": "10.0.0.5/24"})
	if p.Text("Network/ConfirmBy") == "" {
		t.Errorf("what is tried is shown as kept: %v", p.Value("Network"))
	}
	b.machine.revert()
	select {
	case <-reverted:
	case <-ctx.Done():
		t.Fatal("nobody is told that the network is as before")
	}
	show(ctx, t, p, map[string]string{"Network/Method": "Dhcp", "Network/ConfirmBy": ""})
	if err := p.Do(ctx, "Network/Confirm", nil); !because(err, "target_changed") {
		t.Errorf("a network confirmed too late: %v", err)
	}
	try(ctx, t, p, "Network/Set", map[string]any{"Method": "Static", "Address": "10.0.0.5/24", "Gateway": "10.0.0.1", "Dns": []string{"10.0.0.2"}})
	try(ctx, t, p, "Network/Confirm", nil)
	show(ctx, t, p, map[string]string{"Network/Address": "10.0.0.5/24", "Network/ConfirmBy": ""})
	p = again()
	show(ctx, t, p, map[string]string{
		"System/Language": "fr", "System/Name": "Salle 3", "Setup/State": "Needed",
		"Network/Method": "Static", "Network/Address": "10.0.0.5/24", "Network/Gateway": "10.0.0.1",
	})

	// Invitations that are none, and one to a site that does not answer.
	if err := p.Do(ctx, "Enrolment/Start", map[string]any{"Invitation": "ic1.nonsense"}); !because(err, "invalid_params") {
		t.Errorf("nonsense as an invitation: %v", err)
	}
	show(ctx, t, p, map[string]string{"Setup/State": "Needed", "Enrolment/LastError": "Malformed"})
	line, err := trust.Invite(ctx, serial, "lyon-3", "Lyon 3", b.relay)
	if err != nil {
		t.Fatal(err)
	}
	invitation, err := enrol.ParseInvitation(line)
	if err != nil {
		t.Fatal(err)
	}
	nowhere, err := enrol.NewInvitation("https://"+free(ctx, t), invitation.Key, invitation.Code)
	if err != nil {
		t.Fatal(err)
	}
	try(ctx, t, p, "Enrolment/Start", map[string]any{"Invitation": nowhere.String()})
	show(ctx, t, p, map[string]string{"Setup/State": "Enrolling", "Enrolment/LastError": "Unreachable"})
	p = again()
	show(ctx, t, p, map[string]string{"Setup/State": "Enrolling", "Enrolment/LastError": "Unreachable"})
	stranger := invitation
	stranger.Key[0] ^= 1
	try(ctx, t, p, "Enrolment/Start", map[string]any{"Invitation": stranger.String()})
	show(ctx, t, p, map[string]string{"Setup/State": "Needed", "Enrolment/LastError": "OtherVerifier"})
	p = again()
	show(ctx, t, p, map[string]string{"Setup/State": "Needed", "Enrolment/LastError": ""})

	// The right one. Staff list the chip by what the panel shows, and admit.
	try(ctx, t, p, "Enrolment/Start", map[string]any{"Invitation": line})
	show(ctx, t, p, map[string]string{"Setup/State": "Waiting", "Enrolment/LastError": "ChipUnknown", "Enrolment/Chip": chip})
	p = again()
	show(ctx, t, p, map[string]string{"Setup/State": "Waiting", "Enrolment/LastError": "ChipUnknown", "Enrolment/Chip": chip})
	if err := trust.List(ctx, chip); err != nil {
		t.Fatal(err)
	}
	show(ctx, t, p, map[string]string{"Setup/State": "Waiting", "Enrolment/State": "Waiting", "Enrolment/LastError": ""})
	p = again()
	show(ctx, t, p, map[string]string{"Setup/State": "Waiting", "Enrolment/LastError": ""})
	if err := trust.Let(ctx, "lyon-3"); err != nil {
		t.Fatal(err)
	}
	for range 6 { // cuts amid what follows, wherever they fall
		time.Sleep(150 * time.Millisecond)
		again()
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(b.room()); err == nil {
			break
		} else if time.Since(began) > patience {
			t.Fatal("the room is not written")
		}
	}

	// The box is a room: of the name that the site gave.
	p = b.ready(ctx)
	show(ctx, t, p, map[string]string{
		"Setup/State": "Done", "Enrolment/State": "Enrolled", "Enrolment/Site": "Maison Demo", "Enrolment/Chip": chip,
		"System/Name": "Lyon 3", "System/Id": "lyon-3", "System/Language": "fr", "System/Serial": serial,
		"Network/Address": "10.0.0.5/24", "Directory/Rooms/curie/Name": "Curie", "Updates/Running": "0.9.0", "Updates/State": "Idle",
	})
	if info, err := os.Stat(b.room()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("room.json: %v, %v", info, err)
	}
	b.nothingLeft(invitation)
	if err := p.Do(ctx, "System/SetName", map[string]any{"Name": "Mine"}); !because(err, "read_only") {
		t.Errorf("a person renames a room of the site: %v", err)
	}
	if got := b.machine.judged(t); !got[0].Healthy {
		t.Errorf("roomd says of its health: %+v", got)
	}
	if got := b.status(ctx, tablet, "system"); got["Name"] != "Lyon 3" {
		t.Errorf("the tablet of the set-up is shown %v", got)
	}
	meet(ctx, t, p, other)
	b.updated(ctx, trust, p)
	p = b.start(ctx)
	show(ctx, t, p, map[string]string{"Updates/Running": "1.0.0", "Updates/State": "Committed"})
	if got := b.machine.judged(t); len(got) != 1 || !got[0].Healthy {
		t.Errorf("on trial roomd says of its health: %+v", got)
	}
	// A room that left the site is not in the directory of the next start.
	if err := trust.Revoke(ctx, curie); err != nil {
		t.Fatal(err)
	}
	b.cut()
	p = b.start(ctx)
	gone := func() bool { return p.Value("Directory/Rooms/curie") == nil }
	if err := p.Await(ctx, "the revoked room to go", gone); err != nil {
		t.Error(err)
	}
	try(ctx, t, p, "System/FactoryReset", map[string]any{"Serial": serial})
	b.machine.mu.Lock()
	if len(b.machine.resets) != 1 || b.machine.resets[0] != serial {
		t.Errorf("factory resets: %v", b.machine.resets)
	}
	b.machine.mu.Unlock()
	if !b.logged(`"msg":"set-up"`, `"state":"Done"`) || !b.logged(`"msg":"healthy"`) {
		t.Error("the log lacks the lines that tests of images wait for")
	}
}

// meet has the first room call the second, and both show both as verified.
func meet(ctx context.Context, t *testing.T, a, b *demo.Controller) {
	t.Helper()
	if err := demo.Ring(ctx, a, b, "curie"); err != nil {
		t.Fatal(err)
	}
	try(ctx, t, b, "Call/Answer", map[string]any{"CallId": b.Text("Call/CallId")})
	if err := demo.Connected(ctx, a, b); err != nil {
		t.Fatal(err)
	}
	if err := demo.Verified(ctx, a, b); err != nil {
		t.Fatal(err)
	}
}

// updated installs a release of the site while the room is in a call, and takes
// the power once boxd was asked for the restart, which is when the call is over.
func (b *newBox) updated(ctx context.Context, trust *demo.Trust, p *demo.Controller) {
	b.t.Helper()
	bundle := bundleOf(b.t, trust.Dir())
	entry, err := trust.Approve(ctx, bytes.NewReader(bundle))
	if err != nil {
		b.t.Fatal(err)
	}
	try(ctx, b.t, p, "Updates/Check", nil)
	show(ctx, b.t, p, map[string]string{"Updates/Offered/site-1.0.0/Source": "Site"})
	try(ctx, b.t, p, "Updates/Download", map[string]any{"Version": entry.Version})
	show(ctx, b.t, p, map[string]string{"Updates/State": "Waiting", "Updates/BlockedBy": "Call", "Updates/Candidate": "1.0.0"})
	b.machine.mu.Lock()
	if b.machine.bundle != sha256.Sum256(bundle) || len(b.machine.restarts) != 0 {
		b.t.Errorf("boxd got another bundle than staff approved, or restarts amid a call: %v", b.machine.restarts)
	}
	b.machine.mu.Unlock()
	started := p.Watch("Event/Updates/Started")
	try(ctx, b.t, p, "Call/Leave", map[string]any{"CallId": p.Text("Call/CallId")})
	select {
	case <-started:
	case <-time.After(patience):
		b.t.Fatal("no restart after the call")
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		b.machine.mu.Lock()
		n := len(b.machine.restarts)
		b.machine.mu.Unlock()
		if n == 1 {
			break
		} else if time.Since(began) > patience {
			b.t.Fatalf("%d restarts; want one", n)
		}
	}
	b.cut()
	b.machine.boot()
}

// bundleOf packs the vendor's release, as a site gets it.
func bundleOf(t *testing.T, vendor string) []byte {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(vendor, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	block, _ := pem.Decode(read("keys/bundle.key"))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key := parsed.(crypto.Signer)
	m := &update.Manifest{
		Policies: read("released/policies.cbor"), References: read("reference/reference.cbor"),
		LogProof: read("reference/reference.proof"), History: read("keys/log.hashes"),
	}
	r, err := evidence.ParseReferences(m.References, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	m.Board, m.Version, m.Rollback, m.VerityRoot = r.Board, r.Version, r.Rollback, r.VerityRoot
	system, uki := bytes.Repeat([]byte("system! "), 1<<17), read("released/uki.efi")
	m.System = update.Part{Size: int64(len(system)), SHA256: sum(system)}
	m.UKI = update.Part{Size: int64(len(uki)), SHA256: sum(uki)}
	var out bytes.Buffer
	if err := update.Write(&out, m, key, bytes.NewReader(system), bytes.NewReader(uki)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func sum(b []byte) evidence.Digest {
	h := sha256.Sum256(b)
	return evidence.Digest(h[:])
}

// pair pairs a tablet by what the box shows to the people before it.
func (b *newBox) pair(ctx context.Context) *pairing.Client {
	b.t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		notice, err := os.ReadFile(filepath.Join(b.dir, "pairing"))
		line, _, _ := strings.Cut(string(notice), "\n")
		if link, ok := strings.CutPrefix(line, "in-camera: pair a panel: "); ok {
			tablet, err := pairing.PairWeb(ctx, link, "Tablet")
			if err != nil {
				b.t.Fatal(err)
			}
			return tablet
		} else if time.Since(began) > patience {
			b.t.Fatalf("the box does not show how to pair: %q, %v", notice, err)
		}
	}
}

// status is what a paired tablet is shown of a branch.
func (b *newBox) status(ctx context.Context, tablet *pairing.Client, branch string) map[string]any {
	b.t.Helper()
	session, err := tablet.Dial(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = session.CloseNow() }() // it was read
	var out map[string]any
	if err := tablet.Get(ctx, "/v1/status/"+branch, &out); err != nil {
		b.t.Fatal(err)
	}
	return out
}

// ready connects once the box serves a room's panel.
func (b *newBox) ready(ctx context.Context) *demo.Controller {
	b.t.Helper()
	for {
		c := b.connect(ctx)
		if c.Text("Setup/State") == done {
			return c
		}
		c.Close()
		select {
		case <-ctx.Done():
			b.t.Fatal("the box does not go on as a room")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// nothingLeft checks that no file or log holds the code of an invitation.
func (b *newBox) nothingLeft(i enrol.Invitation) {
	b.t.Helper()
	secrets := []string{i.String(), i.Code.Text(), strings.ReplaceAll(i.Code.Text(), "-", "")}
	err := filepath.WalkDir(b.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, s := range secrets {
			if strings.Contains(string(text), s) {
				b.t.Errorf("%s still holds the code", path)
			}
		}
		return nil
	})
	if err != nil {
		b.t.Error(err)
	}
}

func try(ctx context.Context, t *testing.T, c *demo.Controller, command string, params map[string]any) {
	t.Helper()
	if err := c.Do(ctx, command, params); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
}

func because(err error, reason string) bool {
	e, ok := errors.AsType[*demo.RPCError](err)
	return ok && e.Data.Reason == reason
}
