// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/pion/rtp"
)

func TestParseRTP(t *testing.T) {
	head := "\x80\xe0\x12\x34\x00\x00\x00\x07\x00\x00\x00\x01" // type 96, marker
	for _, tt := range []struct {
		name, in, payload string
		ok                bool
	}{
		{"plain", head + "x", "x", true},
		{"one source", "\x81" + head[1:] + "\x00\x00\x00\x09x", "x", true},
		{"extension", "\x90" + head[1:] + "\xbe\xde\x00\x01\x10\x01\x00\x00x", "x", true},
		{"empty extension", "\x90" + head[1:] + "\xbe\xde\x00\x00x", "x", true},
		{"padding", "\xa0" + head[1:] + "x\x00\x00\x03", "x", true},
		{"empty", "", "", false},
		{"short header", head[:11], "", false},
		{"no payload", head, "", false},
		{"version 1", "\x40" + head[1:] + "x", "", false},
		{"version 3", "\xc0" + head[1:] + "x", "", false},
		{"other type", "\x80\xe1" + head[2:] + "x", "", false},
		{"missing sources", "\x8f" + head[1:] + "xxxx", "", false},
		{"half an extension header", "\x90" + head[1:] + "\xbe\xde\x00", "", false},
		{"extension beyond the end", "\x90" + head[1:] + "\xbe\xde\xff\xffx", "", false},
		{"no padding length", "\xa0" + head[1:] + "x\x00", "", false},
		{"only padding", "\xa0" + head[1:] + "\x00\x02", "", false},
		{"padding beyond the beginning", "\xa0" + head[1:] + "x\xff", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, ok := parseRTP([]byte(tt.in), typeVP8)
			if ok != tt.ok || string(p.payload) != tt.payload {
				t.Fatalf("parseRTP(%x) = %q, %v; want %q, %v", tt.in, p.payload, ok, tt.payload, tt.ok)
			}
			if ok && (p.number != 0x1234 || p.stamp != 7 || !p.marker) {
				t.Errorf("parseRTP(%x) = %+v", tt.in, p)
			}
		})
	}
}

// FuzzRTP: what we and pion both accept, we read alike; and the payload lies
// within the packet.
func FuzzRTP(f *testing.F) {
	f.Add([]byte("\x80\xe0\x12\x34\x00\x00\x00\x07\x00\x00\x00\x01x"))
	f.Add([]byte("\xb1\x60\x12\x34\x00\x00\x00\x07\x00\x00\x00\x01\x00\x00\x00\x09\xbe\xde\x00\x01\x10\x01\x00\x00x\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := parseRTP(b, typeVP8)
		if ok && (len(got.payload) == 0 || len(got.payload) > len(b)-12) {
			t.Fatalf("parseRTP(%x) has a payload of %d bytes", b, len(got.payload))
		}
		var want rtp.Packet
		if err := want.Unmarshal(b); err != nil || !ok {
			return
		}
		if got.number != want.SequenceNumber || got.stamp != want.Timestamp || got.marker != want.Marker ||
			!bytes.Equal(got.payload, want.Payload) {
			t.Fatalf("parseRTP(%x) = %+v; want %+v", b, got, want)
		}
	})
}

// TestTimeline carries capture times through timestamps and back, over wraps of
// both clocks and before the origin.
func TestTimeline(t *testing.T) {
	for _, hertz := range []int64{rateVP8, rateOpus} {
		for _, start := range []time.Duration{-time.Second, 0, time.Minute, 13*time.Hour + 15*time.Minute, 24*time.Hour + 51*time.Minute} {
			l := timeline{hertz: hertz}
			for at := start; at < start+3*time.Minute; at += 33_333_333 {
				near := start + time.Hour // another stream of the same sender
				if got := l.at(stampOf(at, hertz), near); (got - at).Abs() > time.Second/time.Duration(hertz)+1 {
					t.Fatalf("%d Hz: %v came back as %v", hertz, at, got)
				}
			}
		}
	}
}

// TestTimelineHostile takes steps that no sender makes: times stay monotone
// functions of what came and never overflow in a day of packets.
func TestTimelineHostile(t *testing.T) {
	l := timeline{hertz: rateOpus}
	last := time.Duration(math.MinInt64)
	for i := range 1000 {
		got := l.at(uint32(i)*0x7fff_ffff, 0)
		if got < last {
			t.Fatalf("step %d goes back from %v to %v", i, last, got)
		}
		last = got
	}
}

func TestNumbering(t *testing.T) {
	var n numbering
	for _, tt := range []struct {
		number uint16
		seq    uint32
		gap    bool
		lost   uint64
	}{
		{65534, 0, false, 0},
		{65535, 1, false, 0},
		{0, 2, false, 0},
		{3, 5, true, 2},
		{1, 3, false, 1},
		{2, 4, false, 0},
		{4, 6, false, 0},
	} {
		seq, gap := n.next(tt.number)
		if seq != tt.seq || gap != tt.gap || n.lost != tt.lost {
			t.Errorf("next(%d) = %d, %v with %d lost; want %d, %v with %d", tt.number, seq, gap, n.lost, tt.seq, tt.gap, tt.lost)
		}
	}
}
