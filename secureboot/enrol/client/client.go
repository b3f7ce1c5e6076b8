// SPDX-License-Identifier: Apache-2.0

// Package client speaks with a verifier: a room joins a site and renews its
// certificates, staff admit and revoke rooms, anyone has a room's evidence
// appraised. It holds the room's half of package enrol.
package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"incamera/secureboot/attest"
	"incamera/secureboot/enrol"
)

// A Problem is what a verifier or a room answers in place of what was asked
// for (RFC 9457). Code is stable; what to do about each the verifier's API says.
type Problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func (p *Problem) Error() string { return fmt.Sprintf("%s: %s", p.Code, p.Detail) }

// ErrUnavailable means that nobody answered: the network, the name or the
// service is down. Nothing is known of what was asked for; ask again.
var ErrUnavailable = errors.New("client: no answer")

// ErrIdentity means that something answered that is not the verifier.
var ErrIdentity = errors.New("client: another key than the verifier's answers")

// An Option of [New].
type Option func(*Client)

// WithKey has the client accept one TLS key, by the SHA-256 of its SPKI, in
// place of a certificate of a known CA. It comes with the activation code.
func WithKey(hash [32]byte) Option { return func(c *Client) { c.pin = &hash } }

// WithRoots has the client accept certificates of these CAs.
func WithRoots(roots *x509.CertPool) Option { return func(c *Client) { c.tls.RootCAs = roots } }

// WithCertificate has the client show a certificate: a room's LDevID, or that of
// a member of staff.
func WithCertificate(cert tls.Certificate) Option {
	return func(c *Client) { c.tls.Certificates = []tls.Certificate{cert} }
}

// WithToken has the client show the token of a member of staff.
func WithToken(token string) Option { return func(c *Client) { c.token = token } }

// A Client speaks with one verifier. It may be used by several goroutines.
type Client struct {
	base  string
	pin   *[32]byte
	token string
	tls   *tls.Config
	web   *http.Client
	// stream has no bound on the time of a request: see transfer.
	stream *http.Client
}

// timeout bounds one request with its answer.
const timeout = 30 * time.Second

// New makes a client of the verifier at base, https://host:port. Without
// [WithKey] or [WithRoots] only a certificate of the system's CAs will do.
func New(base string, options ...Option) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("client: verifier %q: want https://host:port", base)
	}
	c := &Client{base: "https://" + u.Host, tls: &tls.Config{MinVersion: tls.VersionTLS13}}
	for _, o := range options {
		o(c)
	}
	if c.pin != nil {
		c.tls.InsecureSkipVerify = true // #nosec G402 -- VerifyConnection checks the key, which says more than a name
		c.tls.VerifyConnection = func(s tls.ConnectionState) error {
			got := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if subtle.ConstantTimeCompare(got[:], c.pin[:]) != 1 {
				return ErrIdentity
			}
			return nil
		}
	}
	c.stream = &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: c.tls, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute,
			ExpectContinueTimeout: 5 * time.Second, // then the body goes unasked
		},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a verifier has none to give
		},
	}
	bounded := *c.stream
	bounded.Timeout = timeout
	c.web = &bounded
	return c, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.web.CloseIdleConnections() }

// Challenge asks for a nonce with which to challenge a room.
func (c *Client) Challenge(ctx context.Context, r enrol.ChallengeRequest) (enrol.ChallengeResponse, error) {
	return post[enrol.ChallengeResponse](ctx, c, "/v1/challenge", r)
}

// Appraise has evidence for a challenge appraised. It returns the EAR, a CMW
// signed by the verifier, whatever its verdict.
func (c *Client) Appraise(ctx context.Context, session string, cmw []byte) ([]byte, error) {
	return c.do(ctx, http.MethodPost, "/v1/evidence?session="+url.QueryEscape(session), attest.MediaType, cmw)
}

// Rooms lists all rooms. It and what follows want a member of staff.
func (c *Client) Rooms(ctx context.Context) ([]enrol.Room, error) {
	b, err := c.do(ctx, http.MethodGet, "/v1/rooms", "", nil)
	if err != nil {
		return nil, err
	}
	var list struct {
		Rooms []enrol.Room `json:"rooms"`
	}
	return list.Rooms, decode(b, &list)
}

// Admit lets a room that waits have its certificates.
func (c *Client) Admit(ctx context.Context, room string) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/rooms/"+url.PathEscape(room)+"/admit", "", nil)
	return err
}

