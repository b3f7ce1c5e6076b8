// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
)

// A wire is the system's network with a rule for each outgoing datagram.
type wire struct {
	transport.Net
	pass atomic.Pointer[func(b []byte) bool] // false: the datagram is lost
	mu   sync.Mutex
	sent [][]byte // if recording
	keep bool
}

func newWire(t testing.TB) *wire {
	t.Helper()
	n, err := stdnet.NewNet()
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Net: n}
	w.rule(func([]byte) bool { return true })
	return w
}

func (w *wire) rule(pass func(b []byte) bool) { w.pass.Store(&pass) }

func (w *wire) ListenUDP(network string, addr *net.UDPAddr) (transport.UDPConn, error) {
	c, err := w.Net.ListenUDP(network, addr)
	if err != nil {
		return nil, err
	}
	return &wireConn{c, w}, nil
}

func (w *wire) ListenPacket(network, address string) (net.PacketConn, error) {
	c, err := w.Net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	if u, ok := c.(transport.UDPConn); ok {
		return &wireConn{u, w}, nil
	}
	return c, nil
}

// admit records a datagram and decides about it.
func (w *wire) admit(b []byte) bool {
	if w.keep {
		w.mu.Lock()
		w.sent = append(w.sent, append([]byte(nil), b...))
		w.mu.Unlock()
	}
	return (*w.pass.Load())(b)
}

type wireConn struct {
	transport.UDPConn
	w *wire
}

func (c *wireConn) Write(b []byte) (int, error) {
	if !c.w.admit(b) {
		return len(b), nil
	}
	return c.UDPConn.Write(b)
}

func (c *wireConn) WriteTo(b []byte, a net.Addr) (int, error) {
	if !c.w.admit(b) {
		return len(b), nil
	}
	return c.UDPConn.WriteTo(b, a)
}

func (c *wireConn) WriteToUDP(b []byte, a *net.UDPAddr) (int, error) {
	if !c.w.admit(b) {
		return len(b), nil
	}
	return c.UDPConn.WriteToUDP(b, a)
}

func (c *wireConn) WriteToAddrPort(b []byte, a netip.AddrPort) (int, error) {
	return c.WriteToUDP(b, net.UDPAddrFromAddrPort(a))
}

// isMedia tells RTP of a size that pictures have from everything else (RFC 7983,
// Section 7, and RFC 5761, Section 4).
func isMedia(b []byte) bool {
	return len(b) > 600 && b[0]>>6 == 2 && b[1]&0x7f == typeVP8
}
