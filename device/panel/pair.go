// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"incamera/device/pairing"
)

// cookieName keeps the cookie to this host and to TLS (RFC 6265bis, section
// 4.1.3.2). Alone it opens nothing.
const cookieName = "__Host-ic"

// cookieTime is as long as browsers keep any cookie; each session renews it.
const cookieTime = 400 * 24 * time.Hour

var base64url = base64.RawURLEncoding.Strict()

func setCookie(w http.ResponseWriter, cookie string) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: cookie, Path: "/", MaxAge: int(cookieTime / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}

// roleOf returns what a paired panel may do. A role that a newer release gave
// is none.
func roleOf(r pairing.Role) Role {
	switch r {
	case pairing.PanelRole:
		return RolePanel
	case pairing.Facilities:
		return RolePanel | RoleFacilities
	}
	return RoleNone
}

// stranger takes one request of who has not proved itself, by where it comes
// from.
func (s *Server) stranger(r *http.Request) *Refusal {
	if wait := s.limits.stranger(placeOf(r.RemoteAddr), time.Now()); wait > 0 {
		return &Refusal{Reason: RateLimited, RetryAfter: wait}
	}
	return nil
}

// placeOf is the address that requests are counted by. One host has a whole /64
// of IPv6.
func placeOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if addr = addr.Unmap(); addr.Is6() {
		prefix, _ := addr.WithZone("").Prefix(64) // fits every IPv6 address
		return prefix.String()
	}
	return addr.String()
}

// cookied returns the paired panel whose cookie the request has, and a channel
// that is closed when it is unpaired.
func (s *Server) cookied(r *http.Request) (pairing.Panel, <-chan struct{}, *Refusal) {
	none := refusef(NotPaired, "this panel is not paired with the room")
	c, err := r.Cookie(cookieName)
	if err != nil || s.pairing == nil {
		return pairing.Panel{}, nil, none
	}
	p, gone, err := s.pairing.ByCookie(c.Value)
	if err != nil {
		return pairing.Panel{}, nil, none
	}
	return p, gone, nil
}

// tokenHeader carries what the answer to Session.Prove gave to the page. A cookie
// that somebody stole opens nothing, even while its panel is connected.
const tokenHeader = "In-Camera-Session" //nolint:gosec // a name, no secret

// unpaired reports whether a browser over TLS needs the page of pairing.
func (s *Server) unpaired(r *http.Request) bool {
	if r.TLS == nil {
		return false
	}
	_, _, refusal := s.cookied(r)
	return refusal != nil
}

// pairedClient is who sends a request over TLS: a panel whose cookie it has, and
// that has proved itself in a session that is open and that the request names.
func (s *Server) pairedClient(r *http.Request) (client, *Refusal) {
	p, _, refusal := s.cookied(r)
	if refusal == nil && !s.proven(p.ID, r.Header.Get(tokenHeader)) {
		refusal = refusef(NotAuthenticated, "there is no open session in which the panel proved its key")
	}
	if refusal != nil {
		if slow := s.stranger(r); slow != nil {
			return client{}, slow
		}
		return client{}, refusal
	}
	return client{by: p.ID, role: roleOf(p.Role)}, nil
}

func (s *Server) proven(panel, token string) bool {
	hash := sha256.Sum256([]byte(token))
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[hash] == panel
}

// begin notes that a panel opened a session in which it proved itself. It
// returns the session's token, and what ends it.
func (s *Server) begin(panel string) (token string, end func()) {
	token = rand.Text()
	hash := sha256.Sum256([]byte(token)) // a look-up by it tells nothing by its time
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[hash] = panel
	return token, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.live, hash)
	}
}

// A pairingState is what everybody may know.
type pairingState struct {
	API  string `json:"Api"`
	Room struct {
		ID   string `json:"Id"`
		Name string
	}
	Window struct {
		Open        bool
		Role        pairing.Role `json:",omitempty"`
		LockedUntil *time.Time   `json:",omitempty"`

		Pin            *pinState  `json:",omitempty"`
		PinLockedUntil *time.Time `json:",omitempty"`
	}
	Paired bool // who asks has the cookie of a panel
}

func (s *Server) servePairing(w http.ResponseWriter, r *http.Request) {
	refusal := s.stranger(r)
	if refusal == nil && s.pairing == nil {
		refusal = refusef(NotSupportedByHardware, "this room pairs no panels")
	}
	if refusal != nil {
		s.problem(w, r, refusal)
		return
	}
	now, _ := s.pairing.State()
	out := pairingState{API: "1.0"}
	out.Room.ID, out.Room.Name = s.room.ID, s.store.text("Status/System/Name")
	out.Window.Open, out.Window.Role = now.Open, now.Role
	if !now.LockedUntil.IsZero() {
		out.Window.LockedUntil = &now.LockedUntil
	}
	if !now.PINLockedUntil.IsZero() {
		out.Window.PinLockedUntil = &now.PINLockedUntil
	}
	if p := now.PIN; p != nil {
		out.Window.Pin = &pinState{p.Window, base64url.EncodeToString(p.Salt), p.TriesLeft}
	}
	_, _, none := s.cookied(r)
	out.Paired = none == nil
	s.write(w, r, out)
}

