// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"incamera/cmd/internal/box"
	"incamera/cmd/internal/boxlink"
	"incamera/cmd/internal/kept"
	"incamera/device/panel"
	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
)

// The states of a set-up, as panels and the log show them.
const (
	needed    = "Needed"
	enrolling = "Enrolling"
	waiting   = "Waiting"
	done      = "Done"
)

// A progress is how far a set-up is, and what it last met.
type progress struct {
	state   string
	trouble string // of Enrolment/LastError; "" for none
	detail  string // in plain English
}

// show tells panels and the log.
func (s *setup) show(p progress) {
	s.mu.Lock()
	fresh := p.state != s.shown.state || p.trouble != s.shown.trouble
	s.shown = p
	chip := s.chip
	s.mu.Unlock()
	s.publish(func(tx *panel.Tx) {
		tx.Set("Setup/State", p.state)
		tx.Set("Enrolment/State", map[string]string{needed: "None", enrolling: enrolling, waiting: waiting, done: "Enrolled"}[p.state])
		optional(tx, "Setup/Detail", p.detail)
		optional(tx, "Enrolment/LastError", p.trouble)
		optional(tx, "Enrolment/Chip", chip)
	})
	if !fresh {
		return
	}
	attrs := []any{"state", p.state}
	if p.trouble != "" {
		attrs = append(attrs, "trouble", p.trouble, "detail", p.detail)
	}
	if chip != "" {
		attrs = append(attrs, "ek", chip)
	}
	s.log.Info("set-up", attrs...)
}

// optional sets a node, or removes it if there is nothing to say.
func optional(tx *panel.Tx, path, text string) {
	if text == "" {
		tx.Remove(path)
	} else {
		tx.Set(path, text)
	}
}

// trouble shows what was wrong with a command, and changes no state.
func (s *setup) trouble(what string) {
	s.mu.Lock()
	p := s.shown
	s.mu.Unlock()
	p.trouble = what
	s.show(p)
}

const (
	openTime  = 20 * time.Second // to open the box once
	setupStep = time.Second      // between two questions to the site
)

// open opens the box, which asks boxd for the serial number unless the image
// knows it.
func (s *setup) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	if s.at.Trust.Serial == "" {
		if s.at.Box == "" {
			return errors.New("no serial number: neither the image nor a box daemon says it")
		}
		status, err := boxlink.New(s.at.Box).Status(ctx)
		if err != nil {
			return fmt.Errorf("serial number: %w", err)
		}
		if status.Serial == "" {
			return errors.New("the box has no serial number")
		}
		s.at.Trust.Serial = status.Serial
	}
	b, err := openBox(context.WithoutCancel(ctx), s.at, s.log)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.box, s.chip = b, b.Chip()
	s.mu.Unlock()
	return nil
}

