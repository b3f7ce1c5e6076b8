// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"incamera/device/panel/browsertest"
)

const (
	chip       = "9f3ac4d17be20516a8d94477c01b2e6f5588aa319f3ac4d17be20516a8d94477"
	serial     = "IC-7F3A-0042"
	onward     = `[data-action="setup-next"]`
	langAndOn  = `[data-screen="setup-language"] ` + onward
	nameAndOn  = `[data-screen="setup-name"] ` + onward
	netAndOn   = `[data-screen="setup-network"] ` + onward
	inviteOn   = `[data-screen="setup-invitation"] ` + onward
	openSheet  = `[data-action="updates-open"]`
	longName   = "Salle du Conseil municipal Antoine-Laurent de Lavoisier"
	inSheet    = `document.querySelector('[data-sheet="updates"]')`
	stateThere = inSheet + ` && document.querySelector('[data-field="update-state"][data-state="%s"]')`
)

var inviteLine = "ic1." + strings.Repeat("q7XkR2_b-9", 28)

// act touches or writes, as a step of a scene says.
func act(b *browsertest.Browser, step string) {
	b.T.Helper()
	if rest, ok := strings.CutPrefix(step, "write "); ok {
		field, text, _ := strings.Cut(rest, " ")
		b.Write(`[data-input="`+field+`"]`, text)
		return
	}
	b.Touch(step)
}

// factory is a room that nobody has set up, where the network answers.
func factory(tx *Tx) {
	calm(tx)
	tx.Set("System/Serial", serial)
	tx.Set("Setup/State", "Needed")
	tx.Set("Enrolment", map[string]string{"State": "None", "Chip": chip})
	tx.Set("Network", map[string]any{"Method": "Dhcp", "Current": "10.1.1.7/24"})
}

func settingUp(state string, more func(*Tx)) func(*Tx) {
	return func(tx *Tx) {
		factory(tx)
		tx.Set("Setup", map[string]string{"State": state})
		if more != nil {
			more(tx)
		}
	}
}

var setupScenes = []scene{
	{"setup-language", factory, nil, fmt.Sprintf(onScreen, "setup-language")},
	{"setup-name", factory, []string{langAndOn}, fmt.Sprintf(onScreen, "setup-name")},
	{"setup-network", factory, []string{langAndOn, nameAndOn}, fmt.Sprintf(onScreen, "setup-network")},
	{
		"setup-network-hand", settingUp("Needed", func(tx *Tx) { tx.Set("Network/Current", "") }),
		[]string{langAndOn, nameAndOn, `[data-method="Static"]`, "write address 10.0.0.5", "write gateway 10.0.0.1", "write dns 10.0.0.1, 10.0.0.2", netAndOn},
		`document.querySelector('[data-input="address"][aria-invalid]')`,
	},
	{"setup-invitation", factory, []string{langAndOn, nameAndOn, netAndOn}, fmt.Sprintf(onScreen, "setup-invitation")},
	{"setup-invitation-broken", factory, []string{langAndOn, nameAndOn, netAndOn, "write invitation ic1.half", inviteOn}, `document.querySelector('[data-input="invitation"][aria-invalid]')`},
	{"setup-check", factory, []string{langAndOn, "write name " + longName, nameAndOn, netAndOn, "write invitation " + inviteLine, inviteOn}, fmt.Sprintf(onScreen, "setup-check")},
	{"setup-enrolling", settingUp("Enrolling", func(tx *Tx) { tx.Set("Setup/Detail", "makes its keys in the security chip") }), nil, fmt.Sprintf(onScreen, "setup-enrolling")},
	{"setup-retrying", settingUp("Enrolling", func(tx *Tx) {
		tx.Set("Enrolment/LastError", "Unreachable")
		tx.Set("Setup/Detail", "the site's verifier at verifier.example:8444 does not answer")
	}), nil, fmt.Sprintf(onScreen, "setup-enrolling") + ` && document.querySelector('[data-reason="Unreachable"]')`},
	{
		"setup-chip", settingUp("Waiting", func(tx *Tx) { tx.Set("Enrolment/LastError", "ChipUnknown") }), nil,
		fmt.Sprintf(onScreen, "setup-waiting") + ` && document.querySelector('[data-reason="ChipUnknown"]')`,
	},
	{"setup-waiting", settingUp("Waiting", func(tx *Tx) { tx.Set("Enrolment/Site", "Agence d’Auvergne-Rhône-Alpes") }), nil, fmt.Sprintf(onScreen, "setup-waiting")},
	{"setup-failed", settingUp("Needed", func(tx *Tx) {
		tx.Set("Enrolment/LastError", "OtherVerifier")
		tx.Set("Setup/Detail", "verifier.example:8444 answers with another key than that of the invitation")
	}), nil, fmt.Sprintf(onScreen, "setup-failed")},
}

