// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	"incamera/device/panel"
	"incamera/media/call"
	"incamera/media/e2ee"
)

// A publisher puts the engine's status into the panel's tree. One goroutine
// calls show.
type publisher struct {
	server *panel.Server
	last   call.Status

	mu    sync.Mutex
	rooms []directoryEntry
}

// directory shows the rooms that can be called, in place of those from before.
func (p *publisher) directory(rooms []directoryEntry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server.Publish(func(tx *panel.Tx) {
		for _, r := range p.rooms {
			if !slices.ContainsFunc(rooms, func(e directoryEntry) bool { return e.ID == r.ID }) {
				tx.Remove("Directory/Rooms/" + r.ID)
			}
		}
		for _, r := range rooms {
			tx.Set("Directory/Rooms/"+r.ID, map[string]any{"Name": r.Name})
		}
	})
	p.rooms = rooms
}

// show puts s into the tree. What did not change costs no delta.
func (p *publisher) show(s call.Status) {
	p.server.Publish(func(tx *panel.Tx) {
		p.call(tx, s)
		p.roster(tx, s)
		p.lobby(tx, s)
		p.gates(tx, s)
	})
	p.last = s
}

func (p *publisher) call(tx *panel.Tx, s call.Status) {
	tx.Set("Call/State", panelState(s.State))
	tx.Set("Call/Since", s.Since.UTC().Format(time.RFC3339))
	p.ends(tx, s)
	if s.State == call.Idle {
		if p.last.State != call.Idle {
			for _, path := range []string{
				"Call/CallId", "Call/Direction", "Call/Step", "Call/Meeting", "Call/Peer", "Call/Epoch",
				"Call/SecurityCode", "Call/Suite", "Call/MediaPath", "Call/Codecs",
			} {
				tx.Remove(path)
			}
		}
		return
	}
	tx.Set("Call/CallId", s.CallID)
	tx.Set("Call/Meeting", hex.EncodeToString(s.Meeting))
	tx.Set("Call/Direction", direction(s.Outgoing))
	if s.Peer != "" {
		tx.Set("Call/Peer/Name", s.Peer)
		if id := p.id(s.Peer); id != "" {
			tx.Set("Call/Peer/Room", id)
		}
	}
	step, ok := map[call.State]string{
		call.Joining: "Connecting", call.Reconnecting: "Connecting", call.InLobby: "Waiting",
	}[s.State]
	if ok {
		tx.Set("Call/Step", step)
	} else {
		tx.Remove("Call/Step")
	}
	if s.State == call.Ringing && p.last.State != call.Ringing {
		tx.Event("Call/Incoming", p.peer(s))
	}
	if s.State != call.Connected {
		return
	}
	if p.last.State != call.Connected {
		tx.Event("Call/Joined", p.peer(s))
	}
	if s.Epoch != p.last.Epoch {
		tx.Event("Call/EpochChanged", map[string]any{"Epoch": s.Epoch})
	}
	tx.Set("Call/Epoch", s.Epoch)
	tx.Set("Call/Suite", s.Suite)
	tx.Set("Call/Codecs", []string{"VP8", "Opus"})
	tx.Set("Call/MediaPath", map[string]any{"In": path(s), "Out": path(s)})
	p.code(tx, s.Code)
}

func (p *publisher) code(tx *panel.Tx, c call.Code) {
	if c == p.last.Code || c.Code == "" {
		return
	}
	tx.Set("Call/SecurityCode/Code", c.Code)
	tx.Set("Call/SecurityCode/Since", c.Since.UTC().Format(time.RFC3339))
	tx.Set("Call/SecurityCode/Why", c.Why.String())
	for path, text := range map[string]string{"Previous": c.Previous, "Who": c.Who} {
		if text == "" {
			tx.Remove("Call/SecurityCode/" + path)
		} else {
			tx.Set("Call/SecurityCode/"+path, text)
		}
	}
}

// ends tells why a call is over.
func (p *publisher) ends(tx *panel.Tx, s call.Status) {
	if s.State != call.Idle || p.last.State == call.Idle {
		return
	}
	who := p.peer(p.last)
	if p.last.State == call.Connected || p.last.State == call.Leaving {
		who["Reason"] = leftFor(s.Ended)
		tx.Event("Call/Left", who)
	} else if s.Ended != nil {
		who["Reason"] = refusedFor(s.Ended)
		if e, ok := errors.AsType[*call.NotAttestedError](s.Ended); ok && e.Verdict.Reason != "" {
			who["Detail"] = e.Verdict.Reason
		}
		tx.Event("Call/Refused", who)
	}
}

