// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"
)

// commandTime is how long what executes a command may think: the answer says
// only that it is accepted.
const commandTime = 10 * time.Second

// A client is who asks.
type client struct {
	by   string // the panel's id
	role Role
}

// params are the checked parameters of a command.
type params map[string]any

func (p params) text(name string) string { s, _ := p[name].(string); return s }
func (p params) number(name string) int  { n, _ := p[name].(int); return n }
func (p params) flag(name string) bool   { f, _ := p[name].(bool); return f }
func (p params) list(name string) []string {
	l, _ := p[name].([]string)
	return l
}

// A command does one thing. What it returns becomes the result.
type command func(ctx context.Context, p params) (any, error)

// started is the result of Call/Start.
type started struct {
	CallID string `json:"CallId"`
}

// accepted is the result of a command that has nothing to tell.
type accepted struct{}

// newCommands wires each declared command to what executes it. Where a command
// carries what a person saw, it is compared with what the panels show; the
// executor checks again, as time has passed since.
func newCommands(d Deps, seen *store) map[string]command {
	call := func(do func(context.Context, string) error) command {
		return func(ctx context.Context, p params) (any, error) {
			switch seen.text("Status/Call/CallId") {
			case "":
				return nil, Refuse(NotInCall)
			case p.text("CallId"):
				return accepted{}, do(ctx, p.text("CallId"))
			}
			return nil, Refuse(TargetChanged)
		}
	}
	who := func(in, id string, do func(ctx context.Context, id, credential string) error) command {
		return func(ctx context.Context, p params) (any, error) {
			key, credential := p.text(id), p.text("Credential")
			if credential == "" || !validID.MatchString(key) || seen.text(in+"/"+key+"/Credential") != credential {
				return nil, Refuse(TargetChanged)
			}
			return accepted{}, do(ctx, key, credential)
		}
	}
	plain := func(do func(context.Context, params) error) command {
		return func(ctx context.Context, p params) (any, error) { return accepted{}, do(ctx, p) }
	}
	m := map[string]command{}
	if c := d.Calls; c != nil {
		m["Command/Call/Start"] = func(ctx context.Context, p params) (any, error) {
			room := p.text("Room")
			if !validID.MatchString(room) || !seen.has("Status/Directory/Rooms/"+room) {
				return nil, &Refusal{Reason: TargetChanged, Detail: "no such room in the directory"}
			}
			id, err := c.Start(ctx, room)
			return started{id}, err
		}
		m["Command/Call/Answer"] = call(c.Answer)
		m["Command/Call/Decline"] = call(c.Decline)
		m["Command/Call/Leave"] = call(c.Leave)
		m["Command/Call/EndForAll"] = call(c.EndForAll)
		m["Command/Roster/Remove"] = who("Status/Roster/Members", "Member", c.Remove)
	}
	if l := d.Lobby; l != nil {
		m["Command/Lobby/Admit"] = who("Status/Lobby/Waiting", "Id", l.Admit)
		m["Command/Lobby/Refuse"] = who("Status/Lobby/Waiting", "Id", l.Refuse)
	}
	if a := d.Audio; a != nil {
		m["Command/Audio/Mute"] = plain(func(ctx context.Context, _ params) error { return a.Mute(ctx) })
		m["Command/Audio/Unmute"] = plain(func(ctx context.Context, _ params) error { return a.Unmute(ctx) })
		m["Command/Audio/SetVolume"] = plain(func(ctx context.Context, p params) error { return a.SetVolume(ctx, p.number("Volume")) })
		m["Command/Audio/StepVolume"] = plain(func(ctx context.Context, p params) error {
			if p.number("Steps") == 0 {
				return &Refusal{Reason: ValueOutOfRange, Detail: "Steps must not be 0", Path: "Steps"}
			}
			return a.StepVolume(ctx, p.number("Steps"))
		})
	}
	if v := d.Video; v != nil {
		m["Command/Video/CameraOff"] = plain(func(ctx context.Context, _ params) error { return v.SendCamera(ctx, false) })
		m["Command/Video/CameraOn"] = plain(func(ctx context.Context, _ params) error { return v.SendCamera(ctx, true) })
		m["Command/Video/SetSelfview"] = plain(func(ctx context.Context, p params) error { return v.ShowSelf(ctx, p.flag("On")) })
	}
	if st := d.Stage; st != nil {
		m["Command/Stage/SetLayout"] = plain(func(ctx context.Context, p params) error { return st.SetLayout(ctx, p.text("Layout")) })
	}
	addFacilities(m, d, seen)
	addPairing(m, d.Pairing)
	return m
}

