// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// The ports of a room that the network lets the tests reach.
const (
	PortPaired      = 443  // the panel, for what is paired
	PortRelay       = 7443 // the relay
	PortAttestation = 7444 // evidence
	PortPanel       = 7446 // the panel on loopback, by the test overlay
	PortReport      = 7447 // a report on the console, by the test overlay
)

var ports = []int{PortPaired, PortRelay, PortAttestation, PortPanel, PortReport}

// What the network answers by itself, and the first address that it gives.
const (
	firstAddress = 15 // 10.0.2.15
	serviceHost  = "10.0.2.100"
)

// A Network joins boxes, and nothing else: none of them reaches this computer or
// what lies behind it but by a service that the test names. It gives addresses
// in the order of the boxes.
type Network struct {
	dir     string
	forward map[string]string // by "number:port"
	wires   *wires
	qemu    *process // gives addresses, and knows the ways in and out
	log     *os.File
}

// NewNetwork starts a network for boxes of numbers 0 up to n. A service is a port
// under which boxes reach, at 10.0.2.100, an address of this computer. The
// network lasts until [Network.Close], or until ctx ends.
func NewNetwork(ctx context.Context, dir string, n int, services map[int]string) (_ *Network, err error) {
	w := &Network{dir: dir, forward: map[string]string{}}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	free, err := freePorts(ctx, n*len(ports))
	if err != nil {
		return nil, err
	}
	user := "user,id=user,restrict=on"
	for i := range n {
		for _, port := range ports {
			host := "127.0.0.1:" + strconv.Itoa(free[0])
			free = free[1:]
			user += fmt.Sprintf(",hostfwd=tcp:%s-%s:%d", host, w.Address(i), port)
			w.forward[forwardKey(i, port)] = host
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for port, host := range services {
		// With an address in place of a command QEMU connects once, for all.
		user += fmt.Sprintf(",guestfwd=tcp:%s:%d-cmd:%s %s", serviceHost, port, self, host)
	}
	// The last port is of who gives addresses.
	var ends [][2]string
	for i := range n + 1 {
		ends = append(ends, [2]string{w.socket(i, "net"), w.socket(i, "box")})
	}
	if w.wires, err = newWires(ends); err != nil {
		return nil, err
	}
	args := []string{
		"-M", "none", "-nodefaults", "-display", "none",
		"-netdev", user, "-netdev", "hubport,id=hub0,hubid=0,netdev=user",
		"-netdev", datagram("cable", ends[n][1], ends[n][0]), "-netdev", "hubport,id=hub1,hubid=0,netdev=cable",
	}
	if w.log, err = os.Create(filepath.Join(dir, "network.log")); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "qemu-system-aarch64", args...) //nolint:gosec // arguments that are made here
	cmd.Stdout, cmd.Stderr = w.log, w.log
	cmd.Env = append(os.Environ(), relayVariable+"=1")
	if w.qemu, err = start(cmd); err != nil {
		return nil, err
	}
	if err := w.qemu.listens(ctx, ends[n][1]); err != nil {
		return nil, err
	}
	if err := w.reserve(ctx, n); err != nil {
		return nil, err
	}
	w.wires.run()
	return w, nil
}

func forwardKey(number, port int) string { return fmt.Sprintf("%d:%d", number, port) }

func datagram(id, local, remote string) string {
	return fmt.Sprintf("dgram,id=%s,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", id, local, remote)
}

// plug is the box's end of its cable.
func (w *Network) plug(number int) string {
	return datagram("net", w.socket(number, "box"), w.socket(number, "net"))
}

func (w *Network) socket(number int, side string) string {
	return filepath.Join(w.dir, fmt.Sprintf("%s%d", side, number))
}

// Address is what the network gives the box of a number.
func (w *Network) Address(number int) string { return fmt.Sprintf("10.0.2.%d", firstAddress+number) }

// Service is the address under which boxes reach the service of a port.
func (w *Network) Service(port int) string { return net.JoinHostPort(serviceHost, strconv.Itoa(port)) }

// Reach is the address of this computer under which a port of a box answers.
func (w *Network) Reach(number, port int) string { return w.forward[forwardKey(number, port)] }

// Close ends the network. It may be called twice.
func (w *Network) Close() {
	if w.qemu != nil {
		w.qemu.end()
	}
	if w.wires != nil {
		_ = w.wires.close() // nothing is lost that anybody wants
	}
	if w.log != nil {
		_ = w.log.Close() // it was for people
	}
}
