// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNotice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pairing")
	for _, c := range []struct {
		name, text string
		good       bool
	}{
		{"link and PIN", "in-camera: pair a panel: https://10.0.2.15/pair#IC1.a.b.c\nin-camera: or type the PIN 1234 5678 at https://10.0.2.15/pair\n", true},
		{"line of another program", "in-camera: unlocked the data by the TPM\n", false},
		{"escape sequence", "in-camera: pair a panel: https://\x1b[2J\n", false},
		{"carriage return", "in-camera: pair a panel: https://a\rlogin: \n", false},
		{"not ASCII", "in-camera: pair a panel: https://\u202e\n", false},
		{"cut short", "in-camera: pair a panel: https://10.0.2.15/pa", false},
		{"too long", strings.Repeat("in-camera: pair a panel: https://10.0.2.15/pair\n", maxNotice/40), false},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var console bytes.Buffer
		err := showNotice(path, &console)
		if (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
		if want := map[bool]string{true: c.text}[c.good]; console.String() != want {
			t.Errorf("%s: wrote %q", c.name, &console)
		}
	}
	if err := showNotice(filepath.Join(t.TempDir(), "none"), new(bytes.Buffer)); err == nil {
		t.Error("a notice that is not there was shown")
	}
}
