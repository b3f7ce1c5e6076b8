// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"strings"
	"testing"
)

// said is the console of a box, as the harness reads it.
func said(text string) func(string) (string, error) {
	return func(word string) (string, error) {
		_, after, ok := strings.Cut(text, word)
		if !ok {
			return "", errors.New("the box went off")
		}
		line, rest, _ := strings.Cut(after, "\n")
		text = rest
		return line, nil
	}
}

// heard is what the probe's own test expects it to write.
const (
	sum   = "c3bf47ea1f4a4a605470313cacb3a44f4a461f68c6faeab07e737610cb5ac835"
	start = "EFI stub\nprobe: ready\n"
	heard = start + "probe: log 8 " + sum + " 1\nprobe: | ZmlybXdhcmU=\nprobe: end\n"
)

func TestHear(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
	}{
		{"nothing", "", "went off"},
		{"no log", start + "probe: end\n", "went off"},
		{"a head without lines", start + "probe: log 8 00\n", "begins with"},
		{"a head with words", start + "probe: log a b c\n", "begins with"},
		{"no line", start + "probe: log 0 00 0\n", "0 lines"},
		{"too many lines", start + "probe: log 8 00 100000\n", "100000 lines"},
		{"too few lines", start + "probe: log 8 " + sum + " 2\nprobe: | ZmlybXdhcmU=\nprobe: end\n", "went off"},
		{"no base64", start + "probe: log 8 00 1\nprobe: | ?\n", "illegal base64"},
		{"other bytes", strings.Replace(heard, "Zmly", "Zmlz", 1), "arrived as"},
	} {
		if b, err := hear(said(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v; want %q", c.name, b, err, c.want)
		}
	}
	if b, err := hear(said(heard)); err != nil || string(b) != "firmware" {
		t.Errorf("hear = %q, %v", b, err)
	}
}
