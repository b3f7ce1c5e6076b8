// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"net/http"

	"incamera/device/pairing"
)

// A pinState is what the page needs before a PIN is typed.
type pinState struct {
	Window    string
	Salt      string
	TriesLeft int
}

// servePairPIN is the first of the two requests of SPAKE2+.
func (s *Server) servePairPIN(w http.ResponseWriter, r *http.Request) {
	p, refusal := s.pairBody(r, "Window", "Key", "Name", "Share")
	if refusal != nil {
		s.problem(w, r, refusal)
		return
	}
	key, ok := p.bytes("Key")
	share, also := p.bytes("Share")
	window, name := p.string("Window"), p.string("Name")
	if !ok || !also || len(window) > maxText || len(name) > 4*maxText {
		s.problem(w, r, refusef(InvalidParams, "Window and Name are texts, Key and Share are base64url without padding"))
		return
	}
	a, err := s.pairing.PIN(r.Context(), pairing.PINRequest{Window: window, Key: key, Name: name, Share: share, Origin: r.Header.Get("Origin")})
	if err != nil {
		s.problem(w, r, pairRefusal(err))
		return
	}
	s.write(w, r, struct{ Attempt, Share, Confirm string }{
		a.Attempt, base64url.EncodeToString(a.Share), base64url.EncodeToString(a.Confirm),
	})
}

// servePairConfirm is the second.
func (s *Server) servePairConfirm(w http.ResponseWriter, r *http.Request) {
	p, refusal := s.pairBody(r, "Attempt", "Confirm")
	if refusal != nil {
		s.problem(w, r, refusal)
		return
	}
	confirm, ok := p.bytes("Confirm")
	attempt := p.string("Attempt")
	if !ok || len(attempt) > maxText {
		s.problem(w, r, refusef(InvalidParams, "Attempt is a text, Confirm is base64url without padding"))
		return
	}
	g, err := s.pairing.ConfirmPIN(attempt, confirm)
	if err != nil {
		s.problem(w, r, pairRefusal(err))
		return
	}
	s.granted(w, r, g)
}
