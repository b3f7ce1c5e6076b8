// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"net/url"
	"testing"

	"incamera/buildroot/e2e/harness"
	"incamera/buildroot/e2e/panel"
	"incamera/device/pairing"
)

// pairedDoor: a tablet pairs over TLS by the link that the room shows, opens the
// same API, and does what its role may. Unpaired, it gets in no more.
func (w *world) pairedDoor(t *testing.T) {
	r := w.b
	var window struct{ Links []string }
	if err := r.panel.Call(within(t, stepFor), "Command/Pairing/OpenWindow", map[string]any{"Role": "Panel"}, &window); err != nil {
		t.Fatal(err)
	}
	if len(window.Links) == 0 {
		t.Fatal("the room shows no link")
	}
	link, err := url.Parse(window.Links[0])
	if err != nil {
		t.Fatal(err)
	}
	link.Host = r.network.Reach(r.number, harness.PortPaired)
	paired, err := pairing.PairWeb(within(t, stepFor), link.String(), "Tablet")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := paired.Dial(within(t, stepFor))
	if err != nil {
		t.Fatal(err)
	}
	c, err := panel.Over(within(t, stepFor), conn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Do(within(t, stepFor), "Audio/Mute", nil); err != nil {
		t.Error(err)
	}
	r.awaitText(t, "Audio/Mute/State", "On")
	if err := c.Do(within(t, stepFor), "System/FactoryReset", map[string]any{"Serial": r.panel.Text("System/Serial")}); err == nil {
		t.Fatal("a tablet with the role Panel reset the box")
	}
	r.do(t, "Pairing/Unpair", map[string]any{"Panel": paired.Panel})
	if err := c.Ended(within(t, stepFor)); err != nil {
		t.Error(err)
	}
	if conn, err := paired.Dial(within(t, stepFor)); err == nil {
		_ = conn.CloseNow()
		t.Error("an unpaired tablet got in")
	}
}
