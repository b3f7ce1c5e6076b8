// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"

	"incamera/device/panel/browsertest"
)

// onScreen is a script that is true while the panel shows a screen.
const onScreen = `document.querySelector('[data-screen=%q]')`

// codeShown is a script that gives the security code on a panel's page.
const codeShown = `document.querySelector('[data-field="security-code"]')?.dataset.code ?? ""`

// stageHash is a script that sums up what the stage's page shows.
const stageHash = `(() => {
	const c = document.querySelector("#stage"), copy = document.createElement("canvas");
	copy.width = copy.height = 64;
	const d = copy.getContext("2d");
	d.drawImage(c, 0, 0, 64, 64);
	return Array.from(d.getImageData(0, 0, 64, 64).data).reduce((h, v) => (h * 31 + v) | 0, 7);
})()`

// TestBrowser has two people hold a call at the panels of two rooms, in a real
// browser, and looks at one stage.
func TestBrowser(t *testing.T) {
	s := startRooms(t, "Vauban", "Curie")
	folder := browsertest.Pictures(t)
	vauban, curie, stage := browsertest.Open(t), browsertest.Open(t), browsertest.Open(t)
	both := []*browsertest.Browser{vauban, curie}
	for i, b := range both {
		b.Run(chromedp.Navigate("http://" + s.rooms[i].Panel + "/?lang=en"))
		b.Size(1280, 800)
		b.Until(fmt.Sprintf(onScreen, "idle"))
	}
	stage.Run(chromedp.Navigate("http://" + s.rooms[0].Stage + "/"))
	stage.Size(1280, 800)
	shoot := func(b *browsertest.Browser, name string) {
		for _, size := range []struct{ width, height int64 }{{390, 844}, {1280, 800}} {
			b.Size(size.width, size.height)
			b.Shoot(folder, fmt.Sprintf("%s-%dx%d", name, size.width, size.height))
		}
	}
	shoot(vauban, "room-idle")

	vauban.Touch(`[data-action="call-start"][data-room="curie"]`)
	curie.Until(fmt.Sprintf(onScreen, "incoming"))
	shoot(vauban, "room-outgoing")
	shoot(curie, "room-incoming")
	for i := range both {
		s.expect(i, 1-i)
	}
	curie.Touch(`[data-action="call-answer"]`)
	for i, b := range both {
		b.Until(fmt.Sprintf(onScreen, "call"))
		b.Until(`(` + codeShown + `).length === 30`)
		b.Until(`document.querySelectorAll('[data-field="roster-member"]').length === 2`)
		s.seen(i)
	}
	if a, b := browsertest.Eval[string](vauban, codeShown), browsertest.Eval[string](curie, codeShown); a != b {
		t.Errorf("the panels show the codes %s and %s", a, b)
	}

	// The stage moves, and it is the other room's camera that moves it.
	before, frames := browsertest.Eval[int](stage, stageHash), s.frames(0)
	stage.Until(fmt.Sprintf("%s !== %d", stageHash, before))
	wait(t, "the counter in the picture to advance", func() bool { return s.frames(0) > frames+30 })
	shoot(vauban, "room-call")
	stage.Shoot(folder, "room-stage-1280x800")

	vauban.Touch(`[data-action="audio-mute"]`)
	curie.Until(`document.querySelector('[data-field="roster-member"][data-self="false"] [data-field="voice"]')?.textContent.toLowerCase().includes("mute")`)
	vauban.Until(`document.querySelector('[data-action="audio-unmute"][data-silent="true"]')`)
	shoot(vauban, "room-muted")
	shoot(curie, "room-other-muted")
	vauban.Touch(`[data-action="audio-unmute"]`)
	vauban.Until(`document.querySelector('[data-action="audio-mute"]')`)

	curie.Touch(`[data-action="call-leave"]`)
	for _, b := range both {
		b.Until(fmt.Sprintf(onScreen, "idle"))
	}
	shoot(vauban, "room-after")
	for name, b := range map[string]*browsertest.Browser{"Vauban's panel": vauban, "Curie's panel": curie, "the stage": stage} {
		for _, complaint := range b.Heard() {
			t.Errorf("%s: %s", name, complaint)
		}
	}
}
