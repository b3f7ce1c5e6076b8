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
		"release":      {"release.json", "leave them out"},
		"boots":        {"boots", ""},
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
		{"no rooms and no site", "rooms", nil, "directory"},
		{"paired without TPM", "paired", map[string]any{"address": ":443", "notice": "n"}, "TPM"},
		{"paired without port", "paired", map[string]any{"address": "here", "notice": "n"}, "paired"},
		{"listener without port", "relay_listen", "here", "relay_listen"},
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

// TestImage: what every image brings is what a set-up can begin with, and a
// configuration of a room is not.
func TestImage(t *testing.T) {
	if _, err := readImage(""); err != nil {
		t.Errorf("built in: %v", err)
	}
	whole := func(key string, value any) []byte {
		var c map[string]any
		if err := json.Unmarshal(builtIn, &c); err != nil {
			t.Fatal(err)
		}
		c[key] = value
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for key, value := range map[string]any{
		"id": "vauban", "name": "Vauban", "relay": "192.0.2.7:8443", "rooms": []any{}, "tpm": "none", "version": 2, "colour": "red", "panel": "0.0.0.0:80",
	} {
		if _, err := parseImage(whole(key, value)); err == nil {
			t.Errorf("an image with %s %v is accepted", key, value)
		}
	}
}

// TestUse: a directory says who can be called and where this room is found.
func TestUse(t *testing.T) {
	c := config{ID: "vauban", Relay: "192.0.2.7:1"}
	here, there := directoryEntry{"vauban", "Vauban", "192.0.2.9:1"}, directoryEntry{"curie", "Curie", "192.0.2.8:1"}
	if err := c.use(directory{1, []directoryEntry{there, here}}); err != nil {
		t.Fatal(err)
	}
	if c.Relay != here.Address || len(c.Rooms) != 1 || c.Rooms[0] != there {
		t.Errorf("%+v", c)
	}
	before := c
	for name, rooms := range map[string][]directoryEntry{
		"twice": {here, there, there}, "no port": {here, {"curie", "Curie", "192.0.2.8"}}, "no name": {here, {"curie", "", "192.0.2.8:1"}},
	} {
		if err := c.use(directory{1, rooms}); err == nil || c.Relay != before.Relay || len(c.Rooms) != 1 {
			t.Errorf("%s: %v, %+v", name, err, c)
		}
	}
}

func TestShownAddress(t *testing.T) {
	for _, tt := range []struct {
		all  []string
		want string
	}{
		{nil, ""},
		{[]string{"fe80::1/64", "nonsense", "127.0.0.1/8"}, ""},
		{[]string{"fe80::1/64", "2001:db8::7/64", "10.1.1.7/24", "10.1.1.8/24"}, "10.1.1.7/24"},
		{[]string{"2001:db8::7/64", "2001:db8::8/64"}, "2001:db8::7/64"},
	} {
		if got := shown(tt.all); got != tt.want {
			t.Errorf("of %v %q is shown; want %q", tt.all, got, tt.want)
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

// FuzzImage checks that what is accepted has nothing of a room in it, and that no
// stranger reaches its panel unpaired.
func FuzzImage(f *testing.F) {
	f.Add(builtIn)
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := parseImage(in)
		if err != nil {
			return
		}
		if c.ID != "" || c.Rooms != nil || c.TPM == none || c.Trust == nil || c.Trust.Join != nil || checkPanel(c.Panel) != nil {
			t.Errorf("accepted %+v", c)
		}
	})
}
