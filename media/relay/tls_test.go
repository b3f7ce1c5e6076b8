// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"incamera/media/relay"
	"incamera/media/relay/relaytest"
	"incamera/media/signal"
)

// TestStranger: who has no certificate of the site gets no message through, in
// neither direction.
func TestStranger(t *testing.T) {
	h := newHouse(t)
	elsewhere := relaytest.NewSite(t, "Example") // the same name, another CA
	stranger := elsewhere.Room(t, "vauban")
	stranger.SiteCA = h.site.Pool // it believes our relay, not the reverse
	if c, err := relay.Dial(t.Context(), h.addr, relay.DialOptions{Credentials: stranger, Expect: relay.Expect{Name: "vauban"}}); err == nil {
		// TLS 1.3 lets the client believe it is through until it reads.
		if _, err := c.Attach(t.Context(), meetingID); !errors.Is(err, relay.ErrClosed) {
			t.Errorf("a stranger attached: %v", err)
		}
		c.Close()
	}
	for name, test := range map[string]struct {
		expect relay.Expect
		pool   *x509.CertPool
		want   error
	}{
		"another name":     {relay.Expect{Name: "curie"}, h.site.Pool, relay.ErrStranger},
		"another key":      {relay.Expect{Name: "vauban", Key: [32]byte{1}}, h.site.Pool, relay.ErrStranger},
		"another site's":   {relay.Expect{Name: "vauban"}, elsewhere.Pool, relay.ErrStranger},
		"nobody in mind":   {relay.Expect{}, h.site.Pool, nil},
		"no CA to ask for": {relay.Expect{Name: "vauban"}, nil, nil},
	} {
		curie := h.room(t, "curie")
		curie.SiteCA = test.pool
		c, err := relay.Dial(t.Context(), h.addr, relay.DialOptions{Credentials: curie, Expect: test.expect})
		if err == nil {
			c.Close()
		}
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %v; want %v", name, err, test.want)
		}
	}
	if _, err := relay.Dial(t.Context(), "no port", relay.DialOptions{Credentials: h.owner, Expect: relay.Expect{Name: "vauban"}}); !errors.Is(err, signal.ErrMalformed) {
		t.Errorf("dialled no address: %v", err)
	}
	if got := h.dial(t, "curie").Relay(); got.Room != (relay.Room{Name: "vauban", Site: "Example"}) || got != h.server(t).Identity() {
		t.Errorf("the relay is %+v", got)
	}
}

// TestTLS checks what is negotiated, and what is not.
func TestTLS(t *testing.T) {
	h := newHouse(t)
	dial := func(change func(*tls.Config)) (*tls.Conn, error) {
		config := &tls.Config{
			Certificates:       []tls.Certificate{h.room(t, "curie").Certificate},
			InsecureSkipVerify: true, // what the server does is tested here
		}
		change(config)
		c, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", h.addr)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") // TLS 1.3: the verdict comes with the first read
		_, err = c.Read(make([]byte, 1))
		return c.(*tls.Conn), err
	}
	c, err := dial(func(*tls.Config) {})
	if err != nil {
		t.Fatal(err)
	}
	if s := c.ConnectionState(); s.Version != tls.VersionTLS13 || s.CurveID != tls.X25519MLKEM768 {
		t.Errorf("negotiated version %x, key exchange %v", s.Version, s.CurveID)
	}
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.2":                 func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		"no certificate":          func(c *tls.Config) { c.Certificates = nil },
		"classical key exchange":  func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256} },
		"certificate of no room":  func(c *tls.Config) { c.Certificates[0] = h.site.Room(t, "a\u202eb").Certificate },
		"certificate without end": func(c *tls.Config) { c.Certificates[0] = h.site.Room(t, strings.Repeat("a", 65)).Certificate },
	} {
		if _, err := dial(change); err == nil {
			t.Errorf("%s: got through", name)
		}
	}
}

func TestIdentityOf(t *testing.T) {
	for _, test := range []struct {
		subject  pkix.Name
		dns      []string
		want     relay.Room
		stranger bool
	}{
		{pkix.Name{CommonName: "Curie", Organization: []string{"A", "B"}}, []string{"c"}, relay.Room{Name: "Curie", Site: "A"}, false},
		{pkix.Name{Organization: []string{"A"}}, []string{"c", "d"}, relay.Room{Name: "c", Site: "A"}, false},
		{pkix.Name{Organization: []string{"A"}}, nil, relay.Room{}, true},
		{pkix.Name{CommonName: "Curie"}, nil, relay.Room{}, true},
		{pkix.Name{CommonName: "Cu\nrie", Organization: []string{"A"}}, nil, relay.Room{}, true},
		{pkix.Name{CommonName: " Curie", Organization: []string{"A"}}, nil, relay.Room{}, true},
	} {
		got, err := relay.IdentityOf(&x509.Certificate{Subject: test.subject, DNSNames: test.dns})
		if got.Room != test.want || errors.Is(err, relay.ErrStranger) != test.stranger {
			t.Errorf("IdentityOf(%v, %v) = %v, %v", test.subject, test.dns, got, err)
		}
	}
}

func TestRoomConnsAreBounded(t *testing.T) {
	h := newHouse(t)
	for range relay.MaxRoomConns {
		if _, err := h.dial(t, "curie").Attach(t.Context(), meetingID); !errors.Is(err, relay.ErrNotFound) {
			t.Fatal(err)
		}
	}
	closedBy(t, h.dial(t, "curie"), signal.TooMany)
	h.open(t) // others are not concerned
}

// TestGate: a machine without a certificate holds a few connections at most,
// and keeps no room from getting in once they are gone.
func TestGate(t *testing.T) {
	h := newHouse(t)
	var silent []net.Conn
	for range relay.MaxAddrPending + 8 {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	closed := 0
	for _, c := range silent[relay.MaxAddrPending:] {
		c.SetReadDeadline(time.Now().Add(3 * time.Second)) // before a handshake times out
		if _, err := c.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			closed++
		}
	}
	if closed != 8 {
		t.Errorf("%d of 8 above the limit were closed", closed)
	}
	for _, c := range silent {
		c.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for { // the server sees the ends of the others a little later
		c, err := relay.Dial(ctx, h.addr, relay.DialOptions{Credentials: h.owner, Expect: relay.Expect{Name: "vauban"}})
		if err == nil {
			c.Close()
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}
