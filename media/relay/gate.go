// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// Connections that have not yet shown a certificate: all, and from one
// address. One machine without a certificate cannot keep the rooms out.
const (
	maxPending     = 128
	maxAddrPending = 32
)

// A gate is a listener that closes at once what comes above these limits. Wait
// returns when all its connections are closed.
type gate struct {
	net.Listener
	open sync.WaitGroup

	mu      sync.Mutex
	pending map[netip.Addr]int
	total   int
}

func newGate(ln net.Listener) *gate {
	return &gate{Listener: ln, pending: make(map[netip.Addr]int)}
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := addrOf(c)
		if !g.enter(addr) {
			_ = c.Close() // nothing was said yet
			continue
		}
		g.open.Add(1)
		return &gated{Conn: c, gate: g, addr: addr}, nil
	}
}

func (g *gate) enter(addr netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total == maxPending || g.pending[addr] == maxAddrPending {
		return false
	}
	g.total++
	g.pending[addr]++
	return true
}

func (g *gate) leave(addr netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.pending[addr]--; g.pending[addr] == 0 {
		delete(g.pending, addr)
	}
}

// A gated connection counts as pending until it is settled or closed.
type gated struct {
	net.Conn
	gate     *gate
	addr     netip.Addr
	settled  sync.Once
	finished sync.Once
}

func (c *gated) settle() { c.settled.Do(func() { c.gate.leave(c.addr) }) }

func (c *gated) Close() error {
	err := c.Conn.Close()
	c.settle()
	c.finished.Do(c.gate.open.Done)
	return err
}

// settle marks the connection below w as one that has shown who it is.
func settle(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		if g, ok := t.NetConn().(*gated); ok {
			g.settle()
		}
	}
}

func addrOf(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{} // not TCP: all of them count as one
	}
	return ap.Addr().Unmap().WithZone("")
}

// noHTTP2 keeps connections as WebSockets want them.
func noHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}
