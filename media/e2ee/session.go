// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"incamera/media/mls"
)

// Errors on which a caller of a session acts.
var (
	// ErrRemoved is what Run returns once a commit has removed this room. The
	// caller tells the person, and may knock again.
	ErrRemoved = errors.New("e2ee: removed from the meeting")
	// ErrEnded means that Run has returned.
	ErrEnded = errors.New("e2ee: session has ended")
	// ErrPolicy means that a commit, or what was asked for, breaks a rule of
	// admission that holds for every room of the meeting.
	ErrPolicy = errors.New("e2ee: against the rules of admission")
	// ErrFork means that the relay's log and this room's group disagree. The
	// session sends nothing until a commit fits again; if none comes, the caller
	// knocks anew.
	ErrFork = errors.New("e2ee: log and group disagree")
	// ErrBusy means that too much waits already. The caller tries again later.
	ErrBusy = errors.New("e2ee: too many requests wait")
)

// MaxPayload bounds what Broadcast takes, in bytes.
const MaxPayload = 48 << 10

// A Session is this room's part in one meeting. Run owns the group; every other
// method may be called from any goroutine, and waits for Run if it has to.
type Session struct {
	set  *settings
	ring *Keyring
	snap atomic.Pointer[Epoch]

	group   *mls.Group // Run's, once it runs, as is the witness
	witness *witness
	running atomic.Bool
	done    chan struct{} // closed when Run returns

	delivered chan delivered
	asked     chan *wish
	said      chan said

	reappraise chan struct{} // with room for one

	pins pins

	mu       sync.Mutex
	removals []Member // asked for here and not in effect: see HoldRemoval
}

type delivered struct {
	message []byte
	done    chan error // with room for the answer
}

type said struct {
	payload []byte
	done    chan error
}

// Create begins a meeting with this room as its only member.
func Create(ctx context.Context, c Config, groupID []byte) (*Session, error) {
	set, err := c.checkAll()
	if err != nil {
		return nil, err
	}
	g, err := mls.Create(ctx, set.group(), groupID, required(), policy(set.Attestation.Mode))
	if err != nil {
		return nil, fmt.Errorf("e2ee: create: %w", err)
	}
	return newSession(set, g, g.Extensions())
}

// newSession takes over a group whose members it checks.
func newSession(set *settings, g *mls.Group, context []mls.Extension) (_ *Session, err error) {
	defer func() {
		if err != nil {
			g.Destroy()
		}
	}()
	witness, err := newWitness(set, g, context)
	if err != nil {
		return nil, err
	}
	s := &Session{
		set: set, ring: NewKeyring(), group: g, witness: witness,
		done:      make(chan struct{}),
		delivered: make(chan delivered),
		asked:     make(chan *wish),
		said:      make(chan said),

		reappraise: make(chan struct{}, 1),
	}
	s.pins.list, s.pins.ring = slices.Clone(set.Pins), s.ring
	e, err := s.roster(g, nil)
	if err != nil {
		return nil, err
	}
	witness.tell(e)
	s.pins.judge(e)
	if err := s.install(g, e); err != nil {
		return nil, err
	}
	if err := s.ring.SendWith(e.Number); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(e.Members, func(m Member) bool { return m.Lapsed && m.Leaf != e.Self }) {
		s.ring.Hold(HoldQuestion)
	}
	s.holdEvidence(e)
	s.snap.Store(e)
	return s, nil
}

// Keyring returns the media keys of the meeting. They are wiped when Run
// returns.
func (s *Session) Keyring() *Keyring { return s.ring }

// Epoch returns the newest epoch. The caller does not change its slices.
func (s *Session) Epoch() Epoch { return *s.snap.Load() }

