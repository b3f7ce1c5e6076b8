// SPDX-License-Identifier: Apache-2.0

package calltest

import (
	"io"
	"net"
	"testing"

	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
)

// Record returns the system's network; every datagram that is sent through it
// is also written to w.
func Record(t testing.TB, w io.Writer) transport.Net {
	t.Helper()
	n, err := stdnet.NewNet()
	if err != nil {
		t.Fatal(err)
	}
	return &recordedNet{n, w}
}

type recordedNet struct {
	transport.Net
	w io.Writer
}

// ListenUDP implements [transport.Net].
func (n *recordedNet) ListenUDP(network string, addr *net.UDPAddr) (transport.UDPConn, error) {
	c, err := n.Net.ListenUDP(network, addr)
	if err != nil {
		return nil, err
	}
	return &recordedConn{c, n.w}, nil
}

// ListenPacket implements [transport.Net].
func (n *recordedNet) ListenPacket(network, address string) (net.PacketConn, error) {
	c, err := n.Net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	if u, ok := c.(transport.UDPConn); ok {
		return &recordedConn{u, n.w}, nil
	}
	return c, nil
}

type recordedConn struct {
	transport.UDPConn
	w io.Writer
}

func (c *recordedConn) Write(b []byte) (int, error) {
	if _, err := c.w.Write(b); err != nil {
		return 0, err
	}
	return c.UDPConn.Write(b)
}

func (c *recordedConn) WriteTo(b []byte, a net.Addr) (int, error) {
	if _, err := c.w.Write(b); err != nil {
		return 0, err
	}
	return c.UDPConn.WriteTo(b, a)
}

func (c *recordedConn) WriteToUDP(b []byte, a *net.UDPAddr) (int, error) {
	if _, err := c.w.Write(b); err != nil {
		return 0, err
	}
	return c.UDPConn.WriteToUDP(b, a)
}
