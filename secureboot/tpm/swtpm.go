// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && !release

package tpm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// swtpm is a software TPM behind a socket. The connection is kept, and made
// anew after an error: a TPM that comes back after a power cut answers again.
type swtpm struct {
	network, address string
	conn             net.Conn // nil while there is none
}

func openSwtpm(ctx context.Context, rest string) (wire, error) {
	network, address, _ := strings.Cut(rest, ":")
	if (network != "unix" && network != "tcp") || address == "" {
		return nil, errors.New("want swtpm:unix:PATH or swtpm:tcp:HOST:PORT")
	}
	s := &swtpm{network: network, address: address}
	return s, s.dial(ctx)
}

func (s *swtpm) dial(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, s.network, s.address)
	if err != nil {
		return err
	}
	s.conn = conn
	return nil
}

func (s *swtpm) exchange(command []byte, deadline time.Time) ([]byte, error) {
	if s.conn == nil {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		defer cancel()
		if err := s.dial(ctx); err != nil {
			return nil, err
		}
	}
	response, err := s.talk(command, deadline)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return response, nil
}

func (s *swtpm) talk(command []byte, deadline time.Time) ([]byte, error) {
	if err := s.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if _, err := s.conn.Write(command); err != nil {
		return nil, err
	}
	// A stream: the header says how much follows.
	response := make([]byte, headerSize, bufferSize)
	if _, err := io.ReadFull(s.conn, response); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(response[2:])
	if size < headerSize || size > bufferSize {
		return nil, fmt.Errorf("response announces %d bytes", size)
	}
	response = response[:size]
	if _, err := io.ReadFull(s.conn, response[headerSize:]); err != nil {
		return nil, err
	}
	return response, nil
}

func (s *swtpm) Close() error {
	if s.conn == nil {
		return nil
	}
	conn := s.conn
	s.conn = nil
	return conn.Close()
}
