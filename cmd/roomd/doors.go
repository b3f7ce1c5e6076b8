// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"incamera/cmd/internal/supervise"
	"incamera/device/pairing"
	"incamera/device/panel"
	"incamera/secureboot/provision"
	"incamera/secureboot/tpm"
)

// doors are how panels other than the room's own computer come in: paired, over
// TLS. A room without any has none.
type doors struct {
	address string
	keeper  *pairing.Keeper
	cert    tls.Certificate
}

func newDoors(ctx context.Context, c *config, id string, chip *tpm.TPM, log *slog.Logger) (*doors, error) {
	if c.Paired == nil {
		return &doors{}, nil
	}
	host, port, err := net.SplitHostPort(c.Paired.Address)
	if err != nil {
		return nil, fmt.Errorf("paired: %w", err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("paired: port %q: %w", port, err)
	}
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	var names []string
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		names = []string{host} // it listens there alone
	}
	d := &doors{address: c.Paired.Address}
	if d.cert, err = pairing.LoadCertificate(filepath.Join(c.State, "panel.pem"), append(names, pairing.Addresses()...)); err != nil {
		return nil, err
	}
	d.keeper, err = pairing.Open(ctx, pairing.Options{
		Path: filepath.Join(c.State, "panels.json"), Room: func() string { return id }, Pin: pairing.PinOf(d.cert), Port: uint16(number), Names: names,
		Guesses: provision.NewGuesses(chip), Display: pairing.NewNotice(c.Paired.Notice, log),
	}, log)
	return d, err
}

func (d *doors) parts(server *panel.Server) []supervise.Part {
	if d.keeper == nil {
		return nil
	}
	serve := func(ctx context.Context, ln net.Listener) error { return server.ServePaired(ctx, ln, d.cert) }
	return []supervise.Part{
		{Name: "pairing", Run: running(d.keeper.Run)},
		listening("paired panels", d.address, serve),
	}
}
