// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bytes"
	"testing"

	"github.com/pion/rtp/codecs"
)

// fragments cuts a frame as sendFragment does.
func fragments(wire []byte, picture uint16) [][]byte {
	var all [][]byte
	for at := 0; at < len(wire); at += maxFragment {
		b := appendDescriptor(nil, at == 0, picture)
		all = append(all, append(b, wire[at:min(at+maxFragment, len(wire))]...))
	}
	return all
}

// TestFragments compares our packets with those of the payloader that every
// other pion program uses.
func TestFragments(t *testing.T) {
	theirs := codecs.VP8Payloader{EnablePictureID: true}
	for picture, size := range []int{1, 2, maxFragment - 1, maxFragment, maxFragment + 1, 2 * maxFragment, 12_345, MaxVideoFrame} {
		wire := make([]byte, size)
		for i := range wire {
			wire[i] = byte(i * 7)
		}
		got, want := fragments(wire, uint16(picture)), theirs.Payload(maxPayload, wire)
		if len(got) != len(want) {
			t.Fatalf("%d bytes make %d packets; want %d", size, len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("%d bytes: packet %d begins %x; want %x", size, i, got[i][:4], want[i][:4])
			}
		}
	}
}

func TestParseDescriptor(t *testing.T) {
	for _, tt := range []struct {
		name   string
		in     []byte
		begins bool
		rest   string
		ok     bool
	}{
		{"one octet", []byte("\x10x"), true, "x", true},
		{"continued", []byte("\x00x"), false, "x", true},
		{"ours", []byte("\x90\x80\x80\x01x"), true, "x", true},
		{"short picture id", []byte("\x90\x80\x01x"), true, "x", true},
		{"every field", []byte("\x90\xf0\x80\x01\x02\x03x"), true, "x", true},
		{"K without T", []byte("\x90\x10\x03x"), true, "x", true},
		{"no extension used", []byte("\x90\x00x"), true, "x", true},
		{"S of a later partition", []byte("\x11x"), false, "x", true},
		{"reserved bits", []byte("\x58x"), true, "x", true},
		{"empty", nil, false, "", false},
		{"nothing after one octet", []byte("\x10"), false, "", false},
		{"no extension octet", []byte("\x90"), false, "", false},
		{"no picture id", []byte("\x90\x80"), false, "", false},
		{"half a picture id", []byte("\x90\x80\x80"), false, "", false},
		{"nothing after ours", []byte("\x90\x80\x80\x01"), false, "", false},
		{"no TL0PICIDX", []byte("\x90\x40"), false, "", false},
		{"no TID", []byte("\x90\x20"), false, "", false},
		{"nothing after every field", []byte("\x90\xf0\x80\x01\x02\x03"), false, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			begins, rest, ok := parseDescriptor(tt.in)
			if ok != tt.ok || ok && (begins != tt.begins || string(rest) != tt.rest) {
				t.Errorf("parseDescriptor(%x) = %v, %q, %v; want %v, %q, %v", tt.in, begins, rest, ok, tt.begins, tt.rest, tt.ok)
			}
		})
	}
}

// FuzzDescriptor: what is accepted has the payload that pion's parser finds, and
// what is refused has none.
func FuzzDescriptor(f *testing.F) {
	f.Add([]byte("\x90\x80\x80\x01x"))
	f.Add([]byte("\x90\xf0\x80\x01\x02\x03x"))
	f.Add([]byte("\x10"))
	f.Fuzz(func(t *testing.T, b []byte) {
		begins, rest, ok := parseDescriptor(b)
		var p codecs.VP8Packet
		want, err := p.Unmarshal(b)
		if ok != (err == nil && len(want) > 0) {
			t.Fatalf("parseDescriptor(%x): ok is %v, theirs %v with %d bytes", b, ok, err, len(want))
		}
		if ok && (!bytes.Equal(rest, want) || begins != (p.S == 1 && p.PID == 0)) {
			t.Fatalf("parseDescriptor(%x) = %v, %x; theirs %d, %x", b, begins, rest, p.S, want)
		}
	})
}
