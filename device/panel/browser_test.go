// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"incamera/device/panel/browsertest"
)

// faults checks what a person would stumble over: content beyond the screen,
// buttons too small or without a name, words cut off.
const faults = `(() => {
  const out = [];
  const root = document.scrollingElement;
  if (root.scrollWidth > innerWidth) out.push("the page is " + root.scrollWidth + " wide");
  if (root.scrollHeight > innerHeight) out.push("the page is " + root.scrollHeight + " high");
  const stale = document.querySelector(".stale");
  const say = (e) => (e.dataset.action || e.dataset.field || e.className || e.tagName) + " " + JSON.stringify(e.textContent.slice(0, 40));
  for (const e of document.querySelectorAll("button")) {
    const r = e.getBoundingClientRect();
    if (stale || r.width === 0) continue;
    if (r.width < 48 || r.height < 48) out.push("small: " + say(e) + " " + r.width + "x" + r.height);
    if (r.left < 0 || r.right > innerWidth + 0.5) out.push("beyond the side: " + say(e));
    if (!e.textContent.trim() && !e.getAttribute("aria-label")) out.push("nameless: " + say(e));
  }
  for (const e of document.querySelectorAll("input, textarea")) {
    const r = e.getBoundingClientRect();
    if (r.height < 48) out.push("small: " + e.dataset.input + " " + r.height);
    if (!e.labels.length || !e.labels[0].textContent.trim()) out.push("nameless: " + e.dataset.input);
  }
  const light = (c) => c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const parts = (text) => { const c = text.match(/[\d.]+/g).map(Number); return c.length < 4 ? [...c, 1] : c; };
  for (const e of document.querySelectorAll("body *")) {
    if (stale && !e.closest(".stale")) continue; // dimmed on purpose
    if (e.closest(".reads, svg, .waits") || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const under = [];
    for (let at = e; at; at = at.parentElement) {
      const c = parts(getComputedStyle(at).backgroundColor);
      if (c[3] > 0) under.push(c);
      if (c[3] === 1) break;
    }
    const ground = under.reverse().reduce((below, c) => below.map((v, i) => v * (1 - c[3]) + c[i] * c[3]), [0, 0, 0]);
    const [a, z] = [light(parts(getComputedStyle(e).color)), light(ground)].sort((x, y) => y - x);
    if ((a + 0.05) / (z + 0.05) < 4.5) out.push("faint: " + say(e) + " " + ((a + 0.05) / (z + 0.05)).toFixed(1));
  }
  for (const e of document.querySelectorAll(".controls button, .top, .answers button")) {
    const r = e.getBoundingClientRect();
    const scrolls = e.closest(".sheet, .lobby, .ringing, .joining, .setup");
    if (!stale && !scrolls && r.bottom > innerHeight + 0.5) out.push("below the screen: " + say(e));
  }
  for (const e of document.querySelectorAll("button, h1, h2, p, .words, .label, .note, .digits, .badge, .link, .voice, dd, dt, .sheet, .lobby, .body, .screen, .code, .roster, .setup-card, .field, .hash, .offer, .outcome, .notice, .gauge, label")) {
    if (e.closest(".reads, .step, svg, .waits") || e.clientWidth <= 1) continue; // not for eyes
    if (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline") out.push("cut off: " + say(e) + " " + e.scrollWidth + ">" + e.clientWidth);
    if (e.matches("button") && e.scrollHeight > e.clientHeight + 1) out.push("cut off below: " + say(e) + " " + e.scrollHeight + ">" + e.clientHeight);
  }
  const gaps = [...document.querySelectorAll(".controls button, .answers button")].map((e) => [e, e.getBoundingClientRect()]);
  for (let i = 0; i < gaps.length; i++) for (let j = i + 1; j < gaps.length; j++) {
    const [a, b] = [gaps[i][1], gaps[j][1]];
    const dx = Math.max(a.left, b.left) - Math.min(a.right, b.right), dy = Math.max(a.top, b.top) - Math.min(a.bottom, b.bottom);
    if (gaps[i][0].closest(".sheet, .lobby") === gaps[j][0].closest(".sheet, .lobby") && Math.max(dx, dy) < 7.5) out.push("too close: " + say(gaps[i][0]) + " " + say(gaps[j][0]));
  }
  return out;
})()`

