// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"

	"incamera/device/pairing"
	"incamera/device/panel/browsertest"
)

// pinned makes Chromium take the room's certificate by its key, as a tablet
// that a site manages does, and no other.
func (b *box) pinned() chromedp.ExecAllocatorOption {
	pin := pairing.PinOf(b.cert)
	return chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(pin[:]))
}

const unpairedScreen = `document.querySelector('[data-screen="unpaired"]')`

// TestPairedBrowser takes a browser from the link to the idle screen and back,
// and looks over the shoulder of one that is not paired.
func TestPairedBrowser(t *testing.T) {
	room := newBox(t)
	b, folder := browsertest.Open(t, room.pinned()), browsertest.Pictures(t)
	room.srv.Publish(calm)
	host := room.servePaired(t)
	w := <-room.shown
	link := strings.Replace(w.LinkAt(host), "/pair#", "/pair?lang=en#", 1)

	stranger := browsertest.Open(t, room.pinned())
	stranger.Run(chromedp.Navigate("https://" + host + "/?lang=en"))
	stranger.Until(unpairedScreen + `?.dataset.window === "true"`)
	if text := browsertest.Eval[string](stranger, `document.body.innerText`); !strings.Contains(text, "Vauban") || strings.Contains(text, "Curie") {
		t.Errorf("a stranger reads %q", text)
	}

	b.Size(1280, 800)
	b.Run(chromedp.Navigate(link))
	b.Until(fmt.Sprintf(onScreen, "idle"))
	if at := browsertest.Eval[string](b, `location.href`); at != "https://"+host+"/?lang=en" {
		t.Errorf("the page is at %s", at)
	}
	if n := browsertest.Eval[int](b, `history.length`); n > 3 {
		t.Errorf("%d entries of history", n)
	}
	b.Shoot(folder, "paired-idle-wall-en")
	b.Touch(`[data-action="call-start"][data-room="curie"]`)
	b.Until(fmt.Sprintf(onScreen, "outgoing"))
	if got := strings.Join(room.done(), ", "); got != "start curie" {
		t.Errorf("the room did %q", got)
	}
	room.srv.Publish(calm)
	b.Run(chromedp.Reload())
	b.Until(fmt.Sprintf(onScreen, "idle"))

	panels := func() []pairing.Panel {
		s, _ := room.keeper.State()
		return s.Panels
	}
	if n := len(panels()); n != 1 {
		t.Fatalf("%d panels are paired", n)
	}
	id := panels()[0].ID
	stolen(t, room, b, host, id)

	// The link was used: it pairs nobody else, and counts as no guess.
	stranger.Run(chromedp.Navigate(link))
	stranger.Until(`document.querySelector('[data-why="pair.expired"]')`)
	stranger.Shoot(folder, "pair-expired-en")
	if s, _ := room.keeper.State(); s.TriesLeft != 5 || len(s.Panels) != 1 {
		t.Errorf("after a link that was used: %+v", s)
	}

	secondBrowser(t, room, b, stranger, host)

	began := time.Now()
	if err := room.keeper.Unpair(id); err != nil {
		t.Fatal(err)
	}
	for room.srv.open() > 0 {
		if time.Since(began) > time.Second {
			t.Fatal("the session lives a second after its panel was unpaired")
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Logf("unpaired: the session ended after %v", time.Since(began).Round(time.Millisecond))
	b.Until(unpairedScreen + `?.querySelector('[data-why="pair.removed"]')`)
	b.Shoot(folder, "unpaired-wall-en")
	for _, c := range b.Heard() {
		// Refused, as it is unpaired; and slowed down, as all of this test comes from
		// one address.
		if !strings.Contains(c, "WebSocket") && !strings.Contains(c, "429") {
			t.Error(c)
		}
	}
}

// secondBrowser pairs another browser from the page of the first, and puts it out.
func secondBrowser(t *testing.T, room *box, b, other *browsertest.Browser, host string) {
	t.Helper()
	folder := browsertest.Pictures(t)
	b.Touch(`[data-action="panels-open"]`)
	b.Touch(`[data-action="pair-add"]`)
	b.Until(`document.querySelector('.pair-link')`)
	for _, s := range sizes {
		b.Size(s.width, s.height)
		for _, f := range browsertest.Eval[[]string](b, faults) {
			t.Errorf("%s: %s", s.name, f)
		}
		b.Shoot(folder, "panels-"+s.name+"-en")
	}
	if text := browsertest.Eval[string](b, `document.querySelector('[data-field="pair-pin"]').textContent`); !strings.Contains(strings.ReplaceAll(text, " ", ""), (<-room.shown).PIN()) {
		t.Errorf("the PIN is told as %q", text)
	}
	_, fragment, _ := strings.Cut(browsertest.Eval[string](b, `document.querySelector('.pair-link').textContent`), "#")
	other.Run(chromedp.Navigate("https://" + host + "/pair?lang=en"))
	other.Until(unpairedScreen)
	browsertest.Eval[bool](other, fmt.Sprintf(`(() => { location.hash = %q; return true })()`, fragment)) // as if typed behind the address
	other.Until(fmt.Sprintf(onScreen, "idle"))
	if browsertest.Eval[bool](other, `!!document.querySelector('[data-action="panels-open"]')`) {
		t.Error("a panel for meetings sees who else is paired")
	}
	s, _ := room.keeper.State()
	if len(s.Panels) != 2 || s.Panels[1].Role != pairing.PanelRole {
		t.Fatalf("panels = %+v", s.Panels)
	}
	b.Until(`!document.querySelector('.pair-link')`) // it was used
	b.Touch(fmt.Sprintf(`[data-panel=%q] [data-action="pair-unpair"]`, s.Panels[1].ID))
	b.Shoot(folder, "unpair-en")
	b.Touch(`[data-action="pair-unpair-confirm"]`)
	other.Until(unpairedScreen + `?.querySelector('[data-why="pair.removed"]')`)
	b.Until(`document.querySelectorAll('[data-panel]').length === 1`)
	b.Touch(`[data-action="sheet-close"]`)
	b.Until(fmt.Sprintf(onScreen, "idle"))
	b.Size(sizes[0].width, sizes[0].height)
}

// stolen tries what the cookie of a paired panel opens, while that is connected.
func stolen(t *testing.T, room *box, b *browsertest.Browser, host, id string) {
	t.Helper()
	cookie := ""
	for _, c := range b.Cookies() {
		if c.Name == cookieName {
			cookie = c.Value
			if !c.HTTPOnly || !c.Secure || c.SameSite != network.CookieSameSiteStrict || c.Path != "/" {
				t.Errorf("the cookie is %+v", c)
			}
		}
	}
	if cookie == "" {
		t.Fatal("there is no cookie")
	}
	thief := &http.Client{Transport: room.transport(), Timeout: 10 * time.Second}
	header := http.Header{"Cookie": {cookieName + "=" + cookie}, "Origin": {"https://" + host}}
	for _, path := range []string{"/v1/status", "/v1/events", "/v1/status/audio/volume"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header
		answer, err := thief.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s with the cookie alone is %d", path, answer.StatusCode)
		}
	}
	for _, first := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"Tree.Get","params":{"Path":"Status"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"Command/Call/Start","params":{"Room":"curie"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"Session.Prove","params":{"Panel":"` + id + `","Signature":"` + strings.Repeat("A", 86) + `"}}`,
	} {
		conn, _, err := websocket.Dial(t.Context(), "https://"+host+"/v1/ws", &websocket.DialOptions{ //nolint:bodyclose // the library closes it
			HTTPClient: thief, HTTPHeader: header, Subprotocols: []string{subprotocol},
		})
		if err != nil {
			t.Fatal(err)
		}
		p := &remote{t, conn}
		greeting := p.read()
		var h hello
		if err := json.Unmarshal(greeting.Params, &h); err != nil || h.Role != "None" || h.Challenge == "" {
			t.Errorf("Hello is %s", greeting.Params)
		}
		if m := p.ask(first); m.Error == nil || m.Error.Data.Reason != NotAuthenticated || len(m.Result) > 0 {
			t.Errorf("%s: %+v", first, m)
		}
		if m, err := p.next(); websocket.CloseStatus(err) != statusUnproven {
			t.Errorf("after %s came %+v, %v", first, m, err)
		}
	}
	if got := room.done(); len(got) > 0 {
		t.Errorf("for a thief the room did %q", got)
	}
}

// TestPINBrowser pairs a browser by the digits that the room shows, after wrong
// ones.
func TestPINBrowser(t *testing.T) {
	room := newBox(t)
	b, folder := browsertest.Open(t, room.pinned()), browsertest.Pictures(t)
	room.srv.Publish(calm)
	host := room.servePaired(t)
	w := <-room.shown
	for _, lang := range slices.Concat(languages.Of, []string{"en"}) {
		b.Run(chromedp.Navigate("https://" + host + "/?lang=" + lang))
		b.Until(`document.querySelector('[data-input="pin"]') && document.documentElement.lang === "` + lang + `"`)
		for _, s := range sizes {
			b.Size(s.width, s.height)
			for _, f := range browsertest.Eval[[]string](b, faults) {
				t.Errorf("%s %s: %s", lang, s.name, f)
			}
			b.Shoot(folder, "pin-"+s.name+"-"+lang)
		}
	}
	wrong := "00000000"
	if w.PIN() == wrong {
		wrong = "00000001"
	}
	began := time.Now()
	b.Write(`[data-input="pin"]`, wrong)
	b.Touch(`[data-action="pair-pin"]`)
	b.Until(`document.querySelector('[data-why="pair.pin.wrong"]')`)
	t.Logf("a wrong PIN: %v, with loading the module", time.Since(began).Round(time.Millisecond))
	b.Until(`document.querySelector('[data-field="hint"]')?.textContent.includes("4")`)
	b.Shoot(folder, "pin-wrong-en")
	began = time.Now()
	b.Write(`[data-input="pin"]`, w.PIN())
	b.Touch(`[data-action="pair-pin"]`)
	b.Until(fmt.Sprintf(onScreen, "idle"))
	t.Logf("paired by PIN: %v, to the idle screen", time.Since(began).Round(time.Millisecond))
	if at := browsertest.Eval[string](b, `location.href`); at != "https://"+host+"/?lang=en" {
		t.Errorf("the page is at %s", at)
	}
	if s, _ := room.keeper.State(); len(s.Panels) != 1 || s.Panels[0].Role != pairing.Facilities || room.guesses.n.Load() != 2 {
		t.Errorf("state = %+v, %d guesses", s, room.guesses.n.Load())
	}
	for _, c := range b.Heard() {
		if !strings.Contains(c, "401") { // the wrong PIN
			t.Error(c)
		}
	}
}
