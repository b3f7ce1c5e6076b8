// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxConns      = 256 // of the TLS listener: 32 panels, and browsers that open six each
	maxPlaceConns = 64  // from one address
)

// ServePaired answers over TLS on l, which may listen on all addresses: for
// paired panels, and for browsers that are to be paired. It needs Deps.Pairing,
// which the caller runs, and ends like [Server.Serve]. A browser over TLS that
// is not paired learns the room's name and whether it can pair, and no more.
func (s *Server) ServePaired(ctx context.Context, l net.Listener, certificate tls.Certificate) error {
	if s.pairing == nil {
		return errors.New("panel: there is nothing to pair with")
	}
	ctx, cancel := context.WithCancel(ctx)
	var shows sync.WaitGroup
	defer shows.Wait()
	defer cancel()
	shows.Go(func() { s.showPairing(ctx) })
	return s.Serve(ctx, tls.NewListener(&gate{Listener: l, open: map[string]int{}}, s.tlsConfig(certificate)))
}

// tlsConfig has no session tickets, so that unpairing acts at once, and no
// HTTP/2, as browsers open WebSockets over HTTP/1.1.
func (s *Server) tlsConfig(certificate tls.Certificate) *tls.Config {
	hands := newLimits()
	return &tls.Config{
		Certificates:           []tls.Certificate{certificate},
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		NextProtos:             []string{"http/1.1"},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if !hands.handshake(placeOf(hello.Conn.RemoteAddr().String()), time.Now()) {
				return nil, errors.New("panel: too many handshakes")
			}
			return nil, nil //nolint:nilnil // the configuration stays as it is
		},
	}
}

// A gate bounds the connections that are open. What is too much is closed at
// once: a panel tries again.
type gate struct {
	net.Listener

	mu   sync.Mutex
	all  int
	open map[string]int // by address
}

// Accept implements [net.Listener].
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		place := placeOf(c.RemoteAddr().String())
		if g.enter(place) {
			return &gated{Conn: c, leave: sync.OnceFunc(func() { g.left(place) })}, nil
		}
		_ = c.Close() // nothing was sent
	}
}

func (g *gate) enter(place string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= maxConns || g.open[place] >= maxPlaceConns {
		return false
	}
	g.all++
	g.open[place]++
	return true
}

func (g *gate) left(place string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.open[place]--; g.open[place] == 0 {
		delete(g.open, place)
	}
}

type gated struct {
	net.Conn
	leave func()
}

// Close implements [net.Conn].
func (c *gated) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// ownAddress reports whether the name, of a request over TLS, is an address of
// this computer. A page elsewhere can make a name resolve to the room, but not
// its address.
func ownAddress(r *http.Request, name string) bool {
	addr, err := netip.ParseAddr(name)
	if err != nil || r.TLS == nil || addr.Zone() != "" {
		return false
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if at, err := netip.ParseAddrPort(local.String()); err == nil && at.Addr().Unmap().WithZone("") == addr.Unmap() {
			return true
		}
	}
	all, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(all, func(a net.Addr) bool {
		text, _, _ := strings.Cut(a.String(), "/")
		own, err := netip.ParseAddr(text)
		return err == nil && own.Unmap() == addr.Unmap()
	})
}
