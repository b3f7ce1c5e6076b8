// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"testing/iotest"
)

// TestHint cuts the console in every place.
func TestHint(t *testing.T) {
	const console = "in-camera: pair a panel: https://10.0.2.15/pair#abc\r\nhttps://10.0.2.16/\n" +
		"in-camera: type the PIN 1234 5678 at https://10.0.2.15/pair\nhttps://10.0.2.15/ half a line"
	const first, second = "runimage: from this computer: https://127.0.0.1:9/pair#abc\n", "runimage: from this computer: https://127.0.0.1:9/pair\n"
	var whole string
	for size := 1; size <= len(console); size++ {
		var out strings.Builder
		h := &hinter{out: &out, box: "https://10.0.2.15/", local: "https://127.0.0.1:9/"}
		for text := console; text != ""; {
			n := min(size, len(text))
			if written, err := h.Write([]byte(text[:n])); err != nil || written != n {
				t.Fatalf("Write = %d, %v", written, err)
			}
			text = text[n:]
		}
		if strings.Count(out.String(), "runimage:") != 2 || !strings.Contains(out.String(), first) || !strings.Contains(out.String(), second) {
			t.Fatalf("in pieces of %d: %q", size, out.String())
		}
		whole = out.String()
	}
	if got := strings.NewReplacer(first, "", second, "").Replace(whole); got != console {
		t.Errorf("the console says %q; want %q", got, console)
	}
	h := &hinter{out: iotest.TruncateWriter(&strings.Builder{}, 0), box: "b", local: "l"}
	if _, err := h.Write([]byte(strings.Repeat("x", 2*maxLine) + "\n")); err != nil || len(h.line) != 0 {
		t.Errorf("a long line: %v, %d bytes kept", err, len(h.line))
	}
}
