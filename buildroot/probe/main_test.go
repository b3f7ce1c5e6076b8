// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// TestWrite checks what boardlog reads: its test begins with this text.
func TestWrite(t *testing.T) {
	var b strings.Builder
	if err := write(&b, strings.NewReader("firmware")); err != nil {
		t.Fatal(err)
	}
	want := "probe: log 8 c3bf47ea1f4a4a605470313cacb3a44f4a461f68c6faeab07e737610cb5ac835 1\nprobe: | ZmlybXdhcmU=\nprobe: end\n"
	if b.String() != want {
		t.Errorf("wrote %q; want %q", b.String(), want)
	}
	b.Reset()
	if err := write(&b, strings.NewReader(strings.Repeat("x", 100))); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\nprobe: | "); n != 3 || !strings.HasPrefix(b.String(), "probe: log 100 ") {
		t.Errorf("100 bytes in %d lines: %q", n, b.String())
	}
}
