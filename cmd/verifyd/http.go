// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"crypto/subtle"
	_ "embed" // the API's description
	"encoding/hex"
	"encoding/json"
	"mime"
	"net/http"
	"strings"

	"incamera/secureboot/attest"
	"incamera/secureboot/enrol"
	"incamera/secureboot/evidence"
	"incamera/secureboot/update"
)

// A role says who may use a route.
type role int

const (
	anyone   role = iota // what is asked proves itself, or is no secret
	identity             // a room, by the certificate of its LDevID
	member               // a room that is enrolled and not revoked, likewise, or staff
	security             // staff
)

// A route is a line of the API.
type route struct {
	method, path string
	role         role
	mediaType    string // of the body; empty: there is none
	limit        int64  // of the body, bytes; above maxBody it comes as a transfer
	serve        func(*service, *http.Request, *caller) (*answer, error)
}

// maxBody is what arrives within readTimeout over a slow line.
const maxBody = 1 << 20

const mediaJSON = "application/json"

// routes is the API. TestOpenAPI compares it with the document.
var routes = []route{
	{"POST", "/v1/enrol/begin", anyone, mediaJSON, enrol.MaxSmall, (*service).begin},
	{"POST", "/v1/enrol/finish", anyone, mediaJSON, enrol.MaxEvidence, (*service).finish},
	{"POST", "/v1/enrol/acknowledge", anyone, mediaJSON, enrol.MaxAsk, (*service).acknowledge},
	{"POST", "/v1/challenge", anyone, mediaJSON, enrol.MaxAsk, (*service).challenge},
	{"POST", "/v1/evidence", anyone, attest.MediaType, enrol.MaxEvidence, (*service).evidence},
	{"POST", "/v1/renew", identity, mediaJSON, enrol.MaxSmall, (*service).renew},
	{"GET", "/v1/site", anyone, "", 0, (*service).site},
	{"GET", "/v1/reference", anyone, "", 0, (*service).listReferences},
	{"GET", "/v1/reference/{version}", anyone, "", 0, (*service).reference},
	{"POST", "/v1/reference", security, mediaJSON, maxReference, (*service).addReference},
	{"POST", "/v1/reference/{version}/revoke", security, "", 0, (*service).revokeReference},
	{"GET", "/v1/revocations", anyone, "", 0, (*service).revocations},
	{"GET", "/v1/checkpoint", anyone, "", 0, (*service).checkpoint},
	{"GET", "/v1/rooms", security, "", 0, (*service).rooms},
	{"POST", "/v1/rooms/{id}/admit", security, "", 0, (*service).admit},
	{"POST", "/v1/rooms/{id}/revoke", security, "", 0, (*service).revoke},
	{"POST", "/v1/codes", security, mediaJSON, enrol.MaxSmall, (*service).code},
	{"POST", "/v1/endorsement-keys", security, mediaJSON, enrol.MaxSmall, (*service).approveEK},
	{"GET", "/v1/directory", member, "", 0, (*service).listDirectory},
	{"GET", "/v1/bundles", member, "", 0, (*service).listBundles},
	{"PUT", "/v1/bundles", security, enrol.MediaBundle, update.MaxBundle, (*service).addBundle},
	{"GET", "/v1/bundles/{version}", member, "", 0, (*service).bundle},
	{"POST", "/v1/bundles/{version}/approve", security, "", 0, (*service).approveBundle},
	{"POST", "/v1/bundles/{version}/withdraw", security, "", 0, (*service).withdrawBundle},
	{"GET", "/v1/audit", security, "", 0, (*service).audit},
	{"GET", "/v1/openapi.json", anyone, "", 0, (*service).openAPI},
}

// maxReference bounds signed reference values with their proof, in base64.
const maxReference = 512 << 10

// A caller is who asks.
type caller struct {
	staff string // name, for the security role
	room  string // id, for the member role if it is not staff
	spki  []byte // of the client certificate, for the identity role
}

// An answer is a success.
type answer struct {
	status    int
	mediaType string
	body      []byte
	// send, if there is one, writes status and body in its own time.
	send func(http.ResponseWriter, *http.Request)
}

// reply makes an answer in JSON.
func reply(status int, v any) (*answer, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return &answer{status: status, mediaType: mediaJSON, body: b}, nil
}

// done is an answer without a body.
func done() (*answer, error) { return &answer{status: http.StatusNoContent}, nil }

// handler returns the API over HTTP.
func (v *service) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.method+" "+r.path, v.handle(r))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		(&problem{http.StatusNotFound, codeNotFound, "see /v1/openapi.json"}).write(w)
	})
	// A browser on the site's network must not be talked into acts by a page.
	return http.NewCrossOriginProtection().Handler(mux)
}

