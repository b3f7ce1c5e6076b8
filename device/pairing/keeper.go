// SPDX-License-Identifier: Apache-2.0

// Package pairing decides which panels may control the room. A panel is paired
// once, in a window of three minutes, by a link or a PIN that only the room
// itself shows; from then on a key that never leaves the panel is all that
// counts.
//
// The wirer opens a [Keeper] on a file of the encrypted disk, runs it, and gives
// it to package panel, which carries the messages of browsers:
//
//	cert, err := pairing.LoadCertificate("/var/lib/in-camera/panel.pem", names)
//	keeper, err := pairing.Open(ctx, pairing.Options{
//		Path:    "/var/lib/in-camera/panels.json",
//		Room:    func() string { return "ic-7f3a" },
//		Pin:     pairing.PinOf(cert),
//		Port:    443,
//		Guesses: provision.NewGuesses(chip),
//		Display: pairing.NewNotice("/run/in-camera-roomd/pairing", log),
//	}, log)
//	go keeper.Run(ctx)
//	server := panel.New(room, panel.Deps{Pairing: keeper}, log)
//	go server.ServePaired(ctx, listener, cert)
//
// While the room was never paired a window is always open, one after another,
// each with fresh secrets; who pairs in it has the role Facilities. Afterwards
// only a client with that role opens one. Nothing else does: no network that is
// missing, no clock that is wrong, no restart.
//
// A browser shows its key by WebCrypto and cannot see the TLS session. Against a
// man in the middle whose certificate people clicked away, this protocol keeps
// the room's secret and the panel's key, and not the session.
//
// Wrong answers are counted before they are answered: those to the PIN in the
// TPM, those to the link in the list of panels. Five close what they were given
// to, for a minute, then for longer; anybody in the network can do that to the
// PIN, and only who has seen the room's display to the link.
package pairing

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	windowTime = 3 * time.Minute
	commitTime = 60 * time.Second // for the panel to store its key and say so
	guessTime  = 10 * time.Second // for the counter

	addressTime = 5 * time.Second // between looks at the addresses, while links are shown
	maxTries    = 5
	maxPanels   = 64
)

// locks is how long no window opens after the first, second, third and any
// later five wrong answers. It runs anew from each start, so that pulling the
// plug gains nothing.
var locks = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}

// A GuessCounter counts attempts where neither a power cut nor another disk takes
// one back.
type GuessCounter interface {
	// Count returns a number that Add raises by one and nothing lowers.
	Count(ctx context.Context) (uint64, error)
	// Add counts one more and returns the new number.
	Add(ctx context.Context) (uint64, error)
}

// A Display tells the people at the room how to pair. It is called by
// [Keeper.Run] alone, and what it shows must reach nobody else: it holds the
// secret.
type Display interface {
	Show(w Window) // a window opened; it replaces the one before
	Hide()         // none is open
}

// Options say what a keeper works on.
type Options struct {
	Path    string        // of the list of panels; its folder exists
	Room    func() string // the room's id
	Pin     [32]byte      // SHA-256 of the public key of the TLS certificate, see [PinOf]
	Port    uint16        // of the panel's TLS listener, for the links
	Names   []string      // of the room in the network, for the links
	Guesses GuessCounter  // of PINs; nil: there is no PIN, only the link
	Display Display       // what Run shows windows on
}

// Errors that a client is told apart.
var (
	// ErrClosed means that the window is over, or was never there: the person
	// needs the link that the room shows now.
	ErrClosed = errors.New("pairing: no such window is open")
	// ErrWrong is every proof that does not fit.
	ErrWrong = errors.New("pairing: the proof is wrong")
	// ErrNoPIN means that only the link pairs: the counter of guesses is dead.
	ErrNoPIN = errors.New("pairing: there is no PIN")
	// ErrBusy means that another attempt is being checked.
	ErrBusy = errors.New("pairing: another attempt is being checked")
	// ErrFull means that a panel must be unpaired first.
	ErrFull = errors.New("pairing: there are as many panels as the room takes")
	// ErrUnknown means that no such panel is paired.
	ErrUnknown = errors.New("pairing: no such panel")
	// ErrStore means that the list of panels could not be written; nothing has
	// changed.
	ErrStore = errors.New("pairing: the list of panels cannot be written")
)