// enrol is the part that enrols the box. It returns nil once the room is there.
func (s *setup) enrol(ctx context.Context) error {
	if s.box == nil {
		if err := s.open(ctx); err != nil {
			s.show(progress{needed, "Failed", "the box cannot be opened: " + err.Error()})
			return err
		}
		s.stop()
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if err := os.MkdirAll(s.at.Identity, 0o700); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	id, m, err := s.enrolled()
	for err == nil && id == nil {
		id, m, err = s.begin(ctx)
	}
	if err == nil {
		err = s.finish(ctx, m, id)
	}
	if err != nil {
		return err
	}
	s.done = true
	s.stop()
	<-ctx.Done()
	return context.Cause(ctx)
}

// bring lets the part that enrols have an invitation, unless a person was faster.
func (s *setup) bring(i enrol.Invitation) {
	select {
	case s.invited <- i:
	default:
	}
}

// enrolled returns what a set-up that was cut short has left: an identity, if it
// came so far.
func (s *setup) enrolled() (*client.Identity, *client.Member, error) {
	id, err := client.ReadIdentity(filepath.Join(s.at.Identity, box.IdentityFile))
	if errors.Is(err, client.ErrNotEnrolled) {
		s.mu.Lock()
		text := s.notes.Invitation
		s.mu.Unlock()
		if invitation, err := enrol.ParseInvitation(text); err == nil {
			s.bring(invitation)
		}
		return nil, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	m, err := s.box.memberOf(s.at, id)
	return id, m, err
}

// begin takes an invitation and asks the site until it has an answer that will
// not change. It returns no identity if a person must bring another one.
func (s *setup) begin(ctx context.Context) (*client.Identity, *client.Member, error) {
	var invitation enrol.Invitation
	select {
	case invitation = <-s.invited:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	s.show(progress{state: enrolling, detail: "asking the site's verifier at " + invitation.Verifier})
	m := s.box.member(s.at, invitation.Key, invitation.Verifier)
	for {
		id, err := m.Join(ctx, client.Ticket{Code: invitation.Code.Text()})
		if err == nil {
			return id, m, nil
		}
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		p, final := s.judge(ctx, m, err)
		if final {
			s.log.Warn("not enrolled", "verifier", invitation.Verifier, "err", err)
			if err := s.note(func(d *draft) { d.Invitation = "" }); err != nil {
				return nil, nil, err
			}
			s.show(p)
			return nil, nil, nil
		}
		s.show(p)
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case newer := <-s.invited:
			s.bring(newer) // with which all begins anew
			return nil, nil, nil
		case <-time.After(setupStep):
		}
	}
}

// judge says what an error of the site means to a person, and whether asking
// again is of no use.
func (s *setup) judge(ctx context.Context, m *client.Member, err error) (p progress, final bool) {
	if errors.Is(err, client.ErrWaiting) {
		return progress{waiting, "", "the site's staff must admit the room"}, false
	}
	if unlisted(err) {
		return progress{waiting, "ChipUnknown", "the site's staff must list the security chip"}, false
	}
	if errors.Is(err, client.ErrUnavailable) {
		return progress{enrolling, "Unreachable", "the site's verifier at " + m.Verifier + " does not answer"}, false
	}
	if errors.Is(err, client.ErrIdentity) {
		return progress{needed, "OtherVerifier", "another machine answers in place of the site's verifier"}, true
	}
	if errors.Is(err, client.ErrRefused) {
		return progress{needed, "NotAttested", "the site did not accept the software" + reasons(ctx, m, err)}, true
	}
	if problem, ok := errors.AsType[*client.Problem](err); ok {
		if problem.Status >= http.StatusInternalServerError || problem.Status == http.StatusTooManyRequests {
			return progress{enrolling, "Unreachable", "the site's verifier cannot answer now"}, false
		}
		return progress{needed, "Refused", problem.Detail}, true
	}
	return progress{needed, "Failed", "the room's log says why"}, true
}

// finish writes what the site says of the room. The configuration comes last: it
// is what makes the box a room at the next start.
func (s *setup) finish(ctx context.Context, m *client.Member, id *client.Identity) error {
	c := s.image
	c.ID, c.Name = id.Room, id.Name
	t := *c.Trust
	t.Serial = s.at.Trust.Serial
	c.Trust = &t
	for {
		d, err := s.askDirectory(ctx, m, id)
		if err == nil {
			if err = errors.Join(c.use(d), c.check()); err == nil {
				if err = s.at.directoryFile().Save(d); err != nil {
					return err
				}
				break
			}
		}
		s.log.Warn("the site's directory is not known", "err", err)
		s.show(progress{enrolling, "Unreachable", "the site takes the room, and its directory is not known yet"})
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(setupStep):
		}
	}
	c.Rooms = nil // they are the directory's, also later
	if err := kept.File(s.path).Save(c); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if err := s.draft.Remove(); err != nil {
		s.log.Warn("what was entered is still there", "err", err)
	}
	s.show(progress{state: done})
	return nil
}

func (s *setup) askDirectory(ctx context.Context, m *client.Member, id *client.Identity) (directory, error) {
	ctx, cancel := context.WithTimeout(ctx, siteTimeout)
	defer cancel()
	return fetchDirectory(ctx, m, id)
}
