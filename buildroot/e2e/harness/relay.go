// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// relayVariable tells this program that it is to relay, and nothing else.
const relayVariable = "IN_CAMERA_E2E_RELAY"

// Relay is for the first line of main. Where a network started this program as
// the way to a service, it carries bytes between the service and the standard
// streams until both ends are done, and reports that it did.
func Relay(ctx context.Context, args []string) (relayed bool, err error) {
	if os.Getenv(relayVariable) == "" {
		return false, nil
	}
	if len(args) != 2 {
		return true, errors.New("harness: relay: no address")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", args[1])
	if err != nil {
		return true, fmt.Errorf("harness: relay: %w", err)
	}
	defer func() { _ = conn.Close() }() // both directions have ended
	out, ok := conn.(*net.TCPConn)
	if !ok {
		return true, errors.New("harness: relay: not TCP")
	}
	up := make(chan error, 1)
	go func() {
		_, err := io.Copy(out, os.Stdin)
		up <- errors.Join(err, out.CloseWrite())
	}()
	// The box hangs up once it has the answer; to wait for it would keep the
	// program for as long as the box keeps connections.
	_, err = io.Copy(os.Stdout, out)
	if err == nil {
		select {
		case err = <-up:
		default:
		}
	}
	return true, err
}