// updating is an idle room with an updater in a state, and what it says more.
func updating(state string, more map[string]any) func(*Tx) {
	return func(tx *Tx) {
		calm(tx)
		tx.Set("System/Serial", serial)
		updater(tx, state, more)
	}
}

func updater(tx *Tx, state string, more map[string]any) {
	tx.Set("Updates", map[string]any{"Running": "1.2.3", "State": state, "Progress": 0, "BlockedBy": "None", "Floor": 1, "DarkMinutes": 3})
	for path, v := range more {
		tx.Set("Updates/"+path, v)
	}
}

var (
	offered = map[string]any{"Offered": map[string]Offer{
		"site-1.3.0":              {"1.3.0", 412_345_678, "Site"},
		"site-1.2.3":              {"1.2.3", 410_111_222, "Site"},
		"in-camera-1.10.0.bundle": {"1.10.0-rc.1", 1_412_345_678, "Stick"},
	}}
	tooOld = map[string]any{
		"Offered": map[string]Offer{"site-1.1.0": {"1.1.0", 399_000_000, "Site"}},
		"Failure": Failure{"1.1.0", "older", "rollback number 3 is below 4, and nobody asked for an older one"},
	}
	ready = map[string]any{"Candidate": "1.3.0", "Progress": 100}
)

var updateScenes = []scene{
	{"updates-quiet", func(tx *Tx) {
		updating("Waiting", ready)(tx)
		tx.Set("Pairing/Window/Open", false)
	}, nil, fmt.Sprintf(onScreen, "idle") + ` && document.querySelector('` + openSheet + `') && document.querySelector('[data-action="panels-open"]')`},
	{"updates-offers", updating("Idle", offered), []string{openSheet}, inSheet + ` && document.querySelectorAll('.offer').length === 3`},
	{"updates-none", updating("Idle", nil), []string{openSheet}, inSheet + ` && document.querySelector('[data-field="no-offers"]')`},
	{"updates-writing", updating("Writing", map[string]any{"Candidate": "1.3.0", "Progress": 62}), []string{openSheet}, fmt.Sprintf(stateThere, "Writing")},
	{"updates-ready", updating("Waiting", ready), []string{openSheet}, fmt.Sprintf(stateThere, "Waiting") + ` && document.querySelector('[data-action="updates-apply"]')`},
	{"updates-notice", func(tx *Tx) {
		inCall(tx)
		updater(tx, "Waiting", ready)
		tx.Set("Updates/BlockedBy", "Call")
	}, nil, fmt.Sprintf(onScreen, "call") + ` && document.querySelector('[data-field="update-notice"]')`},
	{"updates-in-call", func(tx *Tx) {
		inCall(tx)
		updater(tx, "Waiting", ready)
		tx.Set("Updates/BlockedBy", "Call")
	}, []string{openSheet}, inSheet + ` && document.querySelector('[data-field="blocked"]') && !document.querySelector('[data-action="updates-apply"]')`},
	{"updates-restarting", updating("Restarting", ready), []string{openSheet}, fmt.Sprintf(stateThere, "Restarting")},
	{"updates-trying", updating("Trying", ready), []string{openSheet}, fmt.Sprintf(stateThere, "Trying")},
	{"updates-committed", updating("Committed", nil), []string{openSheet}, fmt.Sprintf(stateThere, "Committed")},
	{
		"updates-back", updating("RolledBack", map[string]any{"Failure": Failure{"1.3.0", "unhealthy", "no picture from the camera within 10 minutes"}}),
		[]string{openSheet},
		fmt.Sprintf(stateThere, "RolledBack") + ` && document.querySelector('[data-reason="unhealthy"]')`,
	},
	{"updates-older", updating("Idle", tooOld), []string{openSheet}, inSheet + ` && document.querySelector('[data-reason="older"]')`},
	{"restart", updating("Idle", nil), []string{openSheet, `[data-action="restart-open"]`}, fmt.Sprintf(onSheet, "restart")},
	{
		"reset", updating("Idle", nil),
		[]string{openSheet, `[data-action="reset-open"]`, "write serial IC-7F3A", `[data-action="reset-confirm"]`},
		fmt.Sprintf(onSheet, "reset") + ` && document.querySelector('[data-input="serial"][aria-invalid]')`,
	},
}

