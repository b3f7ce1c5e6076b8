// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// NonceSize is the size of a challenge in bytes.
const NonceSize = 32

// MediaType is the content type of evidence: a CMW in CBOR (RFC 9999).
const MediaType = "application/cmw+cbor"

const (
	// A TPM on a slow bus needs a second for an evidence, and whoever asks
	// without end must not keep the room from using it: ten at once, then
	// one every two seconds.
	burst   = 10
	refill  = 2 * time.Second
	timeout = 20 * time.Second
)

// Handler answers GET /v1/attestation?nonce=, in base64url without padding.
// With key=leaf the evidence is about leaf, which may be nil, in place of the
// LDevID. Anyone may ask: the answer holds no secret, and the panel of any
// other room can challenge this one without a verifier. Errors are RFC 9457
// problems with a stable code.
func Handler(room *Room, leaf Key, log *slog.Logger) http.Handler {
	h := &handler{room: room, leaf: leaf, log: log, tokens: burst}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/attestation", h.serve)
	return mux
}

type handler struct {
	room *Room
	leaf Key
	log  *slog.Logger

	mu     sync.Mutex
	tokens float64
	last   time.Time
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	nonce, err := base64.RawURLEncoding.Strict().DecodeString(query.Get("nonce"))
	if err != nil || len(nonce) != NonceSize {
		problem(w, http.StatusBadRequest, "malformed", "nonce: 32 bytes in base64url without padding")
		return
	}
	s := Statement{Nonce: nonce}
	switch key := query.Get("key"); {
	case key == "leaf" && h.leaf != nil:
		s.Key = h.leaf
	case key != "" && key != "identity":
		problem(w, http.StatusBadRequest, "malformed", `key: "identity" or "leaf"`)
		return
	}
	if !h.take(time.Now()) {
		w.Header().Set("Retry-After", "2")
		problem(w, http.StatusTooManyRequests, "busy", "too many challenges; ask again in two seconds")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	cmw, err := h.room.Evidence(ctx, s)
	if err != nil {
		h.log.Warn("no evidence", "error", err)
		problem(w, http.StatusServiceUnavailable, "no_evidence", "the room could not make evidence; its log says why")
		return
	}
	w.Header().Set("Content-Type", MediaType)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(cmw) // the peer has gone, or not
}

// take takes a token if there is one.
func (h *handler) take(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.last.IsZero() {
		h.tokens = min(burst, h.tokens+float64(now.Sub(h.last))/float64(refill))
	}
	h.last = now
	if h.tokens < 1 {
		return false
	}
	h.tokens--
	return true
}

// problem writes an RFC 9457 document.
func problem(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct { // the peer has gone, or not
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}{"about:blank", http.StatusText(status), status, code, detail})
}
