// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"

	"incamera/device/pairing"
)

// pair gives the box a keeper.
func (b *box) pair(t testing.TB, log *slog.Logger) {
	t.Helper()
	folder := t.TempDir()
	b.shown = make(chan pairing.Window, 16)
	cert, err := pairing.LoadCertificate(filepath.Join(folder, "panel.pem"), []string{"vauban.example"})
	if err != nil {
		t.Fatal(err)
	}
	b.cert = cert
	b.keeper, err = pairing.Open(t.Context(), pairing.Options{
		Path: filepath.Join(folder, "panels.json"), Room: func() string { return "ic-1" }, Pin: pairing.PinOf(cert), Port: 443, Display: b,
	}, log)
	if err != nil {
		t.Fatal(err)
	}
}

// Show implements [pairing.Display].
func (b *box) Show(w pairing.Window) { b.shown <- w }

// Hide implements [pairing.Display].
func (b *box) Hide() {}

// servePaired serves the box over TLS on loopback, and runs its keeper. It
// returns the host with its port.
func (b *box) servePaired(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 2)
	go func() { _ = b.keeper.Run(ctx); done <- struct{}{} }()
	go func() { _ = b.srv.ServePaired(ctx, l, b.cert); done <- struct{}{} }()
	t.Cleanup(func() { cancel(); <-done; <-done })
	return l.Addr().String()
}

// TestPaired pairs a client and controls the room over TLS.
func TestPaired(t *testing.T) {
	b := newBox(t)
	host := b.servePaired(t)
	w := <-b.shown
	c, err := pairing.PairWeb(t.Context(), w.LinkAt(host), "tablet")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := c.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := &remote{t, conn}
	t.Logf("%s", p.ask(`{"jsonrpc":"2.0","id":1,"method":"Command/Audio/Mute"}`).Result)
	var v any
	if err := c.Get(t.Context(), "/v1/status/pairing", &v); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", v)
}
