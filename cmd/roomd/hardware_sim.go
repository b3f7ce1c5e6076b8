// SPDX-License-Identifier: Apache-2.0

//go:build !release

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"incamera/device/camera"
	"incamera/device/sim"
	"incamera/media/codec"
	"incamera/media/frame"
	"incamera/media/studio"
)

// The simulators, by their names in the configuration:
//
//	camera   sim                       the scripted scene of the room's name
//	         sim:file=PATH             a clip: .y4m, .ivf or .webm
//	sound    sim[:KEY=PATH,...]        microphone= a .wav in place of the scripted voice,
//	                                   speaker= a .wav that gets what is played
//	display  sim:ADDRESS               a web page on this computer
func simulate(hw *hardware, c config, room *roomState, log *slog.Logger) error {
	if arg, ok := argument(c.Camera); ok {
		if err := simulateCamera(hw, c.Name, arg); err != nil {
			return err
		}
	}
	speaker := &atomic.Pointer[sim.Duplex]{}
	if arg, ok := argument(c.Sound); ok {
		if err := simulateSound(hw, c.Name, arg, speaker); err != nil {
			return err
		}
	}
	if arg, ok := argument(c.Display); ok {
		return simulateDisplay(hw, arg, speaker, room, log)
	}
	return nil
}

// argument is what follows "sim" and a colon in the name of a device.
func argument(name string) (arg string, ok bool) {
	if name == "sim" {
		return "", true
	}
	return strings.CutPrefix(name, "sim:")
}

func simulateCamera(hw *hardware, room, arg string) error {
	const label = "sim"
	if path, ok := strings.CutPrefix(arg, "file="); ok {
		clip, err := sim.NewFileCamera(path, func() (sim.Decoder, error) { return codec.NewVP8Decoder() }, true)
		if err != nil {
			return err
		}
		if err := camera.Register(label, clip); err != nil {
			return err
		}
	} else if arg != "" {
		return fmt.Errorf("camera: %q: file=PATH, or nothing", arg)
	} else if err := camera.Register(label, sim.NewCamera(room, true)); err != nil {
		return err
	}
	hw.camera = func(ctx context.Context) (studio.Camera, error) { return openCamera(ctx, label) }
	return nil
}

func simulateSound(hw *hardware, room, arg string, speaker *atomic.Pointer[sim.Duplex]) error {
	s := sim.Sound{Room: room}
	for part := range strings.SplitSeq(arg, ",") {
		switch key, path, _ := strings.Cut(part, "="); key {
		case "microphone":
			s.File = path
		case "speaker":
			s.Record = path
		case "":
		default:
			return fmt.Errorf("sound: %q: microphone=PATH or speaker=PATH", part)
		}
	}
	if s.File != "" { // refused now, not when somebody calls
		if _, err := sim.ReadWAV(s.File); err != nil {
			return err
		}
	}
	hw.sound = func(context.Context) (duplex, error) {
		d, err := sim.NewDuplex(s)
		if err != nil {
			return nil, err
		}
		speaker.Store(d)
		return d, nil
	}
	return nil
}

// stageMode is the virtual display's: the size of the camera, so that a single
// room fills it pixel by pixel.
var stageMode = frame.Mode{Width: studio.Width, Height: studio.Height, Rate: 60}

func simulateDisplay(hw *hardware, addr string, speaker *atomic.Pointer[sim.Duplex], room *roomState, log *slog.Logger) error {
	if err := checkPanel(addr); err != nil { // it shows the meeting to whoever can reach it
		return fmt.Errorf("display: %w", err)
	}
	display, err := sim.NewDisplay(stageMode)
	if err != nil {
		return err
	}
	hw.surface = display
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { display.Handler(speaker.Load()).ServeHTTP(w, r) })
	mux.HandleFunc("POST /expect", func(_ http.ResponseWriter, r *http.Request) { display.Witness().Expect(r.URL.Query().Get("room")) })
	mux.HandleFunc("GET /sent", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(room.studio.Sent()) // whoever asked may be gone
	})
	hw.parts = append(hw.parts, listening("display", addr, func(ctx context.Context, ln net.Listener) error {
		server := &http.Server{
			Handler: http.NewCrossOriginProtection().Handler(mux), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		}
		stop := context.AfterFunc(ctx, func() { _ = server.Close() })
		defer stop()
		if err := server.Serve(ln); ctx.Err() == nil {
			return err
		}
		return context.Cause(ctx)
	}))
	return nil
}
