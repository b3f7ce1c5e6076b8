// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"html/template"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Handler returns the interface over HTTP, the page included. Every request
// must name this room as its host, and a browser's must come from its own page.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/ws", s.serveSocket)
	mux.HandleFunc("GET /v1/events", s.serveEvents)
	mux.HandleFunc("GET /v1/status", s.serveStatus)
	mux.HandleFunc("GET /v1/status/{path...}", s.serveStatus)
	mux.HandleFunc("POST /v1/command/{path...}", s.serveCommand)
	mux.HandleFunc("GET /v1/pairing", s.servePairing)
	mux.HandleFunc("POST /v1/pairing/link", s.servePairLink)
	mux.HandleFunc("POST /v1/pairing/pin", s.servePairPIN)
	mux.HandleFunc("POST /v1/pairing/pin/confirm", s.servePairConfirm)
	mux.HandleFunc("POST /v1/pairing/commit", s.servePairCommit)
	mux.HandleFunc("GET /v1/errors/{reason}", s.serveReason)
	mux.HandleFunc("/v1/", s.serveElse)
	mux.HandleFunc("/", s.servePage)
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(s.foreign))
	return s.guard(cross.Handler(mux))
}

// guard refuses foreign names, against pages elsewhere that resolve to this
// room, and bounds what is read.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		if !s.ownName(r) || !sameOrigin(r) {
			s.foreign(w, r)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		next.ServeHTTP(w, r)
	})
}

// ownName reports whether the host that r names, with or without a port, is this
// room.
func (s *Server) ownName(r *http.Request) bool {
	name := r.Host
	if h, port, err := net.SplitHostPort(name); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false
		}
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if name == "localhost" {
		return true
	}
	if addr, err := netip.ParseAddr(name); err == nil && addr.IsLoopback() && addr.Zone() == "" {
		return true
	}
	if ownAddress(r, name) {
		return true
	}
	return name != "" && slices.ContainsFunc(s.room.Hosts, func(own string) bool { return strings.EqualFold(own, name) })
}

// sameOrigin reports whether the request comes from the page of the host that
// it names, or from no page at all. Browsers send Origin with WebSockets, with
// posts and with streams from elsewhere.
func sameOrigin(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	u, err := url.Parse(origins[0])
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return err == nil && len(origins) == 1 && u.Scheme == scheme && strings.EqualFold(u.Host, r.Host)
}

func (s *Server) foreign(w http.ResponseWriter, r *http.Request) {
	s.problem(w, r, refusef(ForbiddenRole, "this is not the room's own page or name"))
}

// problem answers with a problem of RFC 9457. It is the only place where a
// refusal becomes a status.
func (s *Server) problem(w http.ResponseWriter, r *http.Request, refusal *Refusal) {
	m := meanings[refusal.Reason]
	ref := correlation()
	level := s.log.DebugContext
	if refusal.Reason == Internal {
		level = s.log.ErrorContext
	}
	level(r.Context(), "request refused", "path", r.URL.Path, "reason", string(refusal.Reason), "correlation_id", ref, "err", refusal)
	text, err := encode(struct {
		Type     string `json:"type"`
		Title    string `json:"title"`
		Status   int    `json:"status"`
		Detail   string `json:"detail"`
		Instance string `json:"instance"`
		Code     int    `json:"code"`
		errorData
	}{"/v1/errors/" + string(refusal.Reason), m.title, m.status, refusal.detail(), r.URL.Path, m.code, refusal.data(ref)})
	if err != nil {
		s.log.ErrorContext(r.Context(), "problem not encoded", "err", err)
	}
	if refusal.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((refusal.RetryAfter+time.Second-1)/time.Second)))
	}
	if m.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "GET, HEAD")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(m.status)
	_, _ = w.Write(append(text, '\n')) // fails only if the client is gone
}