// did waits until the room did exactly what is wanted, and forgets it.
func (b *box) did(t *testing.T, want ...string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		b.mu.Lock()
		got := strings.Join(b.calls, ", ")
		b.mu.Unlock()
		if got == strings.Join(want, ", ") {
			b.done()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the room did %q, want %q", got, want)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// TestSetUp makes a new box a room, as a person does, with the mistakes of one.
func TestSetUp(t *testing.T) {
	b := browsertest.Open(t)
	room := newBox(t)
	room.srv.Publish(factory)
	b.Size(1280, 800)
	b.Run(chromedp.Navigate(room.serve(t).URL + "/?lang=en"))
	b.Touch(`[data-action="setup-language"][data-language="fr"]`)
	room.did(t, "language fr")
	b.Until(`document.documentElement.lang === "fr" && document.querySelector('[data-language="fr"]')?.getAttribute("aria-pressed") === "true"`)
	act(b, langAndOn)
	act(b, "write name   Lyon 3")
	act(b, nameAndOn)
	room.did(t, "name Lyon 3")

	act(b, `[data-method="Static"]`)
	act(b, "write address 10.0.0.5/24")
	act(b, "write gateway 10.9.9.9")
	act(b, "write dns 10.0.0.1, 10.0.0.2")
	act(b, netAndOn)
	b.Until(`document.querySelector('[data-input="gateway"][aria-invalid]') && document.querySelectorAll('[aria-invalid]').length === 1`)
	room.did(t)
	act(b, "write gateway 10.0.0.1")
	act(b, netAndOn)
	room.did(t, "network true 10.0.0.5/24 10.0.0.1 [10.0.0.1 10.0.0.2]")
	b.Until(fmt.Sprintf(onScreen, "setup-trying") + ` && /[1-9]/.test(document.querySelector('[data-field="network-left"]').textContent)`)
	fits := func(name string) {
		t.Helper()
		for _, s := range sizes {
			b.Size(s.width, s.height)
			for _, f := range browsertest.Eval[[]string](b, faults) {
				t.Errorf("%s on %s: %s", name, s.name, f)
			}
			b.Shoot(browsertest.Pictures(t), name+"-"+s.name+"-fr")
		}
		b.Size(1280, 800)
	}
	fits("setup-trying")
	// Nobody keeps it; then somebody sets it anew, and keeps that.
	room.srv.Publish(func(tx *Tx) {
		tx.Set("Network", map[string]any{"Method": "Dhcp", "Current": "10.1.1.7/24"})
		tx.Event("Network/Reverted", map[string]string{})
	})
	b.Until(fmt.Sprintf(onScreen, "setup-invitation") + ` && document.querySelector('[data-field="network-reverted"]')`)
	fits("setup-reverted")
	b.Touch(`[data-action="network-read"]`)
	b.Until(`!document.querySelector('[data-field="network-reverted"]')`)
	b.Touch(`[data-action="setup-back"]`)
	act(b, netAndOn)
	room.did(t, "network true 10.0.0.5/24 10.0.0.1 [10.0.0.1 10.0.0.2]")
	b.Touch(`[data-screen="setup-trying"] [data-action="setup-to-network"]`)
	act(b, "write dns 10.0.0.2")
	act(b, netAndOn)
	room.did(t, "network true 10.0.0.5/24 10.0.0.1 [10.0.0.2]")
	b.Touch(`[data-screen="setup-trying"] [data-action="network-keep"]`)
	room.did(t, "confirm")

	act(b, "write invitation "+inviteLine[:40]+" "+inviteLine[40:]) // as a mail breaks it
	act(b, inviteOn)
	b.Until(`document.querySelector('[data-field="check-room-name"]')?.textContent === "Lyon 3" && document.querySelector('[data-field="check-network"]')?.textContent.includes("10.0.0.5/24")`)
	b.Touch(`[data-action="setup-join"]`)
	room.did(t, "enrol "+inviteLine)
	b.Until(fmt.Sprintf(onScreen, "setup-enrolling"))

	room.srv.Publish(func(tx *Tx) {
		tx.Set("Setup/State", "Needed")
		tx.Set("Enrolment/LastError", "Unreachable")
	})
	b.Until(`document.querySelector('[data-screen="setup-failed"] [data-reason="Unreachable"]')`)
	b.Touch(`[data-action="setup-to-network"]`)
	b.Until(`document.querySelector('[data-input="gateway"]')?.value === "10.0.0.1"`) // nothing is lost
	act(b, `[data-method="Dhcp"]`)
	act(b, netAndOn)
	room.did(t, "network false invalid Prefix invalid IP []")
	act(b, inviteOn)
	b.Touch(`[data-action="setup-join"]`)
	room.did(t, "enrol "+inviteLine)
	b.Until(fmt.Sprintf(onScreen, "setup-enrolling")) // and no word of the failure before

	// While the room asks again and again, a person may change the network.
	b.Until(`document.querySelector('[data-screen="setup-enrolling"] [data-reason="Unreachable"]')`)
	b.Touch(`[data-action="setup-to-network"]`)
	act(b, netAndOn)
	room.did(t, "network false invalid Prefix invalid IP []")
	act(b, inviteOn)
	room.srv.Publish(func(tx *Tx) { tx.Remove("Enrolment/LastError") })
	b.Touch(`[data-action="setup-join"]`)
	room.did(t, "enrol "+inviteLine)
	room.srv.Publish(func(tx *Tx) { tx.Set("Setup/State", "Waiting") })
	b.Until(`document.querySelector('[data-screen="setup-waiting"] [data-field="chip"]')?.textContent === "` + chip + `"`)
	room.srv.Publish(func(tx *Tx) { tx.Set("Setup/State", "Done") })
	b.Until(fmt.Sprintf(onScreen, "idle"))
	for _, c := range b.Heard() {
		t.Error(c)
	}
}

// TestNetworkAway loses the room while it tries another address: the page says
// where to look, until the room is there again.
func TestNetworkAway(t *testing.T) {
	b, folder := browsertest.Open(t), browsertest.Pictures(t)
	room := newBox(t)
	room.srv.Publish(factory)
	var handler atomic.Pointer[http.Handler]
	set := func(h http.Handler) { handler.Store(&h) }
	set(room.srv.Handler())
	hs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*handler.Load()).ServeHTTP(w, r) }))
	defer hs.Close()
	b.Size(1280, 800)
	b.Run(chromedp.Navigate(hs.URL + "/?lang=en"))
	b.Until(fmt.Sprintf(onScreen, "setup-language"))
	room.srv.Publish(func(tx *Tx) {
		tx.Set("Network", map[string]any{"Method": "Static", "Address": "fd00::5/64", "Current": "", "ConfirmBy": time.Now().Add(time.Hour)})
	})
	b.Until(fmt.Sprintf(onScreen, "setup-trying"))
	set(http.NotFoundHandler())
	room.srv.Close()
	b.Until(`document.querySelector('[data-screen="away"] [data-field="away-at"]')?.textContent.includes("https://[fd00::5]")`)
	for _, s := range sizes {
		b.Size(s.width, s.height)
		for _, f := range browsertest.Eval[[]string](b, faults) {
			t.Errorf("%s: %s", s.name, f)
		}
		b.Shoot(folder, "away-"+s.name+"-en")
	}
	other := newBox(t)
	other.srv.Publish(factory)
	t.Cleanup(other.srv.Close)
	set(other.srv.Handler())
	b.Until(fmt.Sprintf(onScreen, "setup-language") + ` && !document.querySelector('.stale')`)

	// A room that was set up says it beside its screen.
	other.srv.Publish(func(tx *Tx) {
		calm(tx)
		tx.Set("Network", map[string]any{"Method": "Dhcp", "ConfirmBy": time.Now().Add(2 * time.Minute)})
	})
	b.Until(fmt.Sprintf(onScreen, "idle") + ` && document.querySelector('[data-field="network-trying"]')`)
	for _, s := range sizes {
		b.Size(s.width, s.height)
		for _, f := range browsertest.Eval[[]string](b, faults) {
			t.Errorf("idle, %s: %s", s.name, f)
		}
		b.Shoot(folder, "network-trying-"+s.name+"-en")
	}
	b.Touch(`[data-action="network-keep"]`)
	other.did(t, "confirm")
	b.Until(`!document.querySelector('[data-field="network-trying"]')`)
}

