// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/webrtc/v4"

	"incamera/media/frame"
)

// TestUnsealedNowhere records every datagram of a call whose SRTP does not
// encrypt. The plaintext of no frame is among them; the sealed bytes are, which
// shows that the record would have shown it.
func TestUnsealedNowhere(t *testing.T) {
	w := newWire(t)
	w.keep = true
	a, b := pair(t, Options{Net: w, SRTPProfiles: []dtls.SRTPProtectionProfile{dtls.SRTP_NULL_HMAC_SHA1_80}})
	secret := bytes.Repeat([]byte("what the room says "), 60)
	copy(secret[1:], "begin")
	var marks [][]byte
	for _, k := range []frame.Kind{frame.Audio, frame.Camera, frame.Content} {
		data := secret
		if k == frame.Audio {
			data = secret[:256]
		}
		s, err := a.keys.Seal(nil, &frame.Encoded{Data: data, Kind: k, Key: true, PTS: frame.Now()})
		if err != nil {
			t.Fatal(err)
		}
		marks = append(marks, bytes.Clone(s.Bytes()[40:80]))
		if err := a.Send(s); err != nil {
			t.Fatal(err)
		}
	}
	for range marks {
		select {
		case <-b.frames:
		case <-time.After(5 * time.Second):
			t.Fatal("a frame did not come")
		}
	}
	w.mu.Lock()
	all := bytes.Join(w.sent, nil)
	w.mu.Unlock()
	for i, m := range marks {
		if !bytes.Contains(all, m) {
			t.Errorf("the sealed bytes of kind %d are not in the record: SRTP encrypts, or the record has holes", i)
		}
	}
	if bytes.Contains(all, []byte("the room says")) {
		t.Error("plaintext left the room")
	}
}

// TestProfile: the product does not run AES-GCM on the hop, and the reason still
// holds: a repeated packet has the number of the first and another header, which
// under GCM is one nonce for two messages.
func TestProfile(t *testing.T) {
	for _, p := range profiles {
		if p == dtls.SRTP_AEAD_AES_128_GCM || p == dtls.SRTP_AEAD_AES_256_GCM {
			t.Errorf("profile %v repeats a nonce when NACK repeats a packet", p)
		}
	}
	w := newWire(t)
	w.keep = true
	a, b := pair(t, Options{Net: w, SRTPProfiles: []dtls.SRTPProtectionProfile{dtls.SRTP_NULL_HMAC_SHA1_80}})
	var count atomic.Int64
	w.rule(func(b []byte) bool { return !isMedia(b) || count.Add(1) != 3 }) // loses the third
	if err := a.Send(a.sealed(t, frame.Camera, 0, 8000, true)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-b.frames:
	case <-time.After(5 * time.Second):
		t.Fatal("the frame was not repaired")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	first := map[uint16][]byte{}
	repeated := 0
	for _, d := range w.sent {
		p, ok := parseRTP(d, typeVP8)
		if !isMedia(d) || !ok {
			continue
		}
		before := first[p.number]
		if before == nil {
			first[p.number] = d
			continue
		}
		repeated++
		if q, _ := parseRTP(before, typeVP8); bytes.Equal(d, before) || !bytes.Equal(p.payload[:1000], q.payload[:1000]) {
			t.Error("a repeated packet is not the old payload below a new header: AES-GCM may be safe after all")
		}
	}
	if repeated == 0 {
		t.Error("no packet was repeated")
	}
}

// TestDataChannelRefused: a peer that is not one of ours gets no data channel
// and no fourth track.
func TestDataChannelRefused(t *testing.T) {
	b := newRoom(t, newAPI(t, Options{Loopback: true}), 1)
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	if _, err := pc.CreateDataChannel("x", nil); err != nil {
		t.Fatal(err)
	}
	d, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Answer(t.Context(), d.SDP); !errors.Is(err, ErrDescription) {
		t.Errorf("Answer: %v; want ErrDescription", err)
	}
}

// TestHostileAnswers gives damaged offers to whole peers. Each is refused or
// answered in bounded time, and everything that began ends.
func TestHostileAnswers(t *testing.T) {
	api := newAPI(t, Options{Loopback: true})
	offer := anOffer(t)
	lines := strings.SplitAfter(offer, "\r\n")
	r := rand.New(rand.NewPCG(1, 2))
	answered := 0
	for range 60 {
		damaged := append([]string(nil), lines...)
		for range 1 + r.IntN(2) {
			i, j := r.IntN(len(damaged)), r.IntN(len(damaged))
			switch r.IntN(4) {
			case 0:
				damaged[i] = ""
			case 1:
				damaged[i] = damaged[j]
			case 2:
				if b := []byte(damaged[i]); len(b) > 4 {
					b[2+r.IntN(len(b)-4)] = byte(' ' + r.IntN(95))
					damaged[i] = string(b)
				}
			case 3:
				damaged[i] = strings.Replace(damaged[i], "1", "99999999999", 1)
			}
		}
		p, err := New(api, newSink(), quiet)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := p.Answer(t.Context(), strings.Join(damaged, "")); err == nil {
			answered++
		}
		p.Close()
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%v for %q", d, damaged)
		}
	}
	t.Logf("%d of 60 damaged offers were answered", answered)
}

// A sink takes frames and forgets them.
type sink struct{ frames atomic.Int64 }

func newSink() *sink { return &sink{} }

func (s *sink) Frame(Received)          { s.frames.Add(1) }
func (*sink) KeyFrameWanted(frame.Kind) {}
func (*sink) State(State)               {}