// silences is the one command that no limit ever holds up.
const silences = "Command/Audio/Mute"

// quiet lists commands that come by the dozen and harm nobody.
var quiet = map[string]bool{
	"Command/Audio/SetVolume": true, "Command/Audio/StepVolume": true, "Command/Stage/SetLayout": true,
}

// do runs the command at path for c. The key makes a repetition harmless; it
// may be empty.
func (s *Server) do(ctx context.Context, c client, path string, members map[string]any, key string) (json.RawMessage, *Refusal) {
	result, refusal := s.admit(ctx, c, path, members, key)
	if quiet[path] && refusal == nil {
		return result, nil
	}
	switch {
	case refusal == nil:
		s.log.InfoContext(ctx, "command", "path", path, "by", c.by)
	case refusal.Reason == Internal:
		s.log.ErrorContext(ctx, "command failed", "path", path, "by", c.by, "err", refusal)
	default:
		s.log.InfoContext(ctx, "command refused", "path", path, "by", c.by, "reason", string(refusal.Reason), "err", refusal)
	}
	return result, refusal
}

func (s *Server) admit(ctx context.Context, c client, path string, members map[string]any, key string) (json.RawMessage, *Refusal) {
	b := lookup(path)
	if b == nil || b.node == nil || b.node.Kind != Command {
		return nil, refusef(UnknownMethod, "there is no such command")
	}
	if s.closed() {
		return nil, &Refusal{Reason: ShuttingDown, RetryAfter: 5 * time.Second}
	}
	if !c.role.includes(b.node.Role) {
		return nil, refusef(ForbiddenRole, "this needs the role %s", b.node.Role)
	}
	if path != silences {
		if wait := s.limits.command(c.by, time.Now()); wait > 0 {
			return nil, &Refusal{Reason: RateLimited, RetryAfter: wait}
		}
	}
	p, refusal := fitFields(b.node.Fields, members)
	if refusal != nil {
		return nil, refusal
	}
	if key == "" {
		return s.execute(ctx, c, path, p)
	}
	sum, err := encode(p) // the keys of a map are written in order
	if err != nil {
		return nil, refusalOf(err)
	}
	e, first, refusal := s.memory.begin(c.by, key, sha256.Sum256(append([]byte(path+"\n"), sum...)), time.Now())
	if refusal != nil {
		return nil, refusal
	}
	if first {
		e.result, e.refusal = s.execute(ctx, c, path, p)
		close(e.done)
	}
	select {
	case <-e.done:
		return e.result, e.refusal
	case <-ctx.Done():
		return nil, &Refusal{Reason: Timeout, Err: context.Cause(ctx)}
	}
}

// execute runs what is admitted. A command outlives the connection that brought
// it: who touched Leave and lost the network has still left.
func (s *Server) execute(ctx context.Context, c client, path string, p params) (json.RawMessage, *Refusal) {
	run := s.commands[path]
	if run == nil {
		return nil, refusef(NotSupportedByHardware, "this room has nothing that does it")
	}
	ctx, cancel := context.WithTimeout(context.WithValue(context.WithoutCancel(ctx), byKey{}, c.by), commandTime)
	defer cancel()
	result, err := run(ctx, p)
	if err == nil {
		var raw json.RawMessage
		if raw, err = encode(result); err == nil {
			return raw, nil
		}
	}
	if _, told := errors.AsType[*Refusal](err); !told && errors.Is(err, context.DeadlineExceeded) {
		return nil, &Refusal{Reason: Timeout, Err: err}
	}
	return nil, refusalOf(err)
}

// has reports whether anything is at or below path.
func (s *store) has(path string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.holds(path)
}

func (s *Server) closed() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// correlation names one failure, so that what a person reads out can be found
// in the log.
func correlation() string { return rand.Text()[:8] }
