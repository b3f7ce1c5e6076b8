// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// anOffer returns an offer as a room makes it.
func anOffer(t testing.TB) string {
	t.Helper()
	r := newRoom(t, newAPI(t, Options{Loopback: true}), 0)
	offer, err := r.Offer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return offer
}

func TestDescriptionRefusals(t *testing.T) {
	offer := anOffer(t)
	t.Logf("an offer has %d bytes", len(offer))
	if _, err := parseDescription(offer); err != nil {
		t.Fatal(err)
	}
	first := offer[:strings.Index(offer, "m=")]
	parts := strings.Split(offer[len(first):], "m=")[1:]
	for i := range parts {
		parts[i] = "m=" + parts[i]
	}
	application := "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:3\r\na=sctp-port:5000\r\n"
	swap := func(old, new string) string {
		if !strings.Contains(offer, old) {
			t.Fatalf("offer without %q", old)
		}
		return strings.Replace(offer, old, new, 1)
	}
	for name, text := range map[string]string{
		"empty":               "",
		"no SDP":              "hello",
		"too long":            offer + strings.Repeat("a=x\r\n", MaxDescription/5),
		"data channel":        offer + application,
		"data channel only":   first + application,
		"a fourth stream":     offer + strings.ReplaceAll(parts[2], "a=mid:2", "a=mid:3"),
		"two streams":         first + parts[0] + parts[1],
		"other order":         first + parts[1] + parts[0] + parts[2],
		"names swapped":       first + parts[0] + parts[2] + parts[1],
		"simulcast":           offer + "a=simulcast:send 1;2\r\n",
		"rid":                 offer + "a=rid:1 send\r\n",
		"repair stream":       offer + "a=ssrc-group:FID 1 2\r\n",
		"second stream":       offer + "a=ssrc:12345 cname:x\r\n",
		"stream 0":            offer + "a=ssrc:0 cname:x\r\n",
		"no number of stream": offer + "a=ssrc:x cname:x\r\n",
		"one number twice":    first + parts[0] + parts[1] + strings.ReplaceAll(parts[1], "a=mid:1", "a=mid:2"),
		"no stream":           strings.ReplaceAll(offer, "a=ssrc:", "a=x:"),
		"other codec":         swap("VP8/90000", "H264/90000"),
		"second codec":        swap("m=video 9 UDP/TLS/RTP/SAVPF 96", "m=video 9 UDP/TLS/RTP/SAVPF 96 97"),
		"rejected section":    swap("m=video 9", "m=video 0"),
		"receive only":        swap("a=sendrecv", "a=recvonly"),
		"inactive":            swap("a=sendrecv", "a=inactive"),
		"keys in clear":       offer + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n",
		"no fingerprint":      strings.ReplaceAll(offer, "a=fingerprint:", "a=x:"),
		"two fingerprints":    offer + "a=fingerprint:sha-256 00:11\r\n",
		"weak fingerprint":    strings.ReplaceAll(offer, "a=fingerprint:sha-256", "a=fingerprint:sha-1"),
		"many candidates":     offer + strings.Repeat("a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n", maxCandidates),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseDescription(text); !errors.Is(err, ErrDescription) {
				t.Errorf("parseDescription: %v; want ErrDescription", err)
			}
		})
	}
}

// FuzzDescription: what is refused is refused with the one error; what is
// accepted has three streams and one fingerprint.
func FuzzDescription(f *testing.F) {
	f.Add(anOffer(f))
	f.Add("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseDescription(text)
		if err != nil {
			if !errors.Is(err, ErrDescription) {
				t.Fatalf("parseDescription(%q): %v", text, err)
			}
			return
		}
		s := r.ssrcs
		if s[0] == 0 || s[1] == 0 || s[2] == 0 || s[0] == s[1] || s[1] == s[2] || s[0] == s[2] || r.fingerprint == "" {
			t.Fatalf("parseDescription(%q) = %+v", text, r)
		}
	})
}

// FuzzAnswer gives mutated offers to whole peers: Answer returns within its
// limits, and Close ends whatever began.
func FuzzAnswer(f *testing.F) {
	api := newAPI(f, Options{Loopback: true})
	offer := anOffer(f)
	f.Add(offer)
	f.Add(strings.ReplaceAll(offer, "a=setup:actpass", "a=setup:passive"))
	f.Add(strings.ReplaceAll(offer, "127.0.0.1", "::1"))
	f.Add(strings.ReplaceAll(offer, "a=ice-ufrag", "a=x"))
	f.Fuzz(func(t *testing.T, text string) {
		r := newRoom(t, api, 0)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := r.Answer(ctx, text); err != nil {
			return
		}
		if d := time.Since(start); d > 4*time.Second {
			t.Errorf("Answer took %v", d)
		}
	})
}