func (s *Server) servePairLink(w http.ResponseWriter, r *http.Request) {
	p, refusal := s.pairBody(r, "Window", "Key", "Name", "Proof")
	if refusal != nil {
		s.problem(w, r, refusal)
		return
	}
	key, ok := p.bytes("Key")
	proof, also := p.bytes("Proof")
	window, name := p.string("Window"), p.string("Name")
	if !ok || !also || len(window) > maxText || len(name) > 4*maxText {
		s.problem(w, r, refusef(InvalidParams, "Window and Name are texts, Key and Proof are base64url without padding"))
		return
	}
	g, err := s.pairing.Link(pairing.LinkRequest{Window: window, Key: key, Name: name, Proof: proof, Origin: r.Header.Get("Origin")})
	if err != nil {
		s.problem(w, r, pairRefusal(err))
		return
	}
	s.granted(w, r, g)
}

// granted answers a right proof.
func (s *Server) granted(w http.ResponseWriter, r *http.Request, g pairing.Grant) {
	setCookie(w, g.Cookie)
	s.write(w, r, struct {
		Panel string
		Role  pairing.Role
		Proof string `json:",omitempty"`
	}{g.Panel, g.Role, base64url.EncodeToString(g.Proof)})
}

func (s *Server) servePairCommit(w http.ResponseWriter, r *http.Request) {
	p, refusal := s.pairBody(r, "Panel", "Signature")
	if refusal != nil {
		s.problem(w, r, refusal)
		return
	}
	signature, ok := p.bytes("Signature")
	c, err := r.Cookie(cookieName)
	if !ok || err != nil {
		s.problem(w, r, refusef(InvalidParams, "there must be a Signature in base64url, and the cookie"))
		return
	}
	err = s.pairing.Commit(r.Context(), pairing.CommitRequest{
		Panel: p.string("Panel"), Cookie: c.Value, Origin: r.Header.Get("Origin"), Signature: signature,
	})
	if err != nil {
		s.problem(w, r, pairRefusal(err))
		return
	}
	s.write(w, r, accepted{})
}

// pairBody reads what a browser sends while it is paired: from the room's own
// page, over TLS, and not too often.
func (s *Server) pairBody(r *http.Request, names ...string) (asked, *Refusal) {
	switch {
	case s.pairing == nil || r.TLS == nil:
		return nil, refusef(NotSupportedByHardware, "panels are paired over TLS")
	case r.Header.Get("Origin") == "":
		return nil, refusef(ForbiddenRole, "this is for the room's own page")
	}
	if refusal := s.stranger(r); refusal != nil {
		return nil, refusal
	}
	members, refusal := body(r)
	if refusal != nil {
		return nil, refusal
	}
	return members, asked(members).only(names...)
}

func (p asked) string(name string) string { v, _ := p[name].(string); return v }

func (p asked) bytes(name string) ([]byte, bool) {
	text, ok := p[name].(string)
	if !ok || len(text) > maxText {
		return nil, false
	}
	out, err := base64url.DecodeString(text)
	return out, err == nil && base64url.EncodeToString(out) == text
}

// write answers with v in JSON.
func (s *Server) write(w http.ResponseWriter, r *http.Request, v any) {
	text, err := encode(v)
	if err != nil {
		s.problem(w, r, refusalOf(err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n')) // fails only if the client is gone
}

// pairRefusal says an error of pairing in the panel's words.
func pairRefusal(err error) *Refusal {
	if locked, ok := errors.AsType[*pairing.LockedError](err); ok {
		return &Refusal{Reason: PairingLocked, RetryAfter: max(time.Second, time.Until(locked.Until)), Err: err}
	}
	for _, known := range []struct {
		err    error
		reason Reason
		detail string
	}{
		{pairing.ErrClosed, PairingClosed, ""},
		{pairing.ErrNoPIN, PairingClosed, "there is no PIN, use the link"},
		{pairing.ErrWrong, NotAuthenticated, "the proof is wrong"},
		{pairing.ErrBusy, RateLimited, ""},
		{pairing.ErrFull, Conflict, "there are as many panels as the room takes; unpair one"},
		{pairing.ErrUnknown, NotPaired, ""},
		{pairing.ErrStore, StorageFailed, ""},
		{pairing.ErrKey, InvalidParams, "Key is not a public key of P-256"},
		{context.DeadlineExceeded, Timeout, ""},
	} {
		if errors.Is(err, known.err) {
			r := &Refusal{Reason: known.reason, Detail: known.detail, Err: err}
			if known.reason == RateLimited {
				r.RetryAfter = time.Second
			}
			return r
		}
	}
	return refusalOf(err)
}