// TestKeyboard sets a room up and opens the updates without a touch.
func TestKeyboard(t *testing.T) {
	b := browsertest.Open(t)
	room := newBox(t)
	room.srv.Publish(factory)
	b.Size(1280, 800)
	b.Run(chromedp.Navigate(room.serve(t).URL + "/?lang=en"))
	// press goes on by so many stops from the heading of a screen, then types.
	press := func(screen string, stops int, keys string) {
		t.Helper()
		b.Until(fmt.Sprintf(`document.querySelector('[data-screen="%s"]') && document.activeElement?.tagName === "H1"`, screen))
		b.Run(chromedp.KeyEvent(strings.Repeat("\t", stops) + keys))
	}
	press("setup-language", len(languages.Of)+1, "\r")
	press("setup-name", 1, "\r") // the name that is there
	room.did(t, "name Vauban")
	press("setup-network", 4, "\r")
	room.did(t, "network false invalid Prefix invalid IP []")
	press("setup-invitation", 1, inviteLine+"\r")
	press("setup-check", 2, "\r")
	room.did(t, "enrol "+inviteLine)

	room.srv.Publish(updating("Idle", offered))
	b.Until(fmt.Sprintf(onScreen, "idle") + ` && document.activeElement?.tagName === "H1"`)
	b.Run(chromedp.KeyEvent("\t", chromedp.KeyModifiers(chromedp.ModifierShift)), chromedp.KeyEvent("\r")) // it lies before the list
	b.Until(inSheet)
	for i := range 12 { // more stops than the sheet has
		b.Run(chromedp.KeyEvent("\t"))
		if !browsertest.Eval[bool](b, `!!document.activeElement?.closest('[data-sheet="updates"]')`) {
			t.Fatalf("at stop %d the keyboard leaves the sheet for %s", i+1, browsertest.Eval[string](b, `document.activeElement?.outerHTML.slice(0, 200) ?? "nothing"`))
		}
	}
	b.Run(chromedp.KeyEvent("\u001b"))
	b.Until(`!document.querySelector('.sheet') && document.activeElement?.dataset.action === "updates-open"`)
}