// A scene is one screen: what the room says, and what a person touches to get
// there.
type scene struct {
	name  string
	say   func(*Tx)
	touch []string // selectors; "write", the name of a field and a text writes
	wait  string   // true when the scene is there
}

const (
	codeNow    = "48213 90571 66204 18839 27745 03916"
	codeBefore = "11830 44972 90215 73360 58127 64409"
	credential = "9f3ac4d17be20516a8d94477c01b2e6f5588aa31"
)

func calm(tx *Tx) {
	tx.Set("Call", map[string]string{"State": "Idle"})
	for _, path := range []string{"Roster/Members", "Lobby/Waiting", "Diagnostics/Conditions", "Directory/Rooms", "Setup", "Enrolment", "Network", "Updates", "Pairing"} {
		tx.Remove(path)
	}
	tx.Set("System/Name", "Vauban")
	tx.Set("Directory/Rooms/curie", Contact{"Curie", "Bâtiment Nord"})
	tx.Set("Directory/Rooms/pascal", Contact{"Pascal", "Bâtiment Nord"})
	tx.Set("Directory/Rooms/lyon", Contact{"Lyon 3", "Agence de Lyon"})
	muted(tx, false)
	tx.Set("Stage/Layout", "Speaker")
	tx.Set("Video/Selfview", false)
	tx.Set("Video/Camera", map[string]any{"Sending": true, "Cover": "Open"})
	tx.Set("Audio/Volume", 55)
}

func calling(state, direction string) func(*Tx) {
	return func(tx *Tx) {
		calm(tx)
		tx.Set("Call", map[string]any{
			"State": state, "Direction": direction, "CallId": "c-1", "Since": time.Now(),
			"Peer": Peer{Room: "curie", Name: "Curie", Site: "Bâtiment Nord"},
		})
	}
}

func inCall(tx *Tx) {
	calling("Connected", "Outgoing")(tx)
	tx.Set("Call/Since", time.Now().Add(-13*time.Minute))
	tx.Set("Call/SecurityCode", SecurityCode{
		Code: codeNow, Since: start, Previous: codeBefore, Why: "Joined", Who: "Curie",
	})
	tx.Set("Roster/Members/m0", Member{Name: "Vauban", Site: "Bâtiment Sud", Credential: "11" + credential, Verdict: "none", Link: "Good", Self: true})
	tx.Set("Roster/Members/m1", Member{Name: "Curie", Site: "Bâtiment Nord", Credential: credential, Verdict: "none", Link: "Good", Heard: true})
}

func crowded(tx *Tx) {
	inCall(tx)
	muted(tx, true)
	tx.Set("Call/State", "Reconnecting")
	tx.Set("Call/Peer", Peer{Name: "Salle du Conseil municipal Antoine-Laurent de Lavoisier"})
	tx.Set("Audio/Mute/Sources", []string{"HardwareKey", "Panel"})
	tx.Set("Video/Camera", map[string]any{"Sending": false, "Cover": "Closed"})
	tx.Set("Video/Selfview", true)
	tx.Set("Stage/Layout", "Grid")
	tx.Set("Call/SecurityCode/Who", "Salle du Conseil municipal Antoine-Laurent de Lavoisier")
	tx.Set("Diagnostics/Conditions/clock", Condition{"Warning", start, "The clock was not set for two days: check the time source."})
	for i, m := range []Member{
		{Name: "Salle du Conseil municipal Antoine-Laurent de Lavoisier", Verdict: "affirming", VerdictAgeS: 300, Release: "1.2.3", Link: "Good", SaysMuted: true},
		{Name: "Lyon 3", Verdict: "warning", VerdictAgeS: 7000, Release: "1.1.9", VerdictReason: "evidence_old", Link: "Weak", SaysCameraOff: true},
		{Name: "Donaudampfschifffahrtsgesellschaftskapitänskajüte", Verdict: "contraindicated", VerdictReason: "refval_mismatch", Link: "Lost"},
		{Name: "Pascal", Verdict: "none", Link: "Connecting", SaysMuted: true, SaysCameraOff: true},
		{Name: "<b>Szczebrzeszyn</b>", Verdict: "none", Link: "Good", Heard: true, SaysMuted: true},
	} {
		m.Site, m.Credential = "Agence d’Auvergne-Rhône-Alpes", credential
		tx.Set(fmt.Sprintf("Roster/Members/x%d", i), m)
	}
}

