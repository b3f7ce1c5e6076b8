// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// A process is a child of ours.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it is gone
}

func start(cmd *exec.Cmd) (*process, error) {
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("harness: %s: %w", filepath.Base(cmd.Path), err)
	}
	p := &process{cmd, make(chan struct{})}
	go func() {
		_ = cmd.Wait() // that it was ended is no failure; what it said is in its log
		close(p.done)
	}()
	return p, nil
}

// end kills the child, by its process and no other, and waits until it is gone.
func (p *process) end() {
	_ = p.cmd.Process.Kill() // it may be gone already
	<-p.done
}

// listenStep is how often to look for the socket of a child.
const listenStep = 20 * time.Millisecond

// listens waits for the child's socket.
func (p *process) listens(ctx context.Context, socket string) error {
	for {
		if _, err := os.Stat(socket); err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("harness: %s ended at once: see its log", filepath.Base(p.cmd.Path))
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(listenStep):
		}
	}
}

// freePorts finds ports of this computer's loopback that nobody has. Whoever is
// told of them opens them a moment later.
func freePorts(ctx context.Context, n int) ([]int, error) {
	var ports []int
	for range n {
		var c net.ListenConfig
		l, err := c.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // all stay open until each is another
		addr, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			return nil, errors.New("harness: a listener without a port")
		}
		ports = append(ports, addr.Port)
	}
	return ports, nil
}