// TestSetUpElsewhere has a panel that may not look after the room.
func TestSetUpElsewhere(t *testing.T) {
	b := browsertest.Open(t)
	room := newBox(t)
	room.srv.role = RolePanel
	room.srv.Publish(factory)
	b.Size(390, 844)
	b.Run(chromedp.Navigate(room.serve(t).URL + "/?lang=en"))
	b.Until(fmt.Sprintf(onScreen, "setup-elsewhere"))
	b.Shoot(browsertest.Pictures(t), "setup-elsewhere-phone-en")
	room.srv.Publish(updating("Idle", offered))
	b.Until(fmt.Sprintf(onScreen, "idle"))
	if browsertest.Eval[bool](b, `document.querySelector('`+openSheet+`') !== null`) {
		t.Error("a panel may open the updates")
	}
}

// TestUpdate installs from site and stick, cancels, goes back, restarts and
// destroys.
func TestUpdate(t *testing.T) {
	b := browsertest.Open(t)
	room := newBox(t)
	room.srv.Publish(updating("Idle", offered))
	b.Size(1280, 800)
	b.Run(chromedp.Navigate(room.serve(t).URL + "/?lang=en"))
	b.Touch(openSheet)
	b.Until(`!document.querySelector('[data-offer="site-1.2.3"] button')`) // it runs
	b.Touch(`[data-action="updates-check"]`)
	room.did(t, "check")
	b.Touch(`[data-action="updates-install"][data-offer="site-1.3.0"]`)
	room.did(t, "download 1.3.0 false")
	b.Until(fmt.Sprintf(stateThere, "Receiving"))
	room.srv.Publish(func(tx *Tx) { tx.Set("Updates/Progress", 37) })
	b.Until(`document.querySelector('[role="progressbar"]')?.getAttribute("aria-valuenow") === "37" && document.querySelector('[data-field="progress"]')?.textContent === "37%"`)
	b.Touch(`[data-action="updates-cancel"]`)
	room.did(t, "cancel")
	b.Touch(`[data-action="updates-install"][data-offer="in-camera-1.10.0.bundle"]`)
	room.did(t, "import in-camera-1.10.0.bundle false")

	room.srv.Publish(updating("Idle", tooOld))
	b.Touch(`[data-action="updates-install"][data-offer="site-1.1.0"]`)
	room.did(t, "download 1.1.0 true")

	room.srv.Publish(updating("Waiting", ready))
	b.Touch(`[data-action="updates-apply"]`)
	room.did(t, "apply true")
	b.Until(fmt.Sprintf(stateThere, "Restarting"))

	room.srv.Publish(updating("Idle", nil))
	b.Touch(`[data-action="reset-open"]`)
	act(b, "write serial "+strings.ToLower(serial)[:6])
	b.Touch(`[data-action="reset-confirm"]`)
	b.Until(`document.querySelector('[data-input="serial"][aria-invalid]')`)
	room.did(t)
	act(b, "write serial "+strings.ToLower(serial))
	b.Touch(`[data-action="reset-confirm"]`)
	room.did(t, "reset "+serial)
	b.Until(fmt.Sprintf(onScreen, "idle"))
	b.Touch(openSheet)
	b.Touch(`[data-action="restart-open"]`)
	b.Touch(`[data-action="restart-confirm"]`)
	room.did(t, "restart")
	for _, c := range b.Heard() {
		t.Error(c)
	}
}