func knocking(before func(*Tx)) func(*Tx) {
	return func(tx *Tx) {
		before(tx)
		tx.Set("Lobby/Waiting/w1", Waiting{Name: "Lavoisier", Site: "Bâtiment Nord", Credential: credential, Verdict: "none", Why: "NotInvited", Since: start})
	}
}

func many(tx *Tx) {
	calm(tx)
	for i := range 14 {
		tx.Set(fmt.Sprintf("Directory/Rooms/r%d", i), Contact{fmt.Sprintf("Salle de réunion internationale %d", 100+i), "Direction générale de la coordination"})
	}
	tx.Set("Diagnostics/Conditions/camera", Condition{"Error", start, "No camera: check its cable."})
}

const (
	onScreen = `document.querySelector('[data-screen="%s"]') && !document.querySelector('.sheet, .lobby')`
	onSheet  = `document.querySelector('[data-sheet="%s"]')`
)

var scenes = []scene{
	{"idle", calm, nil, fmt.Sprintf(onScreen, "idle")},
	{"idle-many", many, nil, `document.querySelectorAll('.room').length === 17`},
	{"idle-empty", func(tx *Tx) { calm(tx); tx.Remove("Directory/Rooms") }, nil, `document.querySelector('.empty')`},
	{"outgoing", calling("Ringing", "Outgoing"), nil, fmt.Sprintf(onScreen, "outgoing")},
	{"incoming", calling("Ringing", "Incoming"), nil, fmt.Sprintf(onScreen, "incoming")},
	{"joining", func(tx *Tx) { calling("Joining", "Outgoing")(tx); tx.Set("Call/Step", "Connecting") }, nil, fmt.Sprintf(onScreen, "joining")},
	{"in-lobby", calling("InLobby", "Outgoing"), nil, fmt.Sprintf(onScreen, "lobby")},
	{"leaving", calling("Leaving", "Outgoing"), nil, fmt.Sprintf(onScreen, "leaving")},
	{"call", inCall, nil, fmt.Sprintf(onScreen, "call") + ` && document.querySelectorAll('.member').length === 2`},
	{"call-muted", func(tx *Tx) { inCall(tx); muted(tx, true) }, nil, fmt.Sprintf(onScreen, "call") + ` && document.querySelector('.mute.silent')`},
	{"call-crowded", crowded, nil, `document.querySelectorAll('.member').length === 7`},
	{"member", inCall, []string{`[data-member="m1"]`}, fmt.Sprintf(onSheet, "roster-member")},
	{"remove", inCall, []string{`[data-member="m1"]`, `[data-action="roster-remove"]`}, fmt.Sprintf(onSheet, "roster-remove")},
	{"add", inCall, []string{`[data-action="call-add"]`}, fmt.Sprintf(onSheet, "call-add")},
	{"end", inCall, []string{`[data-action="call-end-open"]`}, fmt.Sprintf(onSheet, "call-end")},
	{"knock-idle", knocking(calm), nil, fmt.Sprintf(onSheet, "lobby")},
	{"knock-call", knocking(inCall), nil, fmt.Sprintf(onSheet, "lobby")},
	{"refused", func(tx *Tx) {
		calm(tx)
		tx.Event("Call/Refused", map[string]string{"CallId": "c-1", "Room": "curie", "Name": "Curie", "Reason": "NoAnswer"})
	}, nil, fmt.Sprintf(onSheet, "trouble")},
}

