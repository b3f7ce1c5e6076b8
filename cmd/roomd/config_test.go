// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// good is a configuration that is accepted, as an object to be spoilt.
func good() map[string]any {
	return map[string]any{
		"version": 1, "id": "vauban", "name": "Vauban", "identity": "identity", "state": "state",
		"tpm":   "none",
		"panel": "127.0.0.1:8080", "relay": "192.0.2.7:8443", "camera": "none", "sound": "none", "display": "none",
		"rooms": []any{map[string]any{"id": "curie", "name": "Curie", "address": "192.0.2.8:8443"}},
	}
}

// trusted is what a room with a TPM has besides.
func trusted(mode string) map[string]any {
	return map[string]any{
		"address": "0.0.0.0:7443", "mode": mode, "policies": "policies.cbor", "root": "root.pub", "store": "store",
		"firmware_log": "log", "phase_log": "phases", "serial": "IC-1", "board": "b", "software": "In Camera", "version": "1.0.0",
	}
}

// TestTrustConfig spoils what a room with a TPM must know, one member at a time.
func TestTrustConfig(t *testing.T) {
	for key, tt := range map[string]struct {
		value any
		says  string // "" if it is accepted
	}{
		"software":     {"In Camera", ""},
		"mode":         {"lenient", "attested-only"},
		"address":      {"7443", "address"},
		"policies":     {"", "policies"},
		"root":         {"", "root"},
		"store":        {"", "store"},
		"firmware_log": {"", "firmware_log"},
		"serial":       {"", "serial"},
		"version":      {"", "version"},
		"colour":       {"red", "colour"},
	} {
		c, trust := good(), trusted("attested-only")
		trust[key] = tt.value
		c["tpm"], c["trust"] = "device:tpmrm0", trust
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parseConfig(b)
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v; want one that says %q", key, err, tt.says)
		}
	}
}

func TestConfig(t *testing.T) {
	b, err := json.Marshal(good())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "room.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := readConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(filepath.Dir(path), "identity"); c.Identity != want || c.Rooms[0].Name != "Curie" {
		t.Errorf("identity in %s, rooms %v; want %s and Curie", c.Identity, c.Rooms, want)
	}
}

func TestConfigRefused(t *testing.T) {
	room := func(id, name, addr string) []any {
		return []any{map[string]any{"id": id, "name": name, "address": addr}}
	}
	for _, tt := range []struct {
		name, key string
		value     any
		says      string
	}{
		{"newer format", "version", 2, "reads version 1"},
		{"id with a space", "id", "a b", "id"},
		{"no name", "name", "", "name"},
		{"endless name", "name", strings.Repeat("x", 65), "name"},
		{"no identity", "identity", "", "certificates"},
		{"no state", "state", "", "survives"},
		{"no camera", "camera", "", `"none"`},
		{"panel for everyone", "panel", "0.0.0.0:8080", "use 127.0.0.1"},
		{"panel on the network", "panel", "192.0.2.7:8080", "use 127.0.0.1"},
		{"panel by name", "panel", "localhost:8080", "use 127.0.0.1"},
		{"panel without port", "panel", "127.0.0.1", "panel"},
		{"relay without port", "relay", "192.0.2.7", "relay"},
		{"room with this room's id", "rooms", room("vauban", "Vauban", "192.0.2.8:1"), "own"},
		{"room without name", "rooms", room("curie", "", "192.0.2.8:1"), "name"},
		{"room without port", "rooms", room("curie", "Curie", "192.0.2.8"), "curie"},
		{"unknown member", "colour", "red", "colour"},
		{"no word on the TPM", "tpm", "", `"none"`},
		{"TPM without trust", "tpm", "device:tpmrm0", "trust"},
		{"trust without TPM", "trust", trusted("flagged"), "without a TPM"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			c[tt.key] = tt.value
			b, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parseConfig(b); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v; want one that says %q", err, tt.says)
			}
		})
	}
	for name, b := range map[string]string{"empty": "", "no object": "[]", "two objects": "{} {}", "too large": strings.Repeat(" ", maxConfig+1)} {
		if _, err := parseConfig([]byte(b)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// FuzzConfig checks that what is accepted keeps the rules that others rely on.
func FuzzConfig(f *testing.F) {
	b, err := json.Marshal(good())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := parseConfig(in)
		if err != nil {
			return
		}
		if checkPanel(c.Panel) != nil || c.Camera == "" || c.Version != 1 || len(c.Rooms) > 512 {
			t.Errorf("accepted %+v", c)
		}
	})
}
