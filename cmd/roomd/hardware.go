// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"incamera/cmd/internal/supervise"
	"incamera/device/camera"
	"incamera/device/sound"
	"incamera/media/compose"
	"incamera/media/studio"
)

// hardware is what the room has. A field that is nil is a device that it has
// not.
type hardware struct {
	camera  func(context.Context) (studio.Camera, error)
	sound   func(context.Context) (duplex, error)
	surface compose.Surface
	parts   []supervise.Part // what simulators run
}

// none is the name of a device that the room has not, by intention.
const none = "none"

// newHardware finds the devices that the configuration names. It opens none.
func newHardware(c config, log *slog.Logger, room *roomState) (*hardware, error) {
	hw := &hardware{}
	var simulated []string
	for _, device := range []struct{ what, name string }{{"camera", c.Camera}, {"sound", c.Sound}, {"display", c.Display}} {
		if name, ok := strings.CutPrefix(device.name, "sim"); ok && (name == "" || name[0] == ':') {
			simulated = append(simulated, device.what)
		}
	}
	if len(simulated) > 0 {
		if err := simulate(hw, c, room, log); err != nil {
			return nil, fmt.Errorf("configuration: %s: %w", strings.Join(simulated, ", "), err)
		}
	}
	if c.Camera != none && hw.camera == nil {
		if strings.HasPrefix(c.Camera, "/dev/") {
			if err := camera.Register(c.Camera, camera.NewVideo(c.Camera)); err != nil {
				return nil, fmt.Errorf("configuration: %w", err)
			}
		}
		hw.camera = func(ctx context.Context) (studio.Camera, error) {
			// A camera may have been plugged in since; what is wrong with
			// another one is no reason not to open this.
			if err := camera.RegisterAll(camera.Roots{}); err != nil {
				log.Debug("cameras left out", "err", err)
			}
			return openCamera(ctx, c.Camera)
		}
	}
	if c.Sound != none && hw.sound == nil {
		name := c.Sound
		if name == "default" {
			name = ""
		}
		hw.sound = func(context.Context) (duplex, error) {
			device, err := sound.Open(sound.Config{Capture: name, Play: name})
			if err != nil {
				return nil, err // not device: a nil pointer in an interface is not nil
			}
			return device, nil
		}
	}
	if c.Display != none && hw.surface == nil {
		return nil, fmt.Errorf("configuration: display: %q: only %q in this release", c.Display, none)
	}
	return hw, nil
}

// openCamera opens a registered camera in the mode of meetings.
func openCamera(ctx context.Context, label string) (studio.Camera, error) {
	source, err := camera.Open(ctx, label, studio.Width, studio.Height, studio.Rate)
	if err != nil {
		return nil, err // not source: a nil pointer in an interface is not nil
	}
	return source, nil
}