func (v *service) handle(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, err := v.serve(rt, w, r)
		if err != nil {
			p, known := toProblem(err)
			switch {
			case r.Context().Err() != nil:
				return // nobody listens
			case !known:
				v.log.Error("request failed", "route", rt.path, "error", err)
			default:
				v.log.Info("request refused", "route", rt.path, "code", p.code)
			}
			p.write(w)
			return
		}
		if a.mediaType != "" {
			w.Header().Set("Content-Type", a.mediaType)
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if a.send != nil {
			a.send(w, r)
			return
		}
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body) // the peer has gone, or not
	})
}

func (v *service) serve(rt route, w http.ResponseWriter, r *http.Request) (*answer, error) {
	// Even where no body is read, one is not taken in.
	r.Body = http.MaxBytesReader(w, r.Body, rt.limit)
	who, err := v.authenticate(rt.role, r)
	if err != nil {
		return nil, err
	}
	if rt.mediaType != "" {
		got, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		charset := params["charset"]
		if err != nil || got != rt.mediaType || charset != "" && !strings.EqualFold(charset, "utf-8") {
			return nil, refuse(http.StatusUnsupportedMediaType, codeMediaType, "want "+rt.mediaType)
		}
	}
	if r.ContentLength > rt.limit {
		return nil, &http.MaxBytesError{Limit: rt.limit}
	}
	if rt.limit > maxBody {
		r.Body = slowly(w, r.Body)
	}
	return rt.serve(v, r, who)
}

// authenticate finds out who asks. TLS has proved that the caller holds the key
// of the certificate; whose key that is, is the question here, so chain and
// dates of the certificate do not count: pins do not expire.
func (v *service) authenticate(want role, r *http.Request) (*caller, error) {
	c := &caller{}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		c.spki = r.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo
	}
	switch want {
	case anyone:
		return c, nil
	case identity:
		if c.spki == nil {
			return nil, refuse(http.StatusUnauthorized, codeUnauthorized, "show the certificate of the room's LDevID")
		}
		return c, nil
	case member:
		if c.staff = v.memberOfStaff(r.Header.Get("Authorization"), c.spki); c.staff != "" {
			return c, nil
		}
		if c.spki == nil {
			return nil, refuse(http.StatusUnauthorized, codeUnauthorized, "show the certificate of the room's LDevID, or be staff")
		}
		return c, v.store.glance(r.Context(), func(t *txn) error {
			room, err := t.enrolled(c.spki)
			if err == nil {
				c.room = room.Room.ID
			}
			return err
		})
	case security:
		c.staff = v.memberOfStaff(r.Header.Get("Authorization"), c.spki)
		if c.staff == "" {
			return nil, refuse(http.StatusUnauthorized, codeUnauthorized, "for security staff: a bearer token or a client certificate")
		}
		return c, nil
	}
	return nil, refuse(http.StatusUnauthorized, codeUnauthorized, "no such role")
}

// memberOfStaff returns the name of who holds the token or key, or nothing. It
// looks at all, whoever it is.
func (v *service) memberOfStaff(authorization string, spki []byte) string {
	token, bearer := strings.CutPrefix(authorization, "Bearer ")
	tokenHash, keyHash := hexHash([]byte(token)), hexHash(spki)
	name := ""
	for _, s := range v.staff {
		byToken := bearer && subtle.ConstantTimeCompare([]byte(s.TokenSHA256), []byte(tokenHash)) == 1
		byKey := spki != nil && subtle.ConstantTimeCompare([]byte(s.KeySHA256), []byte(keyHash)) == 1
		if byToken || byKey {
			name = s.Name
		}
	}
	return name
}

func hexHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

//go:embed openapi.json
var openAPIDocument []byte

func (v *service) openAPI(*http.Request, *caller) (*answer, error) {
	return &answer{status: http.StatusOK, mediaType: mediaJSON, body: openAPIDocument}, nil
}

func (v *service) site(*http.Request, *caller) (*answer, error) {
	return reply(http.StatusOK, enrol.SiteInfo{
		Site: v.authority.Site(), Root: v.authority.Root().Raw, ResultKey: v.resultKey, NoteKey: v.noteKey,
	})
}

func notFound(what string) error {
	return refuse(http.StatusNotFound, codeNotFound, "no such "+what)
}

// akUnknown is the answer for a room that nobody has enrolled.
func akUnknown() error {
	return refuse(http.StatusNotFound, evidence.AKUnknown, "no such room is enrolled")
}
