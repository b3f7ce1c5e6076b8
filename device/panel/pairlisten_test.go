// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"incamera/device/pairing"
)

// TestTLS looks at what the listener offers.
func TestTLS(t *testing.T) {
	b := newBox(t)
	host := b.servePaired(t)
	<-b.shown
	config := b.transport().TLSClientConfig
	config.MinVersion = tls.VersionTLS12
	config.NextProtos = []string{"h2", "http/1.1"}
	config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	ask := func() tls.ConnectionState {
		conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// The answer follows any ticket.
		if _, err := fmt.Fprintf(conn, "GET /v1/pairing HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host); err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 200") {
			t.Fatalf("%q, %v", text, err)
		}
		return conn.(*tls.Conn).ConnectionState() //nolint:forcetypeassert // a tls.Dialer made it
	}
	for range 2 {
		s := ask()
		if s.Version != tls.VersionTLS13 || s.DidResume || s.NegotiatedProtocol != "http/1.1" || s.CurveID != tls.X25519MLKEM768 {
			t.Errorf("version %x, resumed %v, protocol %q, curve %v", s.Version, s.DidResume, s.NegotiatedProtocol, s.CurveID)
		}
	}
	config.MaxVersion = tls.VersionTLS12
	if conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", host); err == nil {
		_ = conn.Close()
		t.Error("it speaks TLS 1.2")
	}
	plain, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := fmt.Fprintf(plain, "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if text, _ := io.ReadAll(plain); strings.Contains(string(text), "Curie") || !strings.HasPrefix(string(text), "HTTP/1.0 400") {
		t.Errorf("without TLS it says %q", text)
	}
}

// TestFloods asks more often than one may, in each way that costs the room
// something.
func TestFloods(t *testing.T) {
	b := newBox(t)
	host := b.servePaired(t)
	<-b.shown
	client := &http.Client{Transport: b.transport(), Timeout: 10 * time.Second}
	seen := map[int]int{}
	for range 40 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+"/v1/pairing", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		seen[answer.StatusCode]++
		if answer.StatusCode == http.StatusTooManyRequests && answer.Header.Get("Retry-After") == "" {
			t.Error("it does not say when to come again")
		}
	}
	if seen[200] < 20 || seen[200] > 30 || seen[200]+seen[429] != 40 {
		t.Errorf("40 requests at once: %v", seen)
	}

	shaken := 0
	for range 40 {
		conn, err := (&tls.Dialer{Config: b.transport().TLSClientConfig}).DialContext(t.Context(), "tcp", host)
		if err == nil {
			shaken++
			_ = conn.Close()
		}
	}
	if shaken < 15 || shaken > 35 {
		t.Errorf("%d of 40 handshakes at once", shaken)
	}
}

// TestHandshakes counts by address and for the room.
func TestHandshakes(t *testing.T) {
	l, now, one, all := newLimits(), time.Now(), 0, 0
	for range 50 {
		if l.handshake("192.0.2.1", now) {
			one++
		}
	}
	for i := range 300 {
		if l.handshake(fmt.Sprintf("198.51.100.%d", i%200), now) {
			all++
		}
	}
	if one != 20 || all != 100-20 {
		t.Errorf("%d from one address, %d more from many", one, all)
	}
	if !l.handshake("192.0.2.1", now.Add(time.Second)) {
		t.Error("a second later it is still too much")
	}
}

func TestPlaces(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1", "[::ffff:192.0.2.1]:5": "192.0.2.1", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:5": "fe80::/64", "pipe": "pipe",
	} {
		if got := placeOf(remote); got != want {
			t.Errorf("%s is counted as %s, want %s", remote, got, want)
		}
	}
}

// TestGate fills the listener from one address.
func TestGate(t *testing.T) {
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	g := &gate{Listener: inner, open: map[string]int{}}
	accepted := make(chan net.Conn, 2*maxPlaceConns)
	go func() {
		for {
			c, err := g.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	var taken []net.Conn
	for range maxPlaceConns {
		dial()
		taken = append(taken, <-accepted)
	}
	late := dial()
	_ = late.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := late.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("one too many: %v", err)
	}
	_ = taken[0].Close()
	_ = taken[0].Close() // counts once
	dial()
	taken = append(taken, <-accepted)
	for _, c := range taken {
		_ = c.Close()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all != 0 || len(g.open) != 0 {
		t.Errorf("%d connections are counted, of %v", g.all, g.open)
	}
}

// TestOwnAddress has addresses of this computer and of others.
func TestOwnAddress(t *testing.T) {
	local := &net.TCPAddr{IP: net.IPv4(198, 51, 100, 9), Port: 443} // as if the connection came to it
	for name, want := range map[string]bool{
		"198.51.100.9": true, "127.0.0.1": true, "::ffff:198.51.100.9": true, "198.51.100.10": false, "room": false, "": false, "fe80::1%1": false,
	} {
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(local)), http.MethodGet, "/", nil)
		if ownAddress(r, name) {
			t.Errorf("%q counts without TLS", name)
		}
		r.TLS = &tls.ConnectionState{}
		if got := ownAddress(r, name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
	for _, own := range pairing.Addresses() {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.TLS = &tls.ConnectionState{}
		if !ownAddress(r, own) {
			t.Errorf("%s is an address of this computer", own)
		}
	}
}

// TestProve opens sessions with everything but the proof for this one.
func TestProve(t *testing.T) {
	b := newBox(t)
	host := b.servePaired(t)
	c, p := b.paired(t, host, <-b.shown)
	_ = p.conn.CloseNow()
	old := "" // a proof that was good in another session
	for _, tt := range []struct{ name, first string }{
		{"silence", ""},
		{"another method", `{"jsonrpc":"2.0","id":1,"method":"Feedback.Subscribe","params":{"Query":["**"]}}`},
		{"no parameters", `{"jsonrpc":"2.0","id":1,"method":"Session.Prove"}`},
		{"no request", `[]`},
		{"old proof", "OLD"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			c.Identify(h)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			conn, _, err := websocket.Dial(ctx, "https://"+host+"/v1/ws", &websocket.DialOptions{ //nolint:bodyclose // the library closes it
				HTTPClient: &http.Client{Transport: b.transport()}, HTTPHeader: h, Subprotocols: []string{subprotocol},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			r := &remote{t, conn}
			hello := r.read()
			if tt.first == "OLD" {
				tt.first = old
			}
			if tt.first == "" {
				if old, err = c.Proof(hello.Params); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				_, err := r.next()
				if took := time.Since(began); err == nil || took < proveTime/2 || took > proveTime+5*time.Second {
					t.Errorf("after %v: %v", took, err)
				}
				return
			}
			if got := reasonOf(r.ask(tt.first)); got == "" {
				t.Fatal("it is let in")
			}
			if _, err := r.next(); websocket.CloseStatus(err) != statusUnproven {
				t.Errorf("and goes on: %v", err)
			}
		})
	}
	if n := b.srv.open(); n != 0 {
		b.soon(t, func() bool { return b.srv.open() == 0 })
	}
}
