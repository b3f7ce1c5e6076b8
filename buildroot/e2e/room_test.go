// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"incamera/buildroot/e2e/harness"
	"incamera/buildroot/e2e/panel"
)

// panelHost is the address under which a room serves its own page.
const panelHost = "127.0.0.1:7445"

const (
	stepFor   = 90 * time.Second // for what a room does while it is up
	updateFor = 5 * time.Minute  // for an update with its restarts
	siteFor   = 25 * time.Minute // for a box that stays on
)

// A room is a box of a site, on a network.
type room struct {
	*box

	id, name string
	number   int
	site     *site
	network  *harness.Network
	life     *testing.T // for which the box stays on: longer than a step

	on    *boot
	panel *panel.Client
}

// switchOn starts the room's box.
func (r *room) switchOn(t *testing.T, name string, o harness.Options) {
	t.Helper()
	o.Network, o.Number, o.Restarts = r.network, r.number, true
	t.Logf("%s is switched on", r.name)
	r.on = r.bootWith(r.life, name, siteFor, o)
}

// connect opens the panel's API of the room, once it serves that, as the room of
// an id; before it is set up it has none, and any will do.
func (r *room) connect(t *testing.T, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootFor)
	defer cancel()
	if r.panel != nil {
		r.panel.Close()
	}
	for {
		// The connection outlives this wait.
		c, err := panel.Dial(r.on.ctx, r.on.Panel, panelHost)
		if err == nil && (id == "" || c.Room == id) {
			r.panel = c
			return
		}
		if err == nil {
			err = fmt.Errorf("it is the room %q", c.Room)
			c.Close()
		}
		select {
		case <-r.on.Off():
			t.Fatalf("the box went off; before that the panel: %v", err)
		case <-ctx.Done():
			t.Fatalf("the panel did not answer in time: %v", err)
		case <-time.After(askStep):
		}
	}
}

// within is a context for one step of a test.
func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func (r *room) do(t *testing.T, command string, params map[string]any) {
	t.Helper()
	if err := r.panel.Do(within(t, stepFor), command, params); err != nil {
		t.Fatalf("%s: %v", r.name, err)
	}
}

func (r *room) awaitText(t *testing.T, path string, want ...string) {
	t.Helper()
	if err := r.panel.AwaitText(within(t, stepFor), path, want...); err != nil {
		t.Fatalf("%s: %v", r.name, err)
	}
}

func (r *room) await(t *testing.T, limit time.Duration, what string, ok func() bool, show ...string) {
	t.Helper()
	if err := r.panel.Await(within(t, limit), what, ok, show...); err != nil {
		t.Fatalf("%s: %v", r.name, err)
	}
}

// setUpSystem plays the person at the serial console, who notes the recovery key.
func (r *room) setUpSystem(t *testing.T) { t.Helper(); r.setUp(t, r.on) }

// join plays the people who set the room up on its panel, and the staff who admit
// it.
func (r *room) join(t *testing.T) {
	t.Helper()
	r.connect(t, "")
	r.awaitText(t, "Setup/State", "Needed")
	r.do(t, "System/SetLanguage", map[string]any{"Language": "de"})
	r.do(t, "System/SetName", map[string]any{"Name": "Mein Raum"})
	r.await(t, stepFor, "serial number and chip", func() bool {
		return r.panel.Text("System/Serial") != "" && r.panel.Text("Enrolment/Chip") != ""
	}, "System", "Enrolment")
	if got := r.panel.Text("System/Language"); got != "de" {
		t.Errorf("the panel's language is %q", got)
	}
	address := net.JoinHostPort(r.network.Address(r.number), fmt.Sprint(harness.PortRelay))
	invitation := r.site.invite(t, r.network, r.panel.Text("System/Serial"), r.id, r.name, address)
	// The chip is a program, for which no maker vouches: staff list it by hand.
	r.site.do(t, nil, "approve-chip", r.panel.Text("Enrolment/Chip"))
	r.do(t, "Enrolment/Start", map[string]any{"Invitation": invitation})
	r.await(t, stepFor, "an answer of the site", func() bool {
		state := r.panel.Text("Setup/State")
		return state == "Waiting" || state == "Needed" && r.panel.Text("Enrolment/LastError") != ""
	}, "Setup", "Enrolment")
	if r.panel.Text("Setup/State") != "Waiting" {
		t.Fatalf("the site does not take the room: %v %v", r.panel.Value("Setup"), r.panel.Value("Enrolment"))
	}
	r.site.do(t, nil, "approve", r.id)
	r.connect(t, r.id)
	if r.panel.Name != r.name {
		t.Errorf("the room calls itself %q", r.panel.Name)
	}
}

