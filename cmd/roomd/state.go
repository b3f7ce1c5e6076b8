// SPDX-License-Identifier: Apache-2.0

package main

import (
	"sync"
	"time"

	"incamera/device/panel"
	"incamera/media/audio"
	"incamera/media/compose"
	"incamera/media/studio"
)

// roomState is what panels set of the room itself, outside calls, and what the
// room tells them of its devices.
type roomState struct {
	server    *panel.Server // set before anything runs, as are the next three
	publisher *publisher
	studio    *studio.Studio
	mixer     *audio.Mixer

	opened  func()     // told that the camera could be opened
	calling func(bool) // told whether a call runs; it does not block

	mu     sync.Mutex
	silent bool // as last published
	told   bool
}

func newRoomState() *roomState { return &roomState{opened: func() {}, calling: func(bool) {}} }

// filmed takes why there is no camera, or nil when there is one.
func (r *roomState) filmed(err error) {
	r.condition("camera", err, "Check the camera's cable.")
	if err == nil {
		r.opened()
	}
}

// begin publishes where everything stands at the start.
func (r *roomState) begin(rooms []directoryEntry) {
	r.publisher.directory(rooms)
	r.server.Publish(func(tx *panel.Tx) {
		tx.Set("Audio/Volume", r.mixer.Volume())
		tx.Set("Audio/Silent", true)
		tx.Set("Video/Camera/Cover", "None")
		tx.Set("Video/Selfview", false)
		tx.Set("Stage/Layout", "Speaker")
	})
}

func (r *roomState) setVolume(percent int) {
	r.mixer.SetVolume(percent)
	r.server.Publish(func(tx *panel.Tx) { tx.Set("Audio/Volume", r.mixer.Volume()) })
}

// volumeStep is one step of the panel's buttons, in percent.
const volumeStep = 5

func (r *roomState) stepVolume(steps int) { r.setVolume(r.mixer.Volume() + steps*volumeStep) }

func (r *roomState) showSelf(on bool) {
	r.studio.ShowSelf(on)
	r.server.Publish(func(tx *panel.Tx) { tx.Set("Video/Selfview", on) })
}

func (r *roomState) setLayout(name string) error {
	layout, ok := map[string]compose.Layout{"Speaker": compose.SpeakerLayout, "Grid": compose.GridLayout}[name]
	if !ok {
		return &panel.Refusal{Reason: panel.NotSupportedByHardware, Detail: "no room shares content"}
	}
	r.studio.SetLayout(layout)
	r.server.Publish(func(tx *panel.Tx) { tx.Set("Stage/Layout", name) })
	return nil
}

// levels takes the report of the sound loop, ten times a second.
func (r *roomState) levels(l audio.Report) {
	r.mu.Lock()
	changed := !r.told || l.Muted != r.silent
	r.told, r.silent = true, l.Muted
	r.mu.Unlock()
	r.server.Publish(func(tx *panel.Tx) {
		tx.Set("Audio/Levels/In", percentOf(l.Heard))
		tx.Set("Audio/Levels/Out", percentOf(l.Played))
		if changed {
			tx.Set("Audio/Silent", l.Muted)
		}
	})
}

// percentOf puts a level on the panel's scale: 60 dB below full scale is 0.
func percentOf(l audio.Level) int { return int(min(max(100+l.Peak*100/60, 0), 100)) }

// condition raises the named condition while err is set.
func (r *roomState) condition(name string, err error, remedy string) {
	r.server.Publish(func(tx *panel.Tx) {
		if err == nil {
			tx.Remove("Diagnostics/Conditions/" + name)
			return
		}
		tx.Set("Diagnostics/Conditions/"+name, map[string]any{
			"Severity": "Error", "Since": time.Now().UTC().Format(time.RFC3339), "Remedy": remedy,
		})
	})
}
