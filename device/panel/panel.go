// SPDX-License-Identifier: Apache-2.0

// Package panel is the room's public interface: JSON-RPC 2.0 over WebSocket and
// the same tree over HTTP, for the touch panel, for roomctl and for scripts of
// integrators alike. There is no other door.
//
// Who comes in over loopback sits at the room's own computer and may look after
// it ([Server.Serve]); who comes in over TLS is paired and has the role that
// pairing gave ([Server.ServePaired]).
//
// The package shows state and owns none. The wirer publishes what the call
// engine, the hardware and the group say ([Server.Publish]); panels read it,
// follow it and ask for changes, which go through the small interfaces of
// [Deps]. A result means that a command was accepted; that it is done is what
// the state says.
//
// Every name of the tree is declared once, in [Nodes]. No picture and no sound
// crosses this interface.
package panel

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"incamera/device/pairing"
	"incamera/device/panel/ui"
)

// A Room says who this room is.
type Room struct {
	ID      string // stable, such as "ic-7f3a"
	Name    string // for people, such as "Lyon 3"
	Version string // of the firmware
	// Hosts are the names and addresses, without ports, that a browser may have
	// in its address bar for this room. Loopback names are always allowed.
	Hosts []string
}

// Calls is the part of the call engine that people drive. A method returns once
// the engine has accepted or refused; what it started goes on and shows in the
// published state. The context ends after 10 s and carries [By]. An error that
// people should understand is a [Refusal]; any other is told as "internal".
type Calls interface {
	// Start rings the room of the directory and returns the id of the new call.
	// In a meeting it invites that room to it.
	Start(ctx context.Context, room string) (callID string, err error)
	Answer(ctx context.Context, callID string) error
	Decline(ctx context.Context, callID string) error
	// Leave ends this room's part of the call, and also withdraws a call that
	// still rings or joins.
	Leave(ctx context.Context, callID string) error
	EndForAll(ctx context.Context, callID string) error
	// Remove puts a member out of the meeting. The server has checked that the
	// credential is the one the roster shows.
	Remove(ctx context.Context, member, credential string) error
}

// AudioControl is the room's microphone switch and loudspeaker. Errors and
// context as in [Calls].
type AudioControl interface {
	Mute(ctx context.Context) error
	// Unmute clears the panels' mute. It is refused with [HardwareMuteActive]
	// while the key holds it.
	Unmute(ctx context.Context) error
	SetVolume(ctx context.Context, percent int) error // 0 to 100
	StepVolume(ctx context.Context, steps int) error  // -20 to 20, not 0
}

// VideoControl is the camera and the room's view of itself on the stage.
// Errors and context as in [Calls].
type VideoControl interface {
	SendCamera(ctx context.Context, on bool) error
	ShowSelf(ctx context.Context, on bool) error
}

// StageControl is the layout of the stage. Errors and context as in [Calls].
type StageControl interface {
	SetLayout(ctx context.Context, layout string) error // Speaker, Grid or Content
}

// LobbyControl decides who comes in. The server has checked that the credential
// is the one that the panels show. Errors and context as in [Calls].
type LobbyControl interface {
	Admit(ctx context.Context, id, credential string) error
	Refuse(ctx context.Context, id, credential string) error
}

// Deps is what commands act on. What is nil is refused with
// [NotSupportedByHardware].
type Deps struct {
	Calls Calls
	Audio AudioControl
	Video VideoControl
	Stage StageControl
	Lobby LobbyControl

	System    SystemControl
	Network   NetworkControl
	Enrolment EnrolmentControl
	Updates   UpdateControl

	Pairing *pairing.Keeper // run by the caller; with it the room can be served by ServePaired
}

// A Server holds what panels see. Its methods may be called from any goroutine.
type Server struct {
	room     Room
	boot     string
	started  time.Time
	log      *slog.Logger
	store    *store
	commands map[string]command
	memory   *memory
	limits   *limits
	page     *page
	role     Role // of a client on this computer
	pairing  *pairing.Keeper

	closing   chan struct{} // closed when Serve drains
	closeOnce sync.Once

	mu       sync.Mutex
	sessions int // open WebSocket sessions and event streams
	serial   int // numbers the sessions that do not name themselves

	live map[[sha256.Size]byte]string // the panel of each session in which one proved itself, by the hash of its token
}

// New makes the interface of a room. It starts nothing.
func New(room Room, deps Deps, log *slog.Logger) *Server {
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails
	now := time.Now()
	s := &Server{
		room:    room,
		boot:    hex.EncodeToString(id[:]),
		started: now,
		log:     log,
		memory:  newMemory(),
		limits:  newLimits(),
		page:    newPage(ui.Files()),
		role:    RolePanel | RoleFacilities, // who sits at the room's own computer has the box in hand
		pairing: deps.Pairing,
		closing: make(chan struct{}),
		live:    map[[sha256.Size]byte]string{},
	}
	s.store = newStore(s.boot, log)
	s.commands = newCommands(deps, s.store)
	s.store.live("Status/System/UptimeS", func() any { return int(time.Since(now) / time.Second) })
	s.Publish(func(tx *Tx) {
		tx.Set("System/Name", room.Name)
		tx.Set("System/Id", room.ID)
		tx.Set("System/Version", room.Version)
		tx.Set("System/BootId", s.boot)
		tx.Set("Call/State", "Idle")
	})
	return s
}

// Publish changes what panels see. All that f does through tx appears at once;
// f runs without a lock and must not keep tx. What the declared nodes do not
// allow is left out and logged as an error of the caller.
func (s *Server) Publish(f func(tx *Tx)) {
	tx := &Tx{}
	f(tx)
	s.store.apply(tx)
}

// Serve answers on l, which only this computer may reach unless it speaks TLS,
// until ctx is done. It then lets requests that run finish for up to 5 s, closes
// every session and returns the cause of ctx.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	hs := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second, // a command is 64 KiB at most
		// Writes have their deadlines in the handlers: event streams never end.
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan error, 1)
	go func() { stopped <- hs.Serve(l) }()
	select {
	case err := <-stopped:
		s.Close()
		return err
	case <-ctx.Done():
	}
	s.Close()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := hs.Shutdown(grace); err != nil {
		_ = hs.Close() // what is left after the grace is cut
	}
	if err := <-stopped; !errors.Is(err, http.ErrServerClosed) {
		s.log.WarnContext(ctx, "panel listener ended", "err", err)
	}
	return context.Cause(ctx)
}

// Close ends every session and refuses what comes after with [ShuttingDown]. It
// may be called twice.
func (s *Server) Close() { s.closeOnce.Do(func() { close(s.closing) }) }

type byKey struct{}

// By returns the id of the panel that gave the command of ctx, to publish with
// [Tx.By] what comes of it. It is empty outside a command.
func By(ctx context.Context) string {
	by, _ := ctx.Value(byKey{}).(string)
	return by
}