// Revoke withdraws a room for good.
func (c *Client) Revoke(ctx context.Context, room string) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/rooms/"+url.PathEscape(room)+"/revoke", "", nil)
	return err
}

// Code makes an activation code or voucher.
func (c *Client) Code(ctx context.Context, r enrol.CodeRequest) (enrol.CodeResponse, error) {
	return post[enrol.CodeResponse](ctx, c, "/v1/codes", r)
}

// ApproveEK lists the endorsement key of a chip without a certificate.
func (c *Client) ApproveEK(ctx context.Context, r enrol.EKRequest) error {
	_, err := post[struct{}](ctx, c, "/v1/endorsement-keys", r)
	return err
}

// AddReference gives the verifier reference values with their log proof.
func (c *Client) AddReference(ctx context.Context, r enrol.ReferenceDocument) error {
	_, err := post[struct{}](ctx, c, "/v1/reference", r)
	return err
}

// Reference returns the reference values of a release with their log proof. They
// are signed; verify them.
func (c *Client) Reference(ctx context.Context, version string) ([]enrol.ReferenceDocument, error) {
	b, err := c.do(ctx, http.MethodGet, "/v1/reference/"+url.PathEscape(version), "", nil)
	if err != nil {
		return nil, err
	}
	var list struct {
		References []enrol.ReferenceDocument `json:"references"`
	}
	return list.References, decode(b, &list)
}

// References lists which reference values the verifier holds.
func (c *Client) References(ctx context.Context) ([]enrol.ReferenceEntry, error) {
	b, err := c.do(ctx, http.MethodGet, "/v1/reference", "", nil)
	if err != nil {
		return nil, err
	}
	var list struct {
		References []enrol.ReferenceEntry `json:"references"`
	}
	return list.References, decode(b, &list)
}

// Site returns what the verifier says of itself: root, keys. A client that does
// not hold the key of [WithKey] learns nothing certain from it.
func (c *Client) Site(ctx context.Context) (enrol.SiteInfo, error) {
	b, err := c.do(ctx, http.MethodGet, "/v1/site", "", nil)
	if err != nil {
		return enrol.SiteInfo{}, err
	}
	var s enrol.SiteInfo
	return s, decode(b, &s)
}

func post[T any](ctx context.Context, c *Client, path string, body any) (T, error) {
	var answer T
	b, err := json.Marshal(body)
	if err != nil {
		return answer, fmt.Errorf("client: %w", err)
	}
	b, err = c.do(ctx, http.MethodPost, path, "application/json", b)
	if err != nil || len(b) == 0 {
		return answer, err
	}
	return answer, decode(b, &answer)
}

// maxAnswer bounds answers in bytes: the largest is the list of 10,000 rooms.
const maxAnswer = 8 << 20

func (c *Client) do(ctx context.Context, method, path, mediaType string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	c.sign(r)
	return answer(c.web, r)
}

// sign shows the token. A certificate is the connection's.
func (c *Client) sign(r *http.Request) {
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
}

// answer sends a request and returns the body of a success, or a [Problem].
func answer(web *http.Client, r *http.Request) ([]byte, error) {
	rsp, err := web.Do(r)
	if err != nil {
		return nil, unanswered(err)
	}
	defer rsp.Body.Close()
	return read(rsp)
}

// unanswered says what a request means that had no answer.
func unanswered(err error) error {
	if errors.Is(err, ErrIdentity) {
		return ErrIdentity
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// read returns the body of a success, or a [Problem].
func read(rsp *http.Response) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(rsp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if len(b) > maxAnswer {
		return nil, fmt.Errorf("client: answer of more than %d bytes", maxAnswer)
	}
	if rsp.StatusCode/100 == 2 {
		return b, nil
	}
	p := &Problem{}
	if json.Unmarshal(b, p) != nil || p.Code == "" {
		return nil, fmt.Errorf("%w: status %d", ErrUnavailable, rsp.StatusCode)
	}
	p.Status = rsp.StatusCode
	return nil, p
}

func decode(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("client: answer: %w", err)
	}
	return nil
}

// FromRoom fetches a room's evidence from the room itself. base is https://
// host:port or, on a switch between two boxes, http://. Who answers does not
// matter: the evidence carries its own proof.
func FromRoom(ctx context.Context, base string, nonce []byte) ([]byte, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("client: room %q: want https://host:port", base)
	}
	u = u.JoinPath("/v1/attestation")
	u.RawQuery = "nonce=" + base64.RawURLEncoding.EncodeToString(nonce)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	web := &http.Client{Timeout: timeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}, // #nosec G402 -- see above
	}}
	return answer(web, r)
}