// A LockedError means that too many answers of this kind were wrong.
type LockedError struct{ Until time.Time }

func (e *LockedError) Error() string {
	return "pairing: locked after wrong answers until " + e.Until.Format(time.RFC3339)
}

// A State is what people with the role Facilities see of pairing.
type State struct {
	Open        bool
	Role        Role
	Until       time.Time // of the window
	TriesLeft   int       // with wrong proofs of the link
	LockedUntil time.Time // no window opens before; zero: not locked
	Panels      []Panel   // in the order in which they were paired

	PIN            *PINState // nil: the window has none, or it was used up
	PINLockedUntil time.Time // no window has a PIN before
	Failed         int       // attempts since the start of the room
}

// A PINState is what a browser needs to know before it takes the PIN.
type PINState struct {
	Window    string
	Salt      []byte
	TriesLeft int
}

// A Keeper owns the list of panels and the window. Its methods may be called
// from any goroutine.
type Keeper struct {
	o    Options
	log  *slog.Logger
	wake chan struct{} // tells Run that a deadline moved

	attempts sync.Mutex // held by the one attempt that is checked

	mu        sync.Mutex
	book      book
	gone      map[string]chan struct{} // by panel, closed when it is unpaired
	window    *Window
	guess     *guess     // a PIN that was answered and not yet confirmed
	waiting   *candidate // confirmed, not yet stored by its panel
	guesses   uint64     // of PINs since the last panel was paired
	failed    int        // attempts since the start
	locked    time.Time
	pinLocked time.Time
	dead      bool          // the counter failed since the start: there are no PINs
	changed   chan struct{} // closed and replaced at each change
}

// Open reads the list of panels, and begins one where there is none. A list
// that cannot be read is an error: to take it for an empty one would let the
// next person at the room pair.
func Open(ctx context.Context, o Options, log *slog.Logger) (*Keeper, error) {
	k := &Keeper{
		o: o, log: log, wake: make(chan struct{}, 1), gone: map[string]chan struct{}{}, changed: make(chan struct{}),
	}
	b, err := loadBook(o.Path)
	if err != nil {
		return nil, err
	}
	count, counted := k.count(ctx)
	k.dead = !counted
	fresh := b == nil
	if fresh {
		b = &book{Version: bookVersion}
	}
	if counted && b.Baseline == nil {
		b.Baseline, fresh = &count, true
	}
	if fresh {
		if err := b.save(o.Path); err != nil {
			return nil, err
		}
	}
	k.book = *b
	for _, p := range k.book.Panels {
		k.gone[p.ID] = make(chan struct{})
	}
	if counted {
		k.guesses = maxTries // a counter below its baseline is another chip's
		if count >= *k.book.Baseline {
			k.guesses = count - *k.book.Baseline
		}
	}
	now := time.Now()
	k.locked, k.pinLocked = lock(k.book.Wrong, now), lock(k.guesses, now)
	return k, nil
}

func (k *Keeper) count(ctx context.Context) (uint64, bool) {
	if k.o.Guesses == nil {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, guessTime)
	defer cancel()
	n, err := k.o.Guesses.Count(ctx)
	if err != nil {
		k.log.ErrorContext(ctx, "pairing attempts cannot be read", "err", err)
	}
	return n, err == nil
}

// lock returns until when there is no further try, after so many wrong answers.
func lock(wrong uint64, now time.Time) time.Time {
	level := wrong / maxTries
	if level == 0 {
		return time.Time{}
	}
	return now.Add(locks[min(level, uint64(len(locks)))-1])
}

// State returns the present state, and a channel that is closed at the next
// change.
func (k *Keeper) State() (State, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := State{
		TriesLeft: triesLeft(k.book.Wrong), Panels: slices.Clone(k.book.Panels),
		LockedUntil: k.locked, PINLockedUntil: k.pinLocked, Failed: k.failed,
	}
	if w := k.window; w != nil {
		s.Open, s.Role, s.Until = true, w.Role, w.Until
		if d := w.digits; d != nil {
			s.PIN = &PINState{base64url.EncodeToString(d.nonce[:]), d.salt[:], triesLeft(k.guesses)}
		}
	}
	return s, k.changed
}

func triesLeft(wrong uint64) int { return maxTries - int(wrong%maxTries) }