// Deliver processes a message of the meeting's log: messages come one after
// another, in the order of the log, this room's own ones too. It returns an
// error if the message was refused, which changed nothing, and the cause of ctx
// if that ends first. What is known already is no error.
//
// [ErrFork] says that the log cannot be followed; [Session.Run] goes on.
func (s *Session) Deliver(ctx context.Context, message []byte) error {
	d := delivered{message: message, done: make(chan error, 1)}
	select {
	case s.delivered <- d:
	case <-s.done:
		return ErrEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return s.wait(ctx, d.done)
}

// Add lets in the room that offers keyPackage and waits until it is a member.
// The Welcome goes to the name that the caller gave to it. If a room with the
// same name and signature key is a member, the newcomer takes its place: it has
// restarted. Who may come in is the caller's to decide; Add verifies that the
// room is of a known site, that its certificate is valid, and that no member
// has its name or its key ([ErrIdentity], [ErrPolicy], [ErrClassical]), and that
// no other key is pinned under its name ([ErrPinned]).
// In a meeting of attested rooms only, a room whose evidence is missing, fails or
// is not fresh is [ErrNotAttested].
func (s *Session) Add(ctx context.Context, to string, keyPackage []byte) error {
	kp, m, err := s.candidate(keyPackage)
	if err != nil {
		return err
	}
	if err := s.checkPin(m); err != nil {
		return err
	}
	if s.snap.Load().Mode == AttestedOnly && !m.Verdict.Tier.Accepted() {
		return fmt.Errorf("%w: %s", ErrNotAttested, m.Verdict.Reason)
	}
	return s.ask(ctx, &wish{what: wishAdd, to: to, keyPackage: kp, who: m})
}

// Candidate says who knocks with a KeyPackage, and what this room makes of its
// evidence. The room is of a known site, its certificate is valid now, and it
// holds the signature key. Leaf and Since are 0.
func (s *Session) Candidate(keyPackage []byte) (Member, error) {
	_, m, err := s.candidate(keyPackage)
	return m, err
}

func (s *Session) candidate(keyPackage []byte) (*mls.KeyPackage, Member, error) {
	kp, m, err := s.set.candidate(keyPackage)
	if err == nil {
		m.Verdict = s.set.appraise(kp.Member(), nil, s.snap.Load().fresh).verdict
	}
	return kp, m, err
}

// Reappraise has Run judge the evidence of all members again, because reference
// values or the list of revoked rooms changed. The Observer hears the outcome; to
// put out a room whose enrolment was revoked is the caller's.
func (s *Session) Reappraise() {
	select {
	case s.reappraise <- struct{}{}:
	default: // one is asked for already
	}
}

// Remove puts a room out of the meeting and waits until it is out. From the
// call on this room sends nothing, until the room is out: whatever Remove
// returns, [HoldRemoval] stays until then. A caller that gives up releases it.
// A room cannot remove itself; it ends Run and lets another one remove it.
func (s *Session) Remove(ctx context.Context, leaf Leaf) error {
	e := s.snap.Load()
	m, ok := e.member(leaf)
	if !ok {
		return fmt.Errorf("%w: leaf %d is no member", ErrPolicy, leaf)
	}
	if leaf == e.Self {
		return fmt.Errorf("%w: a room cannot remove itself", ErrPolicy)
	}
	s.mu.Lock()
	s.removals = append(s.removals, m)
	s.mu.Unlock()
	s.ring.Hold(HoldRemoval)
	return s.ask(ctx, &wish{what: wishRemove, who: m})
}

// Rotate renews this room's keys with an empty commit and waits until it is in
// effect. Run does so by itself from time to time.
func (s *Session) Rotate(ctx context.Context) error {
	return s.ask(ctx, &wish{what: wishRotate})
}

// Broadcast sends payload to all members, at most [MaxPayload] bytes, and waits
// until it is handed to the Delivery. The others get it as an Observer's
// Message, in the order of the log. One that three commits overtook on its way
// is lost, so what must arrive is repeated until it is answered.
func (s *Session) Broadcast(ctx context.Context, payload []byte) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("e2ee: payload of %d bytes, at most %d", len(payload), MaxPayload)
	}
	m := said{payload: payload, done: make(chan error, 1)}
	select {
	case s.said <- m:
	case <-s.done:
		return ErrEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return s.wait(ctx, m.done)
}

func (s *Session) ask(ctx context.Context, w *wish) error {
	w.ctx, w.done = ctx, make(chan error, 1)
	select {
	case s.asked <- w:
	case <-s.done:
		return ErrEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return s.wait(ctx, w.done)
}

func (s *Session) wait(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.done:
		select {
		case err := <-done: // the answer was the last thing that Run did
			return err
		default:
			return ErrEnded
		}
	}
}

// checkAll is check, and what takes part in a meeting needs besides.
func (c Config) checkAll() (*settings, error) {
	if c.Delivery == nil || c.Observer == nil {
		return nil, errors.New("e2ee: configuration lacks a Delivery or an Observer")
	}
	return c.check()
}
