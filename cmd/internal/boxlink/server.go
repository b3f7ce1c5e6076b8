// SPDX-License-Identifier: Apache-2.0

package boxlink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"incamera/cmd/internal/strict"
)

const mediaJSON = "application/json"

// stall is how long a bundle may come to a halt on its way, on a slow network.
const stall = 2 * time.Minute

// prompt is how long a small request may be on its way.
const prompt = 10 * time.Second

// linger is how long a client that was answered may go on sending.
const linger = time.Second

// Handler serves a box. A body other than a bundle is read whole, within limits,
// before the box sees anything of it. A client that hangs up ends the context of
// its call.
func Handler(b Box, log *slog.Logger) http.Handler {
	m := http.NewServeMux()
	add := func(pattern string, serve func(w http.ResponseWriter, r *http.Request) (any, error)) {
		m.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
				log.Error("connection", "err", err)
				return
			}
			answer, err := serve(w, r)
			reply(w, log.With("call", pattern), answer, err)
			drain(w, r)
		})
	}
	add("GET /v1/status", func(_ http.ResponseWriter, r *http.Request) (any, error) {
		return b.Status(r.Context())
	})
	add("POST /v1/install", func(w http.ResponseWriter, r *http.Request) (any, error) {
		older, err := olderOf(r)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		return b.Install(ctx, &stream{r.Body, http.NewResponseController(w), cancel}, older)
	})
	add("GET /v1/stick", func(_ http.ResponseWriter, r *http.Request) (any, error) {
		list, err := b.Stick(r.Context())
		return append([]Bundle{}, list...), err // never null
	})
	add("POST /v1/import", func(w http.ResponseWriter, r *http.Request) (any, error) {
		i, err := read[importRequest](w, r)
		if err != nil {
			return nil, err
		}
		return b.Import(r.Context(), i.Name, i.Older)
	})
	add("POST /v1/health", func(w http.ResponseWriter, r *http.Request) (any, error) {
		h, err := read[Health](w, r)
		if err != nil {
			return nil, err
		}
		return nothing{}, b.Health(r.Context(), h)
	})
	add("POST /v1/restart", func(w http.ResponseWriter, r *http.Request) (any, error) {
		q, err := read[restartRequest](w, r)
		if err != nil {
			return nil, err
		}
		return nothing{}, b.Restart(r.Context(), q.Reason)
	})
	add("POST /v1/reset", func(w http.ResponseWriter, r *http.Request) (any, error) {
		q, err := read[resetRequest](w, r)
		if err != nil {
			return nil, err
		}
		return nothing{}, b.Reset(r.Context(), q.Serial)
	})
	add("GET /v1/network", func(_ http.ResponseWriter, r *http.Request) (any, error) {
		return b.Network(r.Context())
	})
	add("PUT /v1/network", func(w http.ResponseWriter, r *http.Request) (any, error) {
		n, err := read[Network](w, r)
		if err != nil {
			return nil, err
		}
		return nothing{}, b.SetNetwork(r.Context(), n)
	})
	add("POST /v1/network/confirm", func(w http.ResponseWriter, r *http.Request) (any, error) {
		if _, err := read[nothing](w, r); err != nil {
			return nil, err
		}
		return nothing{}, b.ConfirmNetwork(r.Context())
	})
	return m
}

// olderOf reads the query, which has one member and no other.
func olderOf(r *http.Request) (bool, error) {
	switch r.URL.RawQuery {
	case "", "older=0":
		return false, nil
	case "older=1":
		return true, nil
	}
	return false, &Refusal{BadRequest, "query"}
}

// read reads a request, which has the members of T and no others.
func read[T any](w http.ResponseWriter, r *http.Request) (v T, err error) {
	if r.Header.Get("Content-Type") != mediaJSON {
		return v, &Refusal{BadRequest, "not JSON"}
	}
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(prompt)); err != nil {
		return v, fmt.Errorf("boxlink: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return v, fmt.Errorf("boxlink: %w", err)
	}
	switch {
	case err != nil:
		return v, &Refusal{BadRequest, "cut short"}
	case len(b) > maxRequest:
		return v, &Refusal{BadRequest, fmt.Sprintf("more than %d bytes", maxRequest)}
	}
	if err := strict.Decode(b, &v); err != nil {
		return v, &Refusal{BadRequest, "not the members prescribed"}
	}
	return v, nil
}

func reply(w http.ResponseWriter, log *slog.Logger, answer any, err error) {
	status := http.StatusOK
	if err != nil {
		refusal, ok := errors.AsType[*Refusal](err)
		switch {
		case !ok && (errors.Is(err, context.Canceled) || errors.Is(err, errGone)):
			refusal = &Refusal{Cancelled, "cancelled"}
		case !ok:
			log.Error("call failed", "err", err)
			refusal = &Refusal{Internal, "the log of the box says why"}
		}
		answer, status = refusal, statusOf(refusal.Reason)
	}
	b, err := json.Marshal(answer)
	if err != nil {
		log.Error("answer", "err", err)
		status, b = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", mediaJSON)
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client has gone, or not
}

// drain lets a client that still sends read the answer before its connection
// ends under it. One that does not stop has read it, or never will.
func drain(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	if control.Flush() == nil && control.SetReadDeadline(time.Now().Add(linger)) == nil {
		_, _ = io.Copy(io.Discard, r.Body) // ends with the client
	}
}

func statusOf(reason string) int {
	switch reason {
	case BadRequest:
		return http.StatusBadRequest
	case Absent:
		return http.StatusNotFound
	case Busy, NoTrial:
		return http.StatusConflict
	case Internal:
		return http.StatusInternalServerError
	case Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusUnprocessableEntity
	}
}

// errGone means that who sent a bundle hung up, or came to a halt: it is not the
// bundle that ends too early.
var errGone = errors.New("boxlink: the sender of the bundle has gone")

// A stream is a bundle on its way. A sender that has gone ends the call.
type stream struct {
	from    io.Reader
	control *http.ResponseController
	cancel  context.CancelCauseFunc
}

func (s *stream) Read(b []byte) (int, error) {
	if err := s.control.SetReadDeadline(time.Now().Add(stall)); err != nil {
		return 0, fmt.Errorf("boxlink: %w", err)
	}
	n, err := s.from.Read(b)
	switch {
	case errors.Is(err, io.EOF): // the server now waits for a client that hangs up, which may take long
		if err := s.control.SetReadDeadline(time.Time{}); err != nil {
			return n, fmt.Errorf("boxlink: %w", err)
		}
	case err != nil:
		s.cancel(errGone)
		err = errGone
	}
	return n, err
}
