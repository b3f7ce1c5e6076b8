// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"incamera/secureboot/enrol"
	"incamera/secureboot/evidence"
	"incamera/secureboot/update"
)

// Codes of problems that no verdict has. They are as stable as those of package
// evidence.
const (
	codeBusy         evidence.Code = "busy"         // too many challenges or sessions; wait
	codeUnauthorized evidence.Code = "unauthorized" // who asks is not known, or may not
	codeNotFound     evidence.Code = "not_found"
	codeConflict     evidence.Code = "conflict" // not in the state for that
	codeMediaType    evidence.Code = "media_type"
	codeInternal     evidence.Code = "internal"
)

// A problem is an answer that is not what was asked for.
type problem struct {
	status int
	code   evidence.Code
	detail string
}

func (p *problem) Error() string { return fmt.Sprintf("%s: %s", p.code, p.detail) }

func refuse(status int, code evidence.Code, detail string) error {
	return &problem{status, code, detail}
}

// toProblem decides what is told of an error. Whatever is not known here is
// told as internal and stands in the log.
func toProblem(err error) (p *problem, known bool) {
	if p, ok := errors.AsType[*problem](err); ok {
		return p, true
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &problem{http.StatusRequestEntityTooLarge, evidence.TooLarge, fmt.Sprintf("at most %d bytes", tooLarge.Limit)}, true
	}
	if e, ok := errors.AsType[*update.Error](err); ok {
		return bundleProblem(e), true
	}
	for _, known := range []struct {
		err    error
		status int
		code   evidence.Code
		detail string // empty: the error's own text, which quotes nobody unasked
	}{
		{enrol.ErrMalformed, http.StatusBadRequest, evidence.Malformed, ""},
		{evidence.ErrMalformed, http.StatusBadRequest, evidence.Malformed, "not in the form prescribed"},
		{evidence.ErrTooLarge, http.StatusRequestEntityTooLarge, evidence.TooLarge, "more than the limit"},
		{enrol.ErrCode, http.StatusForbidden, evidence.CodeInvalid, "activation code or voucher unknown, used, expired or for another box; ask for a new one"},
		{enrol.ErrEKUntrusted, http.StatusForbidden, evidence.EKUntrusted, ""},
		{enrol.ErrEKMismatch, http.StatusForbidden, evidence.EKMismatch, ""},
		{enrol.ErrAKTemplate, http.StatusForbidden, evidence.AKTemplate, ""},
		{enrol.ErrProof, http.StatusForbidden, evidence.SigInvalid, "a signature, secret or proof does not hold"},
		{evidence.ErrSignature, http.StatusForbidden, evidence.SigInvalid, "a signature, secret or proof does not hold"},
	} {
		if errors.Is(err, known.err) {
			detail := known.detail
			if detail == "" {
				detail = told(err)
			}
			return &problem{known.status, known.code, detail}, true
		}
	}
	return &problem{http.StatusInternalServerError, codeInternal, "the verifier's log says why"}, false
}

// told is an error's text, quoted and of a bounded length.
func told(err error) string {
	text := fmt.Sprintf("%.300q", err.Error())
	return text[1 : len(text)-1]
}

// bundleProblem tells staff why a bundle is not taken.
func bundleProblem(e *update.Error) *problem {
	p, ok := map[update.Reason]problem{
		update.TooLarge:  {status: http.StatusRequestEntityTooLarge, code: evidence.TooLarge},
		update.Malformed: {status: http.StatusBadRequest, code: evidence.Malformed},
		update.Truncated: {status: http.StatusBadRequest, code: evidence.Malformed},
		update.Unlogged:  {status: http.StatusForbidden, code: evidence.RefvalUnlogged},
	}[e.Reason]
	if !ok { // the signature, or what it covers
		p = problem{status: http.StatusForbidden, code: evidence.SigInvalid}
	}
	p.detail = told(e)
	return &p
}

// problemBody is RFC 9457 with one member more.
type problemBody struct {
	Type   string        `json:"type"`
	Title  string        `json:"title"`
	Status int           `json:"status"`
	Code   evidence.Code `json:"code"`
	Detail string        `json:"detail"`
}

func (p *problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	if p.code == codeBusy {
		w.Header().Set("Retry-After", "10")
	}
	w.WriteHeader(p.status)
	_ = json.NewEncoder(w).Encode(problemBody{"about:blank", http.StatusText(p.status), p.status, p.code, p.detail}) // the peer has gone, or not
}