var sizes = []struct {
	name          string
	width, height int64
}{{"wall", 1280, 800}, {"phone", 390, 844}, {"small", 360, 640}, {"table", 1920, 1200}}

// TestScreens shows every screen in every language and size.
func TestScreens(t *testing.T) {
	b, folder := browsertest.Open(t), browsertest.Pictures(t)
	room := newBox(t)
	url := room.serve(t).URL
	languages := strings.Fields(os.Getenv("PANEL_LANGUAGES"))
	if len(languages) == 0 {
		languages = []string{"en", "fr", "de", "pl"}
	}
	for _, lang := range languages {
		b.T = t
		b.Run(chromedp.Navigate(url + "/?lang=" + lang))
		b.Until(`document.querySelector('[data-screen]') && document.documentElement.lang === "` + lang + `"`)
		for _, sc := range slices.Concat(scenes, setupScenes, updateScenes) {
			t.Run(lang+"/"+sc.name, func(t *testing.T) {
				b.T = t
				room.srv.Publish(calm)
				b.Until(fmt.Sprintf(onScreen, "idle") + ` && !document.querySelector('[data-action="updates-open"]')`)
				b.Size(sizes[0].width, sizes[0].height)
				room.srv.Publish(sc.say)
				for _, step := range sc.touch {
					act(b, step)
				}
				b.Until(sc.wait)
				for _, s := range sizes {
					b.Size(s.width, s.height)
					for _, f := range browsertest.Eval[[]string](b, faults) {
						t.Errorf("%s: %s", s.name, f)
					}
					b.Shoot(folder, sc.name+"-"+s.name+"-"+lang)
				}
				browsertest.Eval[bool](b, `(() => { const e = document.querySelector('[data-action="trouble-close"], [data-action="sheet-close"]'); if (e) e.click(); return !!e })()`)
				for _, c := range b.Heard() {
					t.Error(c)
				}
			})
		}
	}
}

