// SPDX-License-Identifier: Apache-2.0

package buildroot

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	roomAddr, peerAddr = "192.0.2.1", "192.0.2.2" // RFC 5737
	insideEnv          = "TRAFFIC_INSIDE"

	// arrives bounds the way of a packet between two interfaces of one kernel,
	// on a computer that does much else.
	arrives = 10 * time.Second
	// silence is how long nothing must arrive. In the same time, and without
	// the rules, everything does: see the control.
	silence = 300 * time.Millisecond
)

// TestTraffic sends packets between a room and another, both behind the rules,
// in a network that this test alone is in.
func TestTraffic(t *testing.T) {
	nft, ip := tool(t, "nft"), tool(t, "ip")
	if os.Getenv(insideEnv) == "" {
		cmd := isolated(exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTraffic$", "-test.v"))
		cmd.Env = append(os.Environ(), insideEnv+"=1")
		if status, out := run(t, cmd); status != 0 {
			t.Fatalf("status %d\n%s", status, out)
		}
		return
	}
	room, peer := newHost(), newHost()
	defer close(room)
	defer close(peer)
	must := func(h host, name string, args ...string) {
		t.Helper()
		var out []byte
		var err error
		h.do(func() { out, err = exec.CommandContext(t.Context(), name, args...).CombinedOutput() })
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	must(room, ip, "link", "add", "room0", "type", "veth", "peer", "name", "peer0", "netns", strconv.Itoa(peer.thread()))
	must(room, ip, "addr", "add", roomAddr+"/24", "dev", "room0")
	must(peer, ip, "addr", "add", peerAddr+"/24", "dev", "peer0")
	must(room, ip, "link", "set", "room0", "up")
	must(peer, ip, "link", "set", "peer0", "up")

	ports := map[int]bool{22: false, 443: true, 7442: false, 7443: true, 7444: true, 7445: false, 8443: false}
	for port := range ports {
		room.listen(t, port)
	}
	roomUDP, peerUDP := room.udp(t, roomAddr), peer.udp(t, peerAddr)

	// The control: without the rules every port answers and every packet comes.
	for port := range ports {
		if err := peer.dial(port); err != nil {
			t.Fatalf("without rules: port %d: %v", port, err)
		}
	}
	if err := send(peerUDP, roomUDP, arrives); err != nil {
		t.Fatalf("without rules: %v", err)
	}

	// The kernel must forget the control, which would make all that follows an
	// answer: other ports, and rules for what is new.
	roomUDP, peerUDP = room.udp(t, roomAddr), peer.udp(t, peerAddr)
	must(room, nft, "-f", rules)
	must(peer, nft, "-f", rules)
	for port, want := range ports {
		if err := peer.dial(port); (err == nil) != want {
			t.Errorf("port %d: %v; open: %v", port, err, want)
		}
	}
	if send(peerUDP, roomUDP, silence) == nil {
		t.Error("a packet reached a room that had sent none")
	}
	// Media: the other has sent, in vain; now this room sends as well.
	if err := send(roomUDP, peerUDP, arrives); err != nil {
		t.Errorf("from the room, to one that has sent: %v", err)
	}
	if err := send(peerUDP, roomUDP, arrives); err != nil {
		t.Errorf("to the room, which has sent: %v", err)
	}
	stranger := peer.udp(t, peerAddr)
	if send(stranger, roomUDP, silence) == nil {
		t.Error("a packet from another port reached the room's media")
	}
}

// A host is a thread in a network of its own: what it does is done there.
type host chan func()

func newHost() host {
	h := make(host)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			panic(err) // in a process that exists for this test alone
		}
		for f := range h {
			f()
		}
	}()
	return h
}

func (h host) do(f func()) {
	done := make(chan struct{})
	h <- func() { defer close(done); f() }
	<-done
}

func (h host) thread() (id int) {
	h.do(func() { id = unix.Gettid() })
	return id
}

// listen takes connections at a port of the room until the test ends.
func (h host) listen(t *testing.T, port int) {
	t.Helper()
	h.do(func() {
		ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", net.JoinHostPort(roomAddr, strconv.Itoa(port)))
		if err != nil {
			t.Errorf("%v", err)
			return
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
	})
}

func (h host) dial(port int) (err error) {
	h.do(func() {
		var c net.Conn
		if c, err = net.DialTimeout("tcp4", net.JoinHostPort(roomAddr, strconv.Itoa(port)), arrives); err == nil {
			c.Close()
		}
	})
	return err
}

func (h host) udp(t *testing.T, addr string) (c *net.UDPConn) {
	t.Helper()
	h.do(func() {
		var err error
		if c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(addr)}); err != nil {
			t.Errorf("%v", err)
		}
	})
	if c == nil {
		t.FailNow()
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// send sends a packet and waits for it at the other end.
func send(from, to *net.UDPConn, wait time.Duration) error {
	word := fmt.Sprintf("%s %d", from.LocalAddr(), time.Now().UnixNano())
	if _, err := from.WriteTo([]byte(word), to.LocalAddr()); err != nil {
		return err
	}
	if err := to.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	b := make([]byte, 200)
	n, _, err := to.ReadFrom(b)
	if err == nil && string(b[:n]) != word {
		return fmt.Errorf("received %q; want %q", b[:n], word)
	}
	return err
}
