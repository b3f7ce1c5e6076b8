// SPDX-License-Identifier: Apache-2.0

package pairing

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	cookieName  = "__Host-ic"
	subprotocol = "in-camera.v1"
	maxAnswer   = 64 << 10 // bytes
	answerTime  = 15 * time.Second
)

// A Client is a paired panel without a browser. It meets the same room each
// time, by its key. It lives in memory, prints without its secrets, and may be
// used by several goroutines.
type Client struct {
	Panel string // its id
	Role  Role

	origin string
	cookie string
	key    *ecdsa.PrivateKey
	http   *http.Client

	mu    sync.Mutex
	token string // of the session that was opened last
}

// String implements [fmt.Stringer].
func (c *Client) String() string { return "panel " + c.Panel }

// GoString implements [fmt.GoStringer].
func (c *Client) GoString() string { return c.String() }

// A RoomError is what the room answered instead of what was asked for.
type RoomError struct {
	Reason string // of the room's interface, such as "pairing_closed"
	Detail string
}

func (e *RoomError) Error() string {
	return fmt.Sprintf("pairing: the room refuses: %q (%q)", e.Reason, e.Detail)
}

// PairWeb opens the link that a room shows, as a browser does, and pairs under
// the name. The certificate must have the key that the link promises. A refusal
// is a [RoomError].
func PairWeb(ctx context.Context, address, name string) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, errLink
	}
	l, err := parseLink(u.Fragment)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("pairing: %w", err)
	}
	c := &Client{origin: "https://" + u.Host, key: key, http: pinned(l.pin)}
	var state struct {
		Room struct {
			ID string `json:"Id"`
		}
		Window struct{ Role Role }
	}
	if err := c.ask(ctx, http.MethodGet, "/v1/pairing", nil, &state); err != nil {
		return nil, err
	}
	c.Role = state.Window.Role
	if err := c.prove(ctx, l, state.Room.ID, name); err != nil {
		return nil, err
	}
	signature, err := c.sign(commitMessage(c.origin, state.Room.ID, l.nonce, c.Panel))
	if err != nil {
		return nil, err
	}
	commit := map[string]string{"Panel": c.Panel, "Signature": base64url.EncodeToString(signature)}
	if err := c.ask(ctx, http.MethodPost, "/v1/pairing/commit", commit, &struct{}{}); err != nil {
		return nil, err
	}
	return c, nil
}

// prove shows the room that this panel has the secret, and checks that the room
// has it.
func (c *Client) prove(ctx context.Context, l link, room, name string) error {
	public, err := x509.MarshalPKIXPublicKey(c.key.Public())
	if err != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	seen := webContext(c.origin, public, room, l.nonce, c.Role)
	request := map[string]string{
		"Window": base64url.EncodeToString(l.nonce[:]), "Key": base64url.EncodeToString(public), "Name": name,
		"Proof": base64url.EncodeToString(proofOf("panel", l.secret, seen)),
	}
	var grant struct{ Panel, Proof string }
	if err := c.ask(ctx, http.MethodPost, "/v1/pairing/link", request, &grant); err != nil {
		return err
	}
	var proof [sha256.Size]byte
	if !decode(proof[:], grant.Proof) || !hmac.Equal(proof[:], proofOf("room", l.secret, seen)) || !validID.MatchString(grant.Panel) {
		return ErrWrong
	}
	c.Panel = grant.Panel
	return nil
}

