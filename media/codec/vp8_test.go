// SPDX-License-Identifier: Apache-2.0

package codec

import "testing"

// TestParseVP8 checks headers alone: libvpx would refuse most of what is
// refused here, later and after it has made room for it.
func TestParseVP8(t *testing.T) {
	// A key frame that is shown, with a first partition of one byte.
	key := func(width, height int) []byte {
		return []byte{0x30, 0, 0, 0x9d, 0x01, 0x2a, byte(width), byte(width >> 8), byte(height), byte(height >> 8), 7}
	}
	change := func(b []byte, at int, v byte) []byte { b[at] = v; return b }
	for _, tt := range []struct {
		name string
		data []byte
		want vp8Header
		ok   bool
	}{
		{"key frame", key(1280, 720), vp8Header{true, 1280, 720}, true},
		{"largest", key(MaxWidth, MaxHeight), vp8Header{true, MaxWidth, MaxHeight}, true},
		{"with scaling", key(1280|1<<14, 720|2<<14), vp8Header{true, 1280, 720}, true},
		{"delta frame", []byte{0x31, 0, 0, 7}, vp8Header{}, true},
		{"empty", nil, vp8Header{}, false},
		{"tag alone", []byte{0x31, 0, 0}, vp8Header{}, false},
		{"no partition", key(1280, 720)[:10], vp8Header{}, false},
		{"start code", change(key(1280, 720), 4, 2), vp8Header{}, false},
		{"too wide", key(MaxWidth+2, 720), vp8Header{}, false},
		{"too high", key(1280, MaxHeight+2), vp8Header{}, false},
		{"odd width", key(1281, 720), vp8Header{}, false},
		{"odd height", key(1280, 721), vp8Header{}, false},
		{"no height", key(1280, 0), vp8Header{}, false},
		{"not shown", []byte{0x21, 0, 0, 7}, vp8Header{}, false},
		{"version 4", []byte{0x39, 0, 0, 7}, vp8Header{}, false},
		{"partition of nothing", []byte{0x11, 0, 0, 7}, vp8Header{}, false},
		{"partition beyond the end", []byte{0x51, 0, 0, 7}, vp8Header{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseVP8(tt.data)
			if (err == nil) != tt.ok || tt.ok && got != tt.want {
				t.Errorf("parseVP8(% x) = %+v, %v; want %+v, ok %v", tt.data, got, err, tt.want, tt.ok)
			}
		})
	}
}
