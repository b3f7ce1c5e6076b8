// SPDX-License-Identifier: Apache-2.0

package boxlink

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWired(t *testing.T) {
	sys := t.TempDir()
	if name := wired(sys); name != "" {
		t.Errorf("found %q where there is nothing", name)
	}
	// lo, a radio, a bridge, and at last two wires.
	for _, i := range []struct{ name, kind, more, want string }{
		{"lo", "772", "", ""},
		{"br0", "1", "", ""},
		{"a-radio", "1", "device phy80211", ""},
		{"b-radio", "1", "device wireless", ""},
		{"end1", "1", "device", "end1"},
		{"end0", "1", "device", "end0"},
	} {
		dir := filepath.Join(sys, "class/net", i.name)
		for _, sub := range append([]string{"."}, strings.Fields(i.more)...) {
			if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "type"), []byte(i.kind+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if name := wired(sys); name != i.want {
			t.Errorf("with %s: the wired one is %q; want %q", i.name, name, i.want)
		}
	}
}

func TestAddresses(t *testing.T) {
	if list, err := addresses("lo"); err != nil || !slices.Contains(list, "127.0.0.1/8") {
		t.Errorf("lo has %v, %v", list, err)
	}
	if list, err := addresses("none0"); err != nil || list == nil || len(list) != 0 {
		t.Errorf("an interface that is not there has %v, %v", list, err)
	}
}
