// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"incamera/media/signal"
)

// Options describe a Server. Credentials are required.
type Options struct {
	Credentials

	// Owner is the name of the room that alone may open meetings here. If it
	// is empty, each room of the site may, as on a relay of its own.
	Owner string

	// Rings takes the calls for the owner. If it is nil, nobody can be called.
	Rings Rings

	// Log is silent if it is nil.
	Log *slog.Logger

	// Recorder gets each message that enters or leaves the server, in one
	// Write each, from one goroutine. It is for tests that look for what must
	// not pass; nil in the product.
	Recorder io.Writer
}

// Rings is the room behind an embedded relay, which can be called.
type Rings interface {
	// Ring shows a call and returns the answer of the room. It has a goroutine
	// of its own. Once ctx is done the caller has gone or nobody answered in
	// RingTime; then it takes the call off the panel and returns, promptly,
	// anything.
	Ring(ctx context.Context, call Call) Answer
}

// A Call is an incoming ring.
type Call struct {
	Caller  Identity // of the connection, verified
	Meeting []byte   // id of the meeting
	Relay   string   // address of the relay that hosts it, host:port
	Key     [32]byte // of that relay, for Expect
}

// An Answer is what became of a ring.
type Answer struct {
	Accepted bool
	Reason   Reason // if not accepted: Busy, DeclinedBy, NoAnswer of package signal
}

// A Server is a relay.
type Server struct {
	opt    Options
	id     Identity
	limits limits
}

// limits of one connection.
type limits struct{ messages, messageBurst, bytes, byteBurst float64 }

// A room sends some messages a second at most, but all at once when a meeting
// begins. The byte rate lets the largest commit cost less than 3 seconds.
var defaultLimits = limits{messages: 100, messageBurst: 300, bytes: 4 << 20, byteBurst: 16 << 20}

// New makes a Server. It opens nothing; Serve does.
func New(o Options) (*Server, error) {
	id, err := o.identity()
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Recorder == nil {
		o.Recorder = io.Discard
	}
	return &Server{opt: o, id: id, limits: defaultLimits}, nil
}

// Identity returns who the server's certificate says it is; its Key is what a
// Ring announces.
func (s *Server) Identity() Identity { return s.id }

// Serve accepts connections on ln until ctx is done, and closes it. It returns
// when the last connection and the last ring have ended: the cause of ctx, or
// the error of ln. Each call serves meetings of its own.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conns, closeConns := context.WithCancelCause(context.WithoutCancel(ctx))
	defer closeConns(nil)

	g := newGate(ln)
	h := newHub(ctx, s, closeConns)
	hubDone := make(chan struct{})
	go func() {
		defer close(hubDone)
		h.run()
	}()
	web := &http.Server{
		Handler:           s.handler(h),
		TLSConfig:         s.opt.server(),
		Protocols:         noHTTP2(),
		ReadHeaderTimeout: writeTimeout, // of the TLS handshake, too
		IdleTimeout:       writeTimeout,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(s.opt.Log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return conns },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	stop := context.AfterFunc(ctx, func() { _ = web.Close() }) // Serve sees it
	defer stop()
	err := web.ServeTLS(g, "", "")
	if !errors.Is(err, http.ErrServerClosed) {
		cancel(err)
	}
	<-hubDone
	_ = web.Close() // of what had not shown a certificate yet
	g.open.Wait()
	return context.Cause(ctx)
}

// connKey is the key of a request's net.Conn in its context.
type connKey struct{}

func (s *Server) handler(h *hub) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		who, err := IdentityOf(r.TLS.PeerCertificates[0])
		if err != nil || r.Header.Get("Origin") != "" { // no browser is a room
			http.Error(w, "not a room", http.StatusForbidden)
			return
		}
		if c, ok := r.Context().Value(connKey{}).(net.Conn); ok {
			settle(c)
		}
		s.serve(w, r, h, who)
	})
	return mux
}

// serve upgrades one connection and runs it to its end.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, h *hub, who Identity) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	c := &conn{who: who, link: link{
		out:      newQueue[[]byte](outItems, outBytes),
		large:    h.large,
		messages: throttle{rate: s.limits.messages, burst: s.limits.messageBurst},
		bytes:    throttle{rate: s.limits.bytes, burst: s.limits.byteBurst},
		cancel:   cancel,
	}}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:   []string{subprotocol},
		OnPingReceived: c.noPing,
	})
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = ws.CloseNow() }() // run has closed it, or never ran
	if ws.Subprotocol() != subprotocol {
		return
	}
	c.ws = ws
	ws.SetReadLimit(signal.MaxSmall)
	if !h.post(arrived{c}) {
		return
	}
	err = c.run(ctx, func(m signal.Message, raw []byte) error {
		if !h.post(said{c, m, raw}) {
			return ErrClosed
		}
		return nil
	})
	if errors.Is(err, signal.ErrMalformed) {
		s.opt.Log.Info("malformed message", "room", who.Name, "site", who.Site, "error", err)
	}
	h.post(left{c})
}

// sweepEvery is how often the hub looks for what has run out.
const sweepEvery = time.Second
