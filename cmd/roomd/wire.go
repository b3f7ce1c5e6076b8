// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"

	"incamera/cmd/internal/supervise"
	"incamera/device/panel"
	"incamera/media/call"
	"incamera/media/codec"
	"incamera/media/compose"
	"incamera/media/e2ee"
	"incamera/media/mls"
	"incamera/media/peer"
	"incamera/media/relay"
	"incamera/media/studio"
)

// collectAt makes the collector run when the heap has grown by half. The media
// path allocates nothing in the steady state, so this costs little, and a room
// stays within its 150 MB.
const collectAt = 50

// wire joins the islands: it makes the parts of the daemon, in the order in
// which they start, and opens nothing.
func wire(ctx context.Context, c config, id *identity, place *standing, log *slog.Logger) ([]supervise.Part, error) {
	codec.BoundMemory()
	debug.SetGCPercent(collectAt)
	var rooms *directory // nil: the configuration names the rooms
	if c.Rooms == nil {
		rooms = &directory{}
		if err := c.useKept(rooms); err != nil {
			return nil, err
		}
	}
	room := newRoomState()
	hw, err := newHardware(c, log, room)
	if err != nil {
		return nil, err
	}
	end, err := newSpeakerphone(hw, room, log)
	if err != nil {
		return nil, err
	}
	var stage *compose.Stage
	if hw.surface != nil {
		words := compose.English
		words.Unverified = "not attested" // as the panel says
		if stage, err = compose.New(hw.surface, words); err != nil {
			return nil, err
		}
	}
	room.studio = studio.New(studio.Config{
		Name: c.Name, Camera: hw.camera, Mixer: end.mixer, Chime: end.chime, Loop: end.loop, Stage: stage,
		Log: log.With("part", "studio"), OnCamera: room.filmed,
	})
	end.heard = room.studio.Heard
	room.mixer = end.mixer

	engine, server, err := newEngine(c, id, place, room, log)
	if err != nil {
		return nil, err
	}
	deps := depsOf(controls{engine, room})
	way := &doors{}
	if place != nil {
		if way, err = newDoors(ctx, &c, c.ID, place.box.TPM, log.With("part", "pairing")); err != nil {
			return nil, err
		}
		deps.Pairing = way.keeper
	}
	house := newHousehold(&c, hw, place, room, log)
	house.equip(&deps)
	room.server = panel.New(panel.Room{ID: c.ID, Name: c.Name, Version: version}, deps, log.With("part", "panel"))
	room.publisher = &publisher{server: room.server}
	room.begin(c.Rooms)
	if place != nil {
		place.show(room.server, c.self)
	}

	parts := []supervise.Part{listening("relay", c.relayListen(), server.Serve)}
	if hw.sound != nil {
		parts = append(parts, supervise.Part{Name: "sound", Run: end.run})
	}
	if stage != nil {
		parts = append(parts,
			supervise.Part{Name: "stage", Run: running(stage.Run)},
			supervise.Part{Name: "clock", Run: running(room.studio.RunClock)})
	}
	parts = append(parts, hw.parts...)
	parts = append(parts,
		supervise.Part{Name: "call", Run: running(func(ctx context.Context) error {
			defer room.studio.Wait()
			return engine.Run(ctx)
		})},
		listening("panel", c.Panel, house.watched(room.server.Serve)))
	parts = append(parts, way.parts(room.server)...)
	if place != nil {
		f := &follower{standing: place, engine: engine, rooms: rooms, reached: house.reached}
		f.learned = func(ctx context.Context, d directory) { room.learn(ctx, &c, engine, d, log) }
		parts = append(parts, place.parts(c, f)...)
	}
	return append(parts, house.parts()...), nil
}

func newEngine(c config, id *identity, place *standing, room *roomState, log *slog.Logger) (*call.Engine, *relay.Server, error) {
	signer, err := mls.SignerFrom(id.key)
	if err != nil {
		return nil, nil, fmt.Errorf("identity: %w", err)
	}
	hop, err := peer.NewAPI(peer.Options{Loopback: isLoopback(c.Relay), Log: log.With("part", "hop")})
	if err != nil {
		return nil, nil, err
	}
	credentials := relay.Credentials{Certificate: id.tls, SiteCA: id.site}
	var attestation e2ee.Attestation
	if place != nil {
		attestation = place.attestation(c.Trust.Mode)
	}
	engine, err := call.New(call.Config{
		Name: c.Name, Address: c.Relay, Rooms: callRooms(c.Rooms),
		Group: e2ee.Config{
			Signer: signer, Chain: id.chain, Sites: id.site, Attestation: attestation, Log: log.With("part", "group"),
		},
		Relay:  credentials,
		Hop:    hop,
		Media:  room.studio,
		Memory: newMemory(c.State),
		Log:    log.With("part", "call"),
		OnStatus: func(s call.Status) {
			room.publisher.show(s)
			room.calling(s.State != call.Idle)
		},
	})
	if err != nil {
		return nil, nil, err
	}
	server, err := relay.New(relay.Options{
		Credentials: credentials, Owner: c.Name, Rings: engine, Log: log.With("part", "relay"),
	})
	if err != nil {
		return nil, nil, err
	}
	if server.Identity().Name != c.Name {
		return nil, nil, fmt.Errorf("identity: the certificate is of %q, the configuration of %q", server.Identity().Name, c.Name)
	}
	return engine, server, nil
}

func depsOf(c controls) panel.Deps {
	return panel.Deps{Calls: c, Audio: c, Video: c, Stage: c, Lobby: c}
}

// isLoopback reports whether a room's relay can be reached from its own
// computer only; its media then stay there, too.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && net.ParseIP(host).IsLoopback()
}

// listening is a part that serves at an address.
func listening(name, addr string, serve func(context.Context, net.Listener) error) supervise.Part {
	return supervise.Part{Name: name, Run: func(ctx context.Context, ready func()) error {
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("%w: if another program has the port, stop it, or give the %s another address in the configuration", err, name)
		}
		ready()
		return serve(ctx, ln)
	}}
}

// running is a part that is ready at once.
func running(run func(context.Context) error) func(context.Context, func()) error {
	return func(ctx context.Context, ready func()) error {
		ready()
		return run(ctx)
	}
}
