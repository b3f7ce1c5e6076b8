// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"context"
	"errors"
	"slices"
	"time"

	"incamera/device/pairing"
)

func careValue(path string, t Type, words string) Node {
	n := value(path, t, words)
	n.Role = RoleFacilities
	return n
}

func careEvent(path, words string, fields ...Field) Node {
	n := event(path, words, fields...)
	n.Role = RoleFacilities
	return n
}

var (
	pairRoles = oneOf(string(pairing.PanelRole), string(pairing.Facilities))
	onePanel  = Field{Name: "Panel", Type: text, Text: "its id"}
	tries     = Type{Base: Number, Max: maxSeconds}
)

var pairNodes = []Node{
	todo("Pairing/OpenWindow", RoleFacilities, "let one more panel pair; the result has the links, which hold the secret, and the PIN",
		Field{Name: "Role", Type: pairRoles, Text: "of the panel"}),
	todo("Pairing/CloseWindow", RoleFacilities, "let no panel pair any more"),
	todo("Pairing/Unpair", RoleFacilities, "take a panel off the list and end its sessions", onePanel),
	todo("Pairing/Rename", RoleFacilities, "name a panel", onePanel, Field{Name: "Name", Type: text, Text: "for people"}),
	value("Pairing/Window/Open", flag, "a panel can be paired now"),
	value("Pairing/Window/Role", pairRoles, "that it will have"),
	value("Pairing/Window/Until", instant, "when the window closes"),
	value("Pairing/Window/TriesLeft", tries, "wrong proofs of the link until it closes"),
	value("Pairing/Window/LockedUntil", instant, "no window opens before, after those"),
	value("Pairing/Window/PinTriesLeft", tries, "wrong PINs until it has none; absent: it has none"),
	value("Pairing/Window/PinLockedUntil", instant, "no window has a PIN before, after those"),
	careValue("Pairing/Panels/+/Name", text, "for people"),
	careValue("Pairing/Panels/+/Role", text, "what it may do"),
	careValue("Pairing/Panels/+/Kind", text, "Browser"),
	careValue("Pairing/Panels/+/Channel", oneOf("NotVerified"), "how its page came: NotVerified, the room cannot know whether the browser checked the certificate"),
	careValue("Pairing/Panels/+/PairedAt", instant, "when it was paired"),
	careValue("Pairing/Panels/+/LastSeen", instant, "when it last proved itself"),
	careEvent("Pairing/Paired", "a panel was paired", onePanel),
	careEvent("Pairing/Unpaired", "a panel was unpaired", onePanel),
	careEvent("Pairing/AttemptFailed", "somebody gave a wrong answer", Field{Name: "TriesLeft", Type: tries, Text: "of what is shorter: with the link or with the PIN"}),
}

// nodes is every name of the tree, in the order of the reference.
var nodes = slices.Concat(roomNodes, pairNodes)

// An openedWindow is the result of Pairing/OpenWindow. Who has it may pair, as
// who asked for it may let anyone pair.
type openedWindow struct {
	Role  pairing.Role
	Until time.Time
	Links []string
	Pin   string `json:",omitempty"`
}

// addPairing wires the commands of pairing.
func addPairing(m map[string]command, k *pairing.Keeper) {
	if k == nil {
		return
	}
	m["Command/Pairing/OpenWindow"] = func(_ context.Context, p params) (any, error) {
		w, err := k.OpenWindow(pairing.Role(p.text("Role")))
		if err != nil {
			return nil, pairRefusal(err)
		}
		return openedWindow{w.Role, w.Until.UTC(), w.Links(), w.PIN()}, nil
	}
	m["Command/Pairing/CloseWindow"] = func(context.Context, params) (any, error) {
		k.CloseWindow()
		return accepted{}, nil
	}
	panel := func(do func(p params) error) command {
		return func(_ context.Context, p params) (any, error) {
			switch err := do(p); {
			case err == nil:
				return accepted{}, nil
			case errors.Is(err, pairing.ErrUnknown):
				return nil, Refuse(TargetChanged)
			default:
				return nil, pairRefusal(err)
			}
		}
	}
	m["Command/Pairing/Unpair"] = panel(func(p params) error { return k.Unpair(p.text("Panel")) })
	m["Command/Pairing/Rename"] = panel(func(p params) error { return k.Rename(p.text("Panel"), p.text("Name")) })
}

// A pairedPanel is one entry of Pairing/Panels.
type pairedPanel struct {
	Name, Role, Kind, Channel string
	PairedAt                  time.Time
	LastSeen                  time.Time `json:",omitzero"`
}

// showPairing keeps the tree true to the list of panels until ctx is done.
func (s *Server) showPairing(ctx context.Context) {
	last, changed := s.pairing.State()
	for first := true; ; first = false {
		now := last
		if !first {
			now, changed = s.pairing.State()
		}
		s.Publish(func(tx *Tx) {
			window := map[string]any{"Open": now.Open, "TriesLeft": now.TriesLeft}
			if now.Open {
				window["Role"], window["Until"] = now.Role, now.Until
			}
			if !now.LockedUntil.IsZero() {
				window["LockedUntil"] = now.LockedUntil
			}
			left := now.TriesLeft
			if now.PIN != nil {
				window["PinTriesLeft"] = now.PIN.TriesLeft
				left = min(left, now.PIN.TriesLeft)
			}
			if !now.PINLockedUntil.IsZero() {
				window["PinLockedUntil"] = now.PINLockedUntil
			}
			tx.Set("Pairing/Window", window)
			if now.Failed > last.Failed {
				tx.Event("Pairing/AttemptFailed", map[string]int{"TriesLeft": left})
			}
			for _, p := range now.Panels {
				tx.Set("Pairing/Panels/"+p.ID, pairedPanel{p.Name, string(p.Role), p.Kind, "NotVerified", p.Paired, p.Seen})
				if !has(last.Panels, p.ID) {
					tx.Event("Pairing/Paired", map[string]string{"Panel": p.ID})
				}
			}
			for _, p := range last.Panels {
				if !has(now.Panels, p.ID) {
					tx.Remove("Pairing/Panels/" + p.ID)
					tx.Event("Pairing/Unpaired", map[string]string{"Panel": p.ID})
				}
			}
		})
		last = now
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func has(panels []pairing.Panel, id string) bool {
	return slices.ContainsFunc(panels, func(p pairing.Panel) bool { return p.ID == id })
}
