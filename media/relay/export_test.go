// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"net"
)

// Through replaces TCP.
func (o DialOptions) Through(dial func(context.Context) (net.Conn, error)) DialOptions {
	o.dial = dial
	return o
}

// Unlimited takes the limits of rate off a server that is measured.
func (s *Server) Unlimited() { s.limits = limits{} }

// ErrProtocol is what a relay is told that lies about its log.
var ErrProtocol = errProtocol

// What tests count up to.
const (
	MaxConns       = maxConns
	MaxRoomConns   = maxRoomConns
	MaxAddrPending = maxAddrPending
	KnocksWindow   = knocksWindow
	Path           = path
	Subprotocol    = subprotocol
)