func (p *publisher) peer(s call.Status) map[string]any {
	who := map[string]any{"CallId": s.CallID}
	if s.Peer != "" {
		who["Name"] = s.Peer
		if id := p.id(s.Peer); id != "" {
			who["Room"] = id
		}
	}
	return who
}

// id is the directory's id of the room called name, "" if it has none.
func (p *publisher) id(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.rooms {
		if r.Name == name {
			return r.ID
		}
	}
	return ""
}

func (p *publisher) roster(tx *panel.Tx, s call.Status) {
	now := map[string]bool{}
	before := map[string]bool{}
	for _, m := range p.last.Members {
		before[m.ID] = true
	}
	for _, m := range s.Members {
		now[m.ID] = true
		if !before[m.ID] {
			tx.Event("Roster/MemberAdded", map[string]any{"Name": m.Name})
		}
		tx.Set("Roster/Members/"+m.ID, panel.Member{
			Name: m.Name, Site: m.Site, Credential: hex.EncodeToString(m.Credential[:]),
			Verdict: m.Verdict.Tier.String(), VerdictAgeS: int(m.VerdictAge / time.Second),
			Release: m.Verdict.Release, VerdictReason: m.Verdict.Reason,
			SaysMuted: m.SaysMuted, SaysCameraOff: m.SaysCameraOff,
			Heard: m.Counts.Heard, Link: m.Link.String(), Self: m.Self,
		})
	}
	for _, m := range p.last.Members {
		if !now[m.ID] {
			tx.Remove("Roster/Members/" + m.ID)
			tx.Event("Roster/MemberRemoved", map[string]any{"Name": m.Name})
		}
	}
}

func (p *publisher) lobby(tx *panel.Tx, s call.Status) {
	now := map[string]bool{}
	before := map[string]bool{}
	for _, k := range p.last.Waiting {
		before[k.ID] = true
	}
	for _, k := range s.Waiting {
		now[k.ID] = true
		if before[k.ID] {
			continue
		}
		tx.Set("Lobby/Waiting/"+k.ID, panel.Waiting{
			Name: k.Name, Site: k.Site, Credential: hex.EncodeToString(k.Credential[:]),
			Verdict: k.Verdict.Tier.String(), VerdictReason: k.Verdict.Reason, Why: why(k), Since: k.Since.UTC(),
		})
		tx.Event("Lobby/Knocked", map[string]any{"Id": k.ID})
	}
	for _, k := range p.last.Waiting {
		if !now[k.ID] {
			tx.Remove("Lobby/Waiting/" + k.ID)
			tx.Event("Lobby/Withdrawn", map[string]any{"Id": k.ID})
		}
	}
}

// why says why a person must decide about a room that waits.
func why(k call.Knock) string {
	if k.Verdict.Tier == e2ee.Contraindicated {
		return "NotAttested"
	}
	return "NotInvited"
}

func (p *publisher) gates(tx *panel.Tx, s call.Status) {
	state, sources := "Off", []string{}
	if s.Muted {
		state, sources = "On", []string{"Panel"}
	}
	tx.Set("Audio/Mute", map[string]any{"State": state, "Sources": sources})
	tx.Set("Video/Camera/Sending", !s.CameraOff)
}

// panelState names the state as the API does: a call that is made rings too,
// and its direction tells.
func panelState(s call.State) string {
	if s == call.Calling {
		return call.Ringing.String()
	}
	return s.String()
}

func direction(outgoing bool) string {
	if outgoing {
		return "Outgoing"
	}
	return "Incoming"
}

// path says how media flows: in a mesh directly, if at all.
func path(s call.Status) string {
	for _, m := range s.Members {
		if m.Link == call.LinkGood {
			return "Direct"
		}
	}
	return "None"
}

func leftFor(why error) string {
	switch {
	case why == nil:
		return "Asked"
	case errors.Is(why, call.ErrEnded):
		return "Ended"
	case errors.Is(why, call.ErrRemoved):
		return "Removed"
	case errors.Is(why, call.ErrLost):
		return "Lost"
	}
	return "Failed"
}

func refusedFor(why error) string {
	for _, known := range []struct {
		err    error
		reason string
	}{
		{call.ErrDeclined, "Declined"},
		{call.ErrOtherBusy, "Busy"},
		{call.ErrNoAnswer, "NoAnswer"},
		{call.ErrCancelled, "Cancelled"},
		{call.ErrUnreachable, "Unreachable"},
		{call.ErrLost, "Unreachable"},
		{call.ErrNotAdmitted, "NotAdmitted"},
		{call.ErrNotAttested, "NotAttested"},
		{call.ErrNotProved, "NotProved"},
	} {
		if errors.Is(why, known.err) {
			return known.reason
		}
	}
	return "Failed"
}