// pinned returns a client that meets the room with the key and nobody else.
func pinned(pin [32]byte) *http.Client {
	check := func(s tls.ConnectionState) error {
		if got := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo); got != pin {
			return errors.New("pairing: this is not the room of the link")
		}
		return nil
	}
	return &http.Client{
		Timeout: answerTime,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{
				MinVersion:         tls.VersionTLS13,
				InsecureSkipVerify: true, //nolint:gosec // the key is pinned below, which no authority could vouch for better
				VerifyConnection:   check,
			},
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask sends JSON and reads JSON. The cookie is sent, and kept when the room sets
// one.
func (c *Client) ask(ctx context.Context, method, path string, in, out any) error {
	var text []byte
	if in != nil {
		var err error
		if text, err = json.Marshal(in); err != nil {
			return fmt.Errorf("pairing: %w", err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, c.origin+path, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	c.Identify(r.Header)
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	defer answer.Body.Close()
	text, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		refusal := &RoomError{}
		var problem struct{ Reason, Detail string }
		if err := json.Unmarshal(text, &problem); err == nil {
			refusal.Reason, refusal.Detail = problem.Reason, problem.Detail
		}
		return refusal
	}
	for _, cookie := range answer.Cookies() { // set while pairing, before anybody else has c
		if _, ok := hashCookie(cookie.Value); ok && cookie.Name == cookieName {
			c.cookie = cookie.Value
		}
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("pairing: answer of the room: %w", err)
	}
	return nil
}

// Identify sets what a request of this panel's page has: the origin, the cookie,
// and the session that was opened last.
func (c *Client) Identify(h http.Header) {
	h.Set("Origin", c.origin)
	if c.cookie != "" {
		h.Set("Cookie", cookieName+"="+c.cookie)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" {
		h.Set("In-Camera-Session", c.token)
	}
}

// sign returns r and s, 32 bytes each, as WebCrypto does.
func (c *Client) sign(message []byte) ([]byte, error) {
	hash := sha256.Sum256(message)
	r, s, err := ecdsa.Sign(rand.Reader, c.key, hash[:])
	if err != nil {
		return nil, fmt.Errorf("pairing: %w", err)
	}
	out := make([]byte, signatureSize)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out, nil
}

// Get reads what the room has at a path of HTTP, such as "/v1/status/call". It
// needs the session that was opened last, still open.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.ask(ctx, http.MethodGet, path, nil, out)
}

// Dial opens a session and proves this panel in it. The connection is the
// caller's; the next message that it reads follows the proof. A refusal is a
// [RoomError].
func (c *Client) Dial(ctx context.Context) (*websocket.Conn, error) {
	h := http.Header{}
	c.Identify(h)
	conn, answer, err := websocket.Dial(ctx, c.origin+"/v1/ws", &websocket.DialOptions{ //nolint:bodyclose // the library closes it
		HTTPClient: &http.Client{Transport: c.http.Transport}, HTTPHeader: h, Subprotocols: []string{subprotocol},
	})
	if err != nil {
		if answer != nil && answer.StatusCode >= http.StatusBadRequest {
			return nil, c.refusalOf(answer, err)
		}
		return nil, fmt.Errorf("pairing: %w", err)
	}
	if err := c.open(ctx, conn); err != nil {
		_ = conn.CloseNow() // the error says why
		return nil, err
	}
	return conn, nil
}

// refusalOf reads why there is no session. The library keeps a kilobyte of the
// answer.
func (c *Client) refusalOf(answer *http.Response, err error) error {
	var problem struct{ Reason, Detail string }
	text, readErr := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if readErr != nil || json.Unmarshal(text, &problem) != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	return &RoomError{problem.Reason, problem.Detail}
}

// open answers Session.Hello.
func (c *Client) open(ctx context.Context, conn *websocket.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	conn.SetReadLimit(maxAnswer)
	var hello struct {
		Params json.RawMessage `json:"params"`
	}
	if err := receive(ctx, conn, &hello); err != nil {
		return err
	}
	request, err := c.Proof(hello.Params)
	if err != nil {
		return err
	}
	if err := conn.Write(ctx, websocket.MessageText, []byte(request)); err != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	var proved struct {
		Result struct{ Session string } `json:"result"`
		Error  *struct {
			Message string                  `json:"message"`
			Data    struct{ Reason string } `json:"data"`
		} `json:"error"`
	}
	if err := receive(ctx, conn, &proved); err != nil {
		return err
	}
	if proved.Error != nil {
		return &RoomError{proved.Error.Data.Reason, proved.Error.Message}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = proved.Result.Session
	return nil
}

// Proof returns the request Session.Prove that answers the parameters of a
// Session.Hello.
func (c *Client) Proof(params []byte) (string, error) {
	var hello struct {
		BootID    string `json:"BootId"`
		Challenge string
		Room      struct {
			ID string `json:"Id"`
		}
	}
	if err := json.Unmarshal(params, &hello); err != nil {
		return "", fmt.Errorf("pairing: greeting of the room: %w", err)
	}
	s := Session{Boot: hello.BootID, Room: hello.Room.ID, Origin: c.origin, Panel: c.Panel}
	if !decode(s.Challenge[:], hello.Challenge) {
		return "", errors.New("pairing: the room sent no challenge")
	}
	signature, err := c.sign(s.message())
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]any{
		"jsonrpc": "2.0", "id": 0, "method": "Session.Prove",
		"params": map[string]string{"Panel": c.Panel, "Signature": base64url.EncodeToString(signature)},
	})
	if err != nil {
		return "", fmt.Errorf("pairing: %w", err)
	}
	return string(text), nil
}

func receive(ctx context.Context, conn *websocket.Conn, out any) error {
	_, text, err := conn.Read(ctx)
	if err != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("pairing: message of the room: %w", err)
	}
	return nil
}