// httpClient is who sends an HTTP request. On loopback a panel names itself, by
// header or, where a browser can set none, in the query.
func (s *Server) httpClient(r *http.Request) (client, *Refusal) {
	if r.TLS != nil {
		return s.pairedClient(r)
	}
	name := r.Header.Get("In-Camera-Panel")
	if asked := r.URL.Query().Get("panel"); asked != "" {
		name = asked
	}
	return s.clientOf(name, "http")
}

func (s *Server) serveStatus(w http.ResponseWriter, r *http.Request) {
	c, refusal := s.httpClient(r)
	if refusal == nil {
		if wait := s.limits.read(c.by, time.Now()); wait > 0 {
			refusal = &Refusal{Reason: RateLimited, RetryAfter: wait}
		}
	}
	path := "Status"
	if refusal == nil && r.PathValue("path") != "" {
		var b *branch
		if path, b = fromKebab("Status", r.PathValue("path")); b == nil {
			refusal = refusef(UnknownPath, "there is no such node")
		}
	}
	var got reading
	if refusal == nil {
		got, refusal = s.store.get(path, c.role)
	}
	if refusal != nil {
		s.problem(w, r, refusal)
		return
	}
	text, err := encode(got.Value)
	if err != nil {
		s.problem(w, r, refusalOf(err))
		return
	}
	sum := sha256.Sum256(text)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:12])+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(append(text, '\n')))
}

func (s *Server) serveCommand(w http.ResponseWriter, r *http.Request) {
	c, refusal := s.httpClient(r)
	if refusal != nil {
		s.problem(w, r, refusal)
		return
	}
	path, b := fromKebab("Command", r.PathValue("path"))
	if b == nil || b.node == nil {
		s.problem(w, r, refusef(UnknownMethod, "there is no such command"))
		return
	}
	members, refusal := body(r)
	if refusal != nil {
		s.problem(w, r, refusal)
		return
	}
	result, refusal := s.do(r.Context(), c, path, members, r.Header.Get("Idempotency-Key"))
	if refusal != nil {
		s.problem(w, r, refusal)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(slices.Clip(result), '\n')) //nolint:gosec // JSON, never markup; fails only if the client is gone
}

// body reads the parameters of a command. No body is no parameters.
func body(r *http.Request) (map[string]any, *Refusal) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, &Refusal{Reason: InvalidRequest, Detail: "the body could not be read, or is longer than 65536 bytes", Err: err}
	}
	if len(data) == 0 {
		return map[string]any{}, nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, refusef(InvalidRequest, "the Content-Type must be application/json")
	}
	v, refusal := parse(data)
	if refusal != nil {
		return nil, refusal
	}
	members, ok := v.(map[string]any)
	if !ok {
		return nil, refusef(InvalidParams, "the body must be an object")
	}
	return members, nil
}

// serveElse answers what no method and path above took.
func (s *Server) serveElse(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1/status/") && r.Method != http.MethodGet && r.Method != http.MethodHead:
		s.problem(w, r, refusef(ReadOnly, "the state can only be read"))
	case strings.HasPrefix(r.URL.Path, "/v1/command/"):
		s.problem(w, r, refusef(InvalidRequest, "a command is posted"))
	default:
		s.problem(w, r, refusef(UnknownPath, "there is nothing here"))
	}
}

var reasonPage = template.Must(template.New("reason").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.Title}}</title>
<h1>{{.Title}}</h1>
<p>{{.Remedy}}</p>
<p>Reason <code>{{.Reason}}</code>, code {{.Code}}, HTTP status {{.Status}}.</p>
</html>
`))

// serveReason explains a reason, offline.
func (s *Server) serveReason(w http.ResponseWriter, r *http.Request) {
	reason := Reason(r.PathValue("reason"))
	m, known := meanings[reason]
	if !known {
		s.problem(w, r, refusef(UnknownPath, "there is no such reason"))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	err := reasonPage.Execute(w, struct {
		Title, Remedy string
		Reason        Reason
		Code, Status  int
	}{m.title, m.remedy, reason, m.code, m.status})
	if err != nil {
		s.log.DebugContext(r.Context(), "page not written", "err", err)
	}
}