// A verdict is what roomctl verify prints.
type verdict struct {
	Status   string
	Released bool
	Reasons  []string
	Result   struct {
		Release *struct{ Version string }
	}
}

// verify has the site challenge the room, and wants it to have proved a release.
func (r *room) verify(t *testing.T, release string) {
	t.Helper()
	var v verdict
	out, err := r.site.try(within(t, stepFor), "verify", "-room", "https://"+r.network.Reach(r.number, harness.PortAttestation), r.id)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatalf("roomctl verify: %v\n%s", err, out)
	}
	if v.Status != "affirming" || !v.Released || v.Result.Release == nil || v.Result.Release.Version != release {
		t.Fatalf("%s: the verdict is %s\n", r.name, out)
	}
	t.Logf("%s: %s, release %s, %v", r.name, v.Status, release, v.Reasons)
}

// call has one room call the other, and waits until both are connected, each with
// both of them verified, and one security code.
func call(t *testing.T, from, to *room, releases map[string]string) {
	t.Helper()
	for _, pair := range [][2]*room{{from, to}, {to, from}} {
		at, other := pair[0], pair[1]
		at.await(t, stepFor, "the other room in the directory", func() bool { return at.panel.Value("Directory/Rooms/"+other.id) != nil }, "Directory")
	}
	from.do(t, "Call/Start", map[string]any{"Room": to.id})
	to.await(t, stepFor, "the call to ring", func() bool {
		return to.panel.Text("Call/State") == "Ringing" && to.panel.Text("Call/Direction") == "Incoming"
	}, "Call")
	to.do(t, "Call/Answer", map[string]any{"CallId": to.panel.Text("Call/CallId")})
	for _, r := range []*room{from, to} {
		r.await(t, stepFor, "a meeting in which both rooms are verified", func() bool {
			return r.panel.Text("Call/State") == "Connected" && verified(r, releases)
		}, "Call", "Roster", "Lobby")
	}
	from.await(t, stepFor, "one security code", func() bool {
		code := from.panel.Text("Call/SecurityCode/Code")
		return code != "" && code == to.panel.Text("Call/SecurityCode/Code")
	}, "Call/SecurityCode")
}

// verified reports whether the room's roster has exactly the rooms of releases,
// each with the verdict that it runs its release.
func verified(r *room, releases map[string]string) bool {
	members := r.panel.Objects("Roster/Members")
	if len(members) != len(releases) {
		return false
	}
	for _, m := range members {
		name, _ := m["Name"].(string)
		if release, ok := releases[name]; !ok || m["Verdict"] != "affirming" || m["Release"] != release {
			return false
		}
	}
	return true
}

// hangUp leaves at one panel and waits until both rooms are idle.
func hangUp(t *testing.T, leaver, other *room) {
	t.Helper()
	leaver.do(t, "Call/Leave", map[string]any{"CallId": leaver.panel.Text("Call/CallId")})
	other.awaitText(t, "Call/State", "Idle")
}

// bundle is the path of the bundle that the build made of a release.
func (b *box) bundle(release string) string {
	versions := map[string]string{"A": versionA, "B": versionB, "C": versionC}
	return filepath.Join(b.releases, release, "in-camera-"+versions[release]+".bundle")
}
