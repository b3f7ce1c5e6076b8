// SPDX-License-Identifier: Apache-2.0

package call

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"incamera/media/e2ee"
)

func leaf(n e2ee.Leaf) *e2ee.Leaf { return &n }

var messages = []struct {
	name string
	m    message
}{
	{"offer", message{To: leaf(0), SDP: &sdp{Connection: 7, Text: "v=0"}}},
	{"answer", message{To: leaf(511), SDP: &sdp{Connection: 1<<64 - 1, Answer: true, Text: "v=0"}}},
	{"largest description", message{To: leaf(1), SDP: &sdp{Text: strings.Repeat("a", maxSDP)}}},
	{"status", message{Status: &says{Muted: true, Relay: "192.0.2.1:443"}}},
	{"status of nothing", message{Status: &says{}}},
	{"bye", message{Bye: true}},
}

func TestMessages(t *testing.T) {
	for _, tt := range messages {
		t.Run(tt.name, func(t *testing.T) {
			b, err := tt.m.encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := decodeMessage(b)
			if err != nil || !reflect.DeepEqual(got, tt.m) {
				t.Errorf("came back as %+v, %v; want %+v", got, err, tt.m)
			}
		})
	}
}

func TestMessageRefused(t *testing.T) {
	for _, tt := range []struct{ name, wire string }{
		{"empty", ""},
		{"no body", "a0"},
		{"two bodies", "a203a004f5"},
		{"offer to nobody", "a102a201070363763d30"},
		{"offer without text", "a2010002a201070360"},
		{"unknown member", "a204f509f5"},
		{"member twice", "a204f504f5"},
		{"bytes behind", "a104f500"},
		{"indefinite length", "bf04f5ff"},
		{"tag", "a104c101"},
		{"deep nesting", "a1038181818181818180"},
		{"truncated", "a102a20107"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := hex.DecodeString(tt.wire)
			if err != nil {
				t.Fatal(err)
			}
			if m, err := decodeMessage(b); !errors.Is(err, errMessage) {
				t.Errorf("decodeMessage(%s) = %+v, %v; want %v", tt.wire, m, err, errMessage)
			}
		})
	}
	long := message{To: leaf(1), SDP: &sdp{Text: strings.Repeat("a", maxSDP+1)}}
	if _, err := long.encode(); !errors.Is(err, errMessage) {
		t.Errorf("a description of %d bytes is sent: %v", maxSDP+1, err)
	}
	if _, err := decodeMessage(make([]byte, maxMessage+1)); !errors.Is(err, errMessage) {
		t.Errorf("a message of %d bytes is read: %v", maxMessage+1, err)
	}
}

// FuzzMessage checks that what is accepted is within its bounds and, encoded
// again, means the same.
func FuzzMessage(f *testing.F) {
	for _, tt := range messages {
		b, err := tt.m.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := decodeMessage(in)
		if err != nil {
			return
		}
		out, err := m.encode()
		if err != nil {
			t.Fatalf("accepted %x, but it cannot be sent: %v", in, err)
		}
		again, err := decodeMessage(out)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%+v came back as %+v, %v", m, again, err)
		}
		if twice, err := again.encode(); err != nil || !bytes.Equal(twice, out) {
			t.Errorf("two encodings: %x and %x, %v", out, twice, err)
		}
	})
}
