// SPDX-License-Identifier: Apache-2.0

package studio

import (
	"context"
	"time"

	"incamera/media/audio"
	"incamera/media/call"
	"incamera/media/compose"
	"incamera/media/e2ee"
)

// Show implements [call.Media]: it puts the call on the stage, and lets people
// hear that a room calls, comes or goes.
func (s *Studio) Show(status call.Status) {
	s.mu.Lock()
	before := s.status
	s.status = status
	s.mu.Unlock()
	s.chime(before, status)
	s.redraw()
}

// SetLayout arranges the stage.
func (s *Studio) SetLayout(l compose.Layout) {
	s.mu.Lock()
	s.layout = l
	s.mu.Unlock()
	s.redraw()
}

// ShowSelf shows this room on its own stage, or not.
func (s *Studio) ShowSelf(on bool) {
	s.mu.Lock()
	s.self = on
	s.mu.Unlock()
	s.redraw()
}

// RunClock keeps the time on an idle stage until ctx is done, and returns its
// cause.
func (s *Studio) RunClock(ctx context.Context) error {
	for {
		s.redraw()
		next := time.Now().Truncate(time.Minute).Add(time.Minute)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Until(next)):
		}
	}
}

func (s *Studio) redraw() {
	if s.config.Stage == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config.Stage.SetScene(s.scene(time.Now()))
}

// scene is what the stage shows now. The caller holds the lock.
func (s *Studio) scene(now time.Time) compose.Scene {
	scene := compose.Scene{Layout: s.layout}
	for _, m := range s.status.Members {
		if s.status.State != call.Connected || m.Self {
			continue
		}
		scene.Tiles = append(scene.Tiles, compose.Tile{
			ID: tileOf(m.Leaf), Name: m.Name,
			Badge: badge(m.Verdict.Tier),
			Muted: m.SaysMuted && !m.Counts.Heard, CameraOff: m.SaysCameraOff,
			Lost: m.Link == call.LinkLost, Speaking: m.Counts.Heard,
		})
	}
	if len(scene.Tiles) == 0 {
		scene.Card = s.card(now)
		return scene
	}
	if s.self {
		scene.SelfView = compose.SelfCorner
		scene.Self = &compose.Tile{ID: selfID, Name: s.config.Name, Muted: s.status.Muted, CameraOff: s.status.CameraOff}
	}
	return scene
}

// badge is what the stage shows of a verdict.
func badge(t e2ee.Tier) compose.Badge {
	switch t {
	case e2ee.Affirming:
		return compose.Verified
	case e2ee.Warning:
		return compose.Caution
	case e2ee.Contraindicated:
		return compose.Failed
	case e2ee.None, e2ee.Awaited:
	}
	return compose.Unverified
}

// card is what an empty stage says.
func (s *Studio) card(now time.Time) *compose.Card {
	c := &compose.Card{Title: s.config.Name, Clock: now.Format("15:04")}
	switch s.status.State {
	case call.Idle:
		c.Lines = []string{"Touch a room on the panel to call it"}
	case call.Calling:
		c.Title, c.Calling = "Calling "+s.status.Peer, true
	case call.Ringing:
		c.Title, c.Calling = s.status.Peer+" is calling", true
		c.Lines = []string{"Touch Answer on the panel"}
	case call.Joining:
		c.Title, c.Lines = s.config.Name, []string{"Joining the meeting"}
	case call.InLobby:
		c.Lines = []string{"Waiting to be admitted"}
	case call.Reconnecting:
		c.Lines = []string{"Returning to the meeting"}
	case call.Connected:
		c.Lines = []string{"Nobody else is here"}
	case call.Leaving:
		c.Lines = []string{"Leaving"}
	}
	return c
}

// chime plays what the change sounds like.
func (s *Studio) chime(before, now call.Status) {
	came, went := len(now.Members) > len(before.Members), len(now.Members) < len(before.Members)
	switch {
	case now.State == call.Ringing && before.State != call.Ringing:
		s.config.Chime.Play(audio.Ring)
	case now.State == call.Connected && (came || before.State != call.Connected):
		s.config.Chime.Play(audio.Join)
	case went:
		s.config.Chime.Play(audio.Leave)
	case before.State == call.Ringing && now.State != call.Ringing:
		s.config.Chime.Play(audio.NoTune)
	}
}