// TestDark has the room restart into an update under the page: the page says
// so, waits, and comes back in the room's language.
func TestDark(t *testing.T) {
	b, folder := browsertest.Open(t), browsertest.Pictures(t)
	room := newBox(t)
	room.srv.Publish(updating("Restarting", ready))
	var handler atomic.Pointer[http.Handler]
	set := func(h http.Handler) { handler.Store(&h) }
	set(room.srv.Handler())
	hs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*handler.Load()).ServeHTTP(w, r) }))
	defer hs.Close()
	b.Size(1280, 800)
	b.Run(chromedp.Navigate(hs.URL + "/"))
	b.Until(fmt.Sprintf(onScreen, "idle"))
	set(http.NotFoundHandler())
	room.srv.Close()
	b.Until(`document.querySelector('[data-screen="dark"][data-why="update"]')?.textContent.includes("3")`)
	for _, s := range sizes {
		b.Size(s.width, s.height)
		for _, f := range browsertest.Eval[[]string](b, faults) {
			t.Errorf("%s: %s", s.name, f)
		}
		b.Shoot(folder, "dark-"+s.name+"-en")
	}
	if browsertest.Eval[bool](b, `document.querySelector('[data-screen="stale"]') !== null`) {
		t.Error("the page says as well that it lost the room")
	}
	other := newBox(t)
	other.srv.Publish(updating("Trying", ready))
	other.srv.Publish(func(tx *Tx) { tx.Set("System/Language", "pl") })
	t.Cleanup(other.srv.Close)
	set(other.srv.Handler())
	b.Until(fmt.Sprintf(onScreen, "idle") + ` && !document.querySelector('.stale') && document.documentElement.lang === "pl"`)
	for _, c := range b.Heard() {
		if !strings.Contains(c, "WebSocket") && !strings.Contains(c, "404") { // what a dark room looks like
			t.Error(c)
		}
	}
}
