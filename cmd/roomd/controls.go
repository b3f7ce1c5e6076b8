// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/hex"
	"errors"

	"incamera/device/panel"
	"incamera/media/call"
)

// controls lets panels act on the engine: it carries the arguments over and
// puts the engine's errors into the panel's words.
type controls struct {
	engine *call.Engine
	room   *roomState
}

// Start implements [panel.Calls], as do the methods up to Remove.
func (c controls) Start(ctx context.Context, room string) (string, error) {
	id, err := c.engine.Start(ctx, room)
	return id, refusal(err)
}

func (c controls) Answer(ctx context.Context, callID string) error {
	return refusal(c.engine.Answer(ctx, callID))
}

func (c controls) Decline(ctx context.Context, callID string) error {
	return refusal(c.engine.Leave(ctx, callID))
}

func (c controls) Leave(ctx context.Context, callID string) error {
	return refusal(c.engine.Leave(ctx, callID))
}

func (c controls) EndForAll(ctx context.Context, callID string) error {
	return refusal(c.engine.EndForAll(ctx, callID))
}

func (c controls) Remove(ctx context.Context, member, credential string) error {
	hash, err := credentialHash(credential)
	if err != nil {
		return err
	}
	return refusal(c.engine.Remove(ctx, member, hash))
}

// Admit implements [panel.LobbyControl], as does Refuse.
func (c controls) Admit(ctx context.Context, id, credential string) error {
	hash, err := credentialHash(credential)
	if err != nil {
		return err
	}
	return refusal(c.engine.Admit(ctx, id, hash))
}

func (c controls) Refuse(ctx context.Context, id, credential string) error {
	hash, err := credentialHash(credential)
	if err != nil {
		return err
	}
	return refusal(c.engine.Refuse(ctx, id, hash))
}

// Mute implements [panel.AudioControl], as do the methods up to StepVolume.
func (c controls) Mute(ctx context.Context) error { return refusal(c.engine.SetMuted(ctx, true)) }

func (c controls) Unmute(ctx context.Context) error { return refusal(c.engine.SetMuted(ctx, false)) }

func (c controls) SetVolume(_ context.Context, percent int) error {
	c.room.setVolume(percent)
	return nil
}

func (c controls) StepVolume(_ context.Context, steps int) error {
	c.room.stepVolume(steps)
	return nil
}

// SendCamera implements [panel.VideoControl], as does ShowSelf.
func (c controls) SendCamera(ctx context.Context, on bool) error {
	return refusal(c.engine.SetCameraOff(ctx, !on))
}

func (c controls) ShowSelf(_ context.Context, on bool) error {
	c.room.showSelf(on)
	return nil
}

// SetLayout implements [panel.StageControl].
func (c controls) SetLayout(_ context.Context, layout string) error {
	return c.room.setLayout(layout)
}

// refusal says an engine's error in the panel's words. What it does not know
// stays an error of ours.
func refusal(err error) error {
	for _, known := range []struct {
		err    error
		reason panel.Reason
	}{
		{call.ErrUnknownRoom, panel.ValueOutOfRange},
		{call.ErrBusy, panel.BusyInCall},
		{call.ErrNoCall, panel.TargetChanged},
		{call.ErrNoMember, panel.TargetChanged},
		{call.ErrNoKnock, panel.TargetChanged},
		{context.DeadlineExceeded, panel.Timeout},
	} {
		if errors.Is(err, known.err) {
			return &panel.Refusal{Reason: known.reason, Err: err}
		}
	}
	return err
}

func credentialHash(text string) (hash [32]byte, err error) {
	if n, err := hex.Decode(hash[:], []byte(text[:min(len(text), 64)])); err != nil || n != len(hash) || len(text) != 64 {
		return hash, panel.Refuse(panel.TargetChanged)
	}
	return hash, nil
}
