// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"time"
)

// reserveFor bounds the wait for all addresses. They come at once.
const reserveFor = 10 * time.Second

// reserve asks for an address for each box, in order. The network keeps them for
// as long as it lasts, so that it does not matter which box starts first.
func (w *Network) reserve(ctx context.Context, n int) error {
	conn, end := w.wires.ports[n], w.wires.peers[n]
	deadline := time.Now().Add(reserveFor)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	for i := range n {
		mac, err := net.ParseMAC(newMachine("", i).MAC)
		if err != nil {
			return err
		}
		if _, err := conn.WriteToUnix(discover(mac), end); err != nil {
			return fmt.Errorf("harness: network: %w", err)
		}
		for {
			b := make([]byte, maxFrame)
			n, err := conn.Read(b)
			if err != nil {
				return fmt.Errorf("harness: network: no offer of an address: %w", err)
			}
			given, ok := offered(b[:n], mac)
			if !ok {
				continue
			}
			if given.String() != w.Address(i) {
				return fmt.Errorf("harness: network: box %d is offered %s", i, given)
			}
			break
		}
	}
	return conn.SetReadDeadline(time.Time{})
}

// The frame of a DHCP message: Ethernet, IPv4, UDP, BOOTP, options.
const (
	atIP, atUDP, atBOOTP, atOptions = 14, 34, 42, 42 + 240
)

// discover is a DHCPDISCOVER (RFC 2131, Section 2) of a box.
func discover(mac net.HardwareAddr) []byte {
	be := binary.BigEndian
	b := make([]byte, atOptions)
	copy(b, net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	copy(b[6:], mac)
	be.PutUint16(b[12:], 0x0800)
	b = append(b, 53, 1, 1, 255) // message type: discover
	b[atIP], b[atIP+8], b[atIP+9] = 0x45, 64, 17
	be.PutUint16(b[atIP+2:], uint16(len(b)-atIP))
	copy(b[atIP+16:], net.IPv4bcast.To4())
	var sum uint32
	for i := atIP; i < atUDP; i += 2 {
		sum += uint32(be.Uint16(b[i:]))
	}
	be.PutUint16(b[atIP+10:], ^uint16(sum+sum>>16))
	be.PutUint16(b[atUDP:], 68)
	be.PutUint16(b[atUDP+2:], 67)
	be.PutUint16(b[atUDP+4:], uint16(len(b)-atUDP)) // without a checksum, as IPv4 allows
	b[atBOOTP], b[atBOOTP+1], b[atBOOTP+2] = 1, 1, 6
	copy(b[atBOOTP+4:], mac[2:])
	copy(b[atBOOTP+28:], mac)
	copy(b[atBOOTP+236:], []byte{99, 130, 83, 99})
	return b
}

// offered reads the address from a DHCPOFFER for a box.
func offered(b []byte, mac net.HardwareAddr) (net.IP, bool) {
	if len(b) < atOptions || binary.BigEndian.Uint16(b[atUDP:]) != 67 || b[atBOOTP] != 2 || !slices.Equal(b[atBOOTP+28:atBOOTP+34], mac) {
		return nil, false
	}
	return net.IP(b[atBOOTP+16 : atBOOTP+20]), true
}