// TestTouches drives a call as people do.
func TestTouches(t *testing.T) {
	b := browsertest.Open(t)
	room := newBox(t)
	room.srv.Publish(calm)
	b.Size(1280, 800)
	b.Run(chromedp.Navigate(room.serve(t).URL + "/?lang=en"))
	did := func(want ...string) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; {
			room.mu.Lock()
			got := strings.Join(room.calls, ", ")
			room.mu.Unlock()
			if got == strings.Join(want, ", ") {
				room.done()
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the room did %q, want %q", got, want)
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	b.Touch(`[data-action="call-start"][data-room="curie"]`)
	did("start curie")
	b.Until(fmt.Sprintf(onScreen, "outgoing"))
	b.Touch(`[data-action="call-leave"]`)
	did("leave c-1")
	b.Until(fmt.Sprintf(onScreen, "idle"))
	room.srv.Publish(calling("Ringing", "Incoming"))
	b.Touch(`[data-action="call-decline"]`)
	did("decline c-1")
	b.Until(fmt.Sprintf(onScreen, "idle"))
	room.srv.Publish(calling("Ringing", "Incoming"))
	b.Touch(`[data-action="call-answer"]`)
	did("answer c-1")
	b.Until(fmt.Sprintf(onScreen, "joining"))

	room.srv.Publish(knocking(inCall))
	b.Until(`document.querySelector('[data-field="security-code"]')?.dataset.code === "` + strings.ReplaceAll(codeNow, " ", "") + `"`)
	b.Touch(`[data-action="lobby-admit"]`)
	did("admit w1 " + credential)
	b.Until(fmt.Sprintf(onScreen, "call"))
	b.Touch(`[data-action="audio-mute"]`)
	did("mute")
	b.Touch(`[data-action="audio-unmute"][data-silent="true"]`)
	did("unmute")
	b.Touch(`[data-action="volume-up"]`)
	did("step")
	b.Until(`document.querySelector('[data-field="volume"]')?.textContent === "60"`)
	b.Touch(`[data-action="camera-off"]`)
	did("camera")
	b.Touch(`[data-action="camera-on"]`)
	did("camera")
	b.Touch(`[data-action="selfview-on"]`)
	did("selfview")
	b.Touch(`[data-action="stage-layout"][data-layout="Grid"]`)
	did("layout Grid")
	b.Until(`document.querySelector('[data-layout="Grid"]')?.getAttribute("aria-pressed") === "true"`)
	b.Touch(`[data-member="m1"]`)
	b.Touch(`[data-action="roster-remove"]`)
	b.Touch(`[data-action="roster-remove-confirm"]`)
	did("remove m1 " + credential)
	b.Until(fmt.Sprintf(onScreen, "call"))

	room.fail(&Refusal{Reason: HardwareMuteActive})
	b.Touch(`[data-action="audio-mute"]`)
	b.Until(`document.querySelector('[data-reason="hardware_mute_active"]')`)
	b.Touch(`[data-action="trouble-close"]`)
	did("mute")
	room.fail(nil)

	gate := make(chan struct{})
	room.hold(gate)
	b.Touch(`[data-action="audio-mute"]`)
	b.Until(`document.querySelector('[data-action="audio-mute"][aria-busy="true"]')`)
	b.Until(`document.querySelector('[data-field="waits"]')?.textContent !== ""`)
	b.Shoot(browsertest.Pictures(t), "waits-wall-en")
	close(gate)
	b.Until(`document.querySelector('[data-action="audio-unmute"][aria-busy="false"]')`)
	b.Until(`document.querySelector('[data-field="waits"]')?.textContent === ""`)
	did("mute")
	b.Touch(`[data-action="call-leave"]`)
	did("leave c-1")
	b.Until(fmt.Sprintf(onScreen, "idle"))
	for _, c := range b.Heard() {
		t.Error(c)
	}
}

// TestStale takes the room away from under the page and gives it another.
func TestStale(t *testing.T) {
	b, folder := browsertest.Open(t), browsertest.Pictures(t)
	room := newBox(t)
	room.srv.Publish(inCall)
	var handler atomic.Pointer[http.Handler]
	set := func(h http.Handler) { handler.Store(&h) }
	set(room.srv.Handler())
	hs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*handler.Load()).ServeHTTP(w, r) }))
	defer hs.Close()
	b.Size(1280, 800)
	b.Run(chromedp.Navigate(hs.URL + "/?lang=en"))
	b.Until(fmt.Sprintf(onScreen, "call"))
	set(http.NotFoundHandler())
	room.srv.Close()
	b.Until(`document.querySelector('[data-screen="stale"]')`)
	for _, s := range sizes {
		b.Size(s.width, s.height)
		for _, f := range browsertest.Eval[[]string](b, faults) {
			t.Errorf("%s: %s", s.name, f)
		}
		b.Shoot(folder, "stale-"+s.name+"-en")
	}
	other := newBox(t)
	other.srv.Publish(calm)
	t.Cleanup(other.srv.Close)
	set(other.srv.Handler())
	b.Until(fmt.Sprintf(onScreen, "idle") + ` && !document.querySelector('[data-screen="stale"]')`)
	for _, c := range b.Heard() {
		if !strings.Contains(c, "WebSocket") && !strings.Contains(c, "404") { // what a lost room looks like
			t.Error(c)
		}
	}
}
