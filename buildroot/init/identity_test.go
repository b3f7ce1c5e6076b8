// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestIdentity reads the UUID of headers, and takes nothing else for one.
func TestIdentity(t *testing.T) {
	header := make([]byte, 4096)
	copy(header, "LUKS\xba\xbe\x00\x02")
	copy(header[luksUUID:], "5a0c9a7e-1c00-4c00-8000-0123456789ab")
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		want   string
	}{
		"Header":    {func(b []byte) []byte { return b }, "data:5a0c9a7e-1c00-4c00-8000-0123456789ab"},
		"Magic":     {func(b []byte) []byte { b[0]++; return b }, ""},
		"Version":   {func(b []byte) []byte { b[7]++; return b }, ""},
		"NoUUID":    {func(b []byte) []byte { clear(b[luksUUID:]); return b }, ""},
		"Letters":   {func(b []byte) []byte { b[luksUUID] = 'x'; return b }, ""},
		"Unended":   {func(b []byte) []byte { b[luksUUID+36] = 'x'; return b }, ""},
		"Truncated": {func(b []byte) []byte { return b[:luksUUID+10] }, ""},
	} {
		path := filepath.Join(t.TempDir(), "data")
		if err := os.WriteFile(path, c.change(bytes.Clone(header)), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := (&luks{device: path}).identity(); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
