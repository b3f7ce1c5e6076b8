// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// maxConfig bounds the configuration file: a directory of some hundred rooms.
const maxConfig = 256 << 10

// A config is what a room must know before it can start. Paths in it are
// relative to the folder of the file.
type config struct {
	Version int    `json:"version"` // of the format: 1
	ID      string `json:"id"`      // of this room in the directory and in the API
	Name    string `json:"name"`    // as in the room's certificates

	// Identity is the folder that holds site.pem (the site's CA), mls.pem and
	// mls.key (the leaf of this room in meetings), tls.pem and tls.key (its
	// connections to relays).
	Identity string `json:"identity"`
	// State is the folder for what must survive a restart. No key is in it.
	State string `json:"state"`

	Panel string `json:"panel"` // address of the panel's API and page: loopback, until panels can be paired
	Relay string `json:"relay"` // address of this room's relay, as other rooms reach it

	// TPM is "none", "device:tpmrm0" or a simulator. With a TPM the room's keys
	// are in it, and Identity is the folder of its enrolment.
	TPM   string       `json:"tpm"`
	Trust *trustConfig `json:"trust,omitempty"`

	Camera  string `json:"camera"`  // "none", a device such as /dev/video0, or a simulator
	Sound   string `json:"sound"`   // "none", an ALSA device such as "default", or a simulator
	Display string `json:"display"` // "none", or a simulator

	Rooms []directoryEntry `json:"rooms"` // the rooms that this one can call
}

// A directoryEntry is a room that this one can call.
type directoryEntry struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"` // of its relay
}

// readConfig reads and checks the file at path. Its errors name the file, what
// is wrong in it and what would be right.
func readConfig(path string) (config, error) {
	f, err := os.Open(path)
	if err != nil {
		return config{}, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return config{}, fmt.Errorf("configuration: %w", err)
	}
	c, err := parseConfig(b)
	if err != nil {
		return config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	dir := filepath.Dir(path)
	if c.Trust != nil {
		c.Trust.Resolve(dir)
	}
	for _, p := range []*string{&c.Identity, &c.State} {
		if !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	return c, nil
}

func parseConfig(b []byte) (config, error) {
	if len(b) > maxConfig {
		return config{}, fmt.Errorf("larger than %d bytes", maxConfig)
	}
	var c config
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return config{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return config{}, errors.New("bytes after the end of the object")
	}
	return c, c.check()
}

func (c *config) check() error {
	switch {
	case c.Version != 1:
		return fmt.Errorf("version %d: this release reads version 1", c.Version)
	case !isID(c.ID):
		return fmt.Errorf("id %q: 1 to 32 of a-z, 0-9 and -", c.ID)
	case !isName(c.Name):
		return fmt.Errorf("name %q: 1 to 64 bytes, as in the certificate", c.Name)
	case c.Identity == "":
		return errors.New("identity: the folder with the room's certificates is missing")
	case c.State == "":
		return errors.New("state: the folder for what survives a restart is missing")
	case c.Camera == "" || c.Sound == "" || c.Display == "":
		return errors.New(`camera, sound and display must each be named, if only "none"`)
	case len(c.Rooms) > 512:
		return fmt.Errorf("rooms: %d, at most 512", len(c.Rooms))
	}
	if err := checkPanel(c.Panel); err != nil {
		return err
	}
	if err := c.checkTrust(); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(c.Relay); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	seen := map[string]bool{c.ID: true}
	for _, r := range c.Rooms {
		if !isID(r.ID) || !isName(r.Name) {
			return fmt.Errorf("rooms: id %q, name %q: an id of 1 to 32 of a-z, 0-9 and -, a name of 1 to 64 bytes", r.ID, r.Name)
		}
		if seen[r.ID] {
			return fmt.Errorf("rooms: id %q twice, or this room's own", r.ID)
		}
		seen[r.ID] = true
		if _, _, err := net.SplitHostPort(r.Address); err != nil {
			return fmt.Errorf("rooms: %s: %w", r.ID, err)
		}
	}
	return nil
}

// checkPanel refuses an address that others could reach. Whoever reaches the
// panel's API controls the room, and there is no pairing yet that would tell
// them apart.
func checkPanel(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("panel: %w", err)
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.IsLoopback() {
		return fmt.Errorf("panel: %q is no loopback address; until panels are paired only this computer may control the room: use 127.0.0.1", host)
	}
	return nil
}

func isID(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func isName(s string) bool { return s != "" && len(s) <= 64 }
