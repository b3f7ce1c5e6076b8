// SPDX-License-Identifier: Apache-2.0

package box

import (
	"os"
	"path/filepath"
	"testing"
)

const someRelease = `{"version":"1.0.0-dev.7","rollback":1,"board":"qemu-arm64/debian","software":"in-camera"}`

func TestIdentify(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"release.json": someRelease + "\n", "boots": "17\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := Config{ReleaseFile: "release.json", Boots: "boots"}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	c.Resolve(dir)
	for range 2 { // each start of a part asks
		if err := c.Identify(); err != nil {
			t.Fatal(err)
		}
	}
	if c.Version != "1.0.0-dev.7" || c.Board != "qemu-arm64/debian" || c.Software != "in-camera" || c.BootCount != 17 {
		t.Errorf("%+v", c)
	}
	for _, name := range []string{"release.json", "boots"} {
		c := Config{ReleaseFile: "release.json", Boots: "boots"}
		c.Resolve(dir)
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if err := c.Identify(); err == nil {
			t.Errorf("without %s the room says %+v", name, c)
		}
	}
}

// TestOneWay: what runs is said once.
func TestOneWay(t *testing.T) {
	by := func(f func(*Config)) Config {
		c := Config{Board: "b", Software: "s", Version: "1.0.0", BootCount: 3}
		f(&c)
		return c
	}
	for name, tt := range map[string]struct {
		config Config
		ok     bool
	}{
		"by hand":                {by(func(*Config) {}), true},
		"by hand, uncounted":     {by(func(c *Config) { c.BootCount = 0 }), true},
		"by the image":           {Config{ReleaseFile: "r", Boots: "b"}, true},
		"image, starts by hand":  {Config{ReleaseFile: "r", BootCount: 3}, true},
		"nothing":                {Config{}, false},
		"by hand, without board": {by(func(c *Config) { c.Board = "" }), false},
		"by hand, no version":    {by(func(c *Config) { c.Version = "" }), false},
		"both":                   {by(func(c *Config) { c.ReleaseFile = "r" }), false},
		"version twice":          {Config{ReleaseFile: "r", Version: "1.0.0"}, false},
		"starts twice":           {by(func(c *Config) { c.Boots = "b" }), false},
	} {
		if err := tt.config.Check(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRunningRefused(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "no version": `{"rollback":1,"board":"b","software":"s"}`,
		"no rollback": `{"version":"1.0.0","board":"b","software":"s"}`, "a path as version": `{"version":"../1","rollback":1,"board":"b","software":"s"}`,
		"no board": `{"version":"1.0.0","rollback":1,"software":"s"}`, "unknown member": `{"version":"1.0.0","rollback":1,"board":"b","software":"s","key":1}`,
		"two": someRelease + someRelease,
	} {
		if r, err := parseRunning([]byte(text)); err == nil {
			t.Errorf("%s: accepted as %+v", name, r)
		}
	}
	for _, text := range []string{"", "\n", "-1", "+1", "01", "1 ", "1\n\n", "18446744073709551616", "0x1"} {
		if n, err := parseBoots([]byte(text)); err == nil {
			t.Errorf("%q starts are %d", text, n)
		}
	}
}

// FuzzRunning: what is accepted is whole.
func FuzzRunning(f *testing.F) {
	f.Add([]byte(someRelease))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRunning(b)
		if err == nil && (r.Version == "" || r.Board == "" || r.Software == "" || r.Rollback == 0 || len(r.Version) > 40) {
			t.Errorf("%q is %+v", b, r)
		}
	})
}
