// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	maxFrame = 16 << 10               // bytes of an Ethernet frame; cards leave the segments whole
	sendFor  = 100 * time.Millisecond // a box that takes longer to take a frame loses it
	macSize  = 6
)

// wires is a switch: it carries frames between boxes, each to the one that has its
// address. QEMU has only a hub, with which the end that gives addresses would see,
// and refuse, what boxes send one another.
type wires struct {
	ports []*net.UnixConn
	peers []*net.UnixAddr
	done  sync.WaitGroup

	mu    sync.Mutex
	where map[[macSize]byte]int // port, by the address of who sends there
}

// newWires makes a switch with a socket for each pair of paths: its own, and that
// of who is on the other end.
func newWires(paths [][2]string) (*wires, error) {
	w := &wires{where: map[[macSize]byte]int{}}
	for _, p := range paths {
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: p[0], Net: "unixgram"})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("harness: network: %w", err), w.close())
		}
		w.ports = append(w.ports, conn)
		w.peers = append(w.peers, &net.UnixAddr{Name: p[1], Net: "unixgram"})
	}
	return w, nil
}

// run starts to carry frames.
func (w *wires) run() {
	for i := range w.ports {
		w.done.Go(func() { w.carry(i) })
	}
}

func (w *wires) carry(from int) {
	b := make([]byte, maxFrame+1)
	for {
		n, err := w.ports[from].Read(b)
		if err != nil {
			return // closed
		}
		if n < 2*macSize+2 || n > maxFrame {
			continue
		}
		if to, known := w.route(from, [macSize]byte(b), [macSize]byte(b[macSize:])); known {
			if to != from {
				w.send(to, b[:n])
			}
			continue
		}
		for to := range w.ports {
			if to != from {
				w.send(to, b[:n])
			}
		}
	}
}

// route learns where the sender is, and returns where the receiver is.
func (w *wires) route(from int, receiver, sender [macSize]byte) (to int, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if sender[0]&1 == 0 {
		w.where[sender] = from
	}
	to, known = w.where[receiver]
	return to, known
}

// send gives a frame to a port. Who is off, or does not take it, loses it, as with
// any cable.
func (w *wires) send(to int, frame []byte) {
	if w.ports[to].SetWriteDeadline(time.Now().Add(sendFor)) == nil {
		_, _ = w.ports[to].WriteToUnix(frame, w.peers[to]) // lost
	}
}

// close ends the switch and waits until it carries nothing. It may be called twice.
func (w *wires) close() error {
	var err error
	for _, p := range w.ports {
		if e := p.Close(); e != nil && !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	w.done.Wait()
	return err
}
