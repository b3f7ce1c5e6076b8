// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"incamera/cmd/internal/box"
	"incamera/cmd/internal/strict"
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

	Panel  string        `json:"panel"`            // address of the panel's API and page, on this computer alone
	Paired *pairedConfig `json:"paired,omitempty"` // the same for paired panels; nil: there are none

	Relay string `json:"relay"` // address of this room's relay, as other rooms reach it
	// RelayListen is where the relay listens, if not at that address.
	RelayListen string `json:"relay_listen,omitempty"`

	// Box is the socket of boxd, which does what needs privilege. Without it the
	// room neither restarts nor updates itself.
	Box string `json:"box,omitempty"`

	// TPM is "none", "device:tpmrm0" or a simulator. With a TPM the room's keys
	// are in it, and Identity is the folder of its enrolment.
	TPM   string       `json:"tpm"`
	Trust *trustConfig `json:"trust,omitempty"`

	Camera  string `json:"camera"`  // "none", a device such as /dev/video0, or a simulator
	Sound   string `json:"sound"`   // "none", an ALSA device such as "default", or a simulator
	Display string `json:"display"` // "none", or a simulator

	// Rooms are those that this one can call. Without the member they are those
	// of the site's directory.
	Rooms []directoryEntry `json:"rooms,omitzero"`

	self bool // the room sets itself up
}

// A pairedConfig says how paired panels reach the room.
type pairedConfig struct {
	Address string `json:"address"` // where the panel listens, over TLS
	// Notice is the file that shows how to pair, in a folder that is lost with
	// power. What shows it to people at the room may read it, and nobody else.
	Notice string `json:"notice"`
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
	b, err := box.ReadUpTo(path, maxConfig)
	if err != nil {
		return config{}, fmt.Errorf("configuration: %w", err)
	}
	c, err := parseConfig(b)
	if err != nil {
		return config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	c.resolve(filepath.Dir(path))
	return c, nil
}

// resolve makes the paths relative to a folder.
func (c *config) resolve(dir string) {
	paths := []*string{&c.Identity, &c.State, &c.Box}
	if c.Trust != nil {
		c.Trust.Resolve(dir)
	}
	if c.Paired != nil {
		paths = append(paths, &c.Paired.Notice)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

func parseConfig(b []byte) (config, error) {
	if len(b) > maxConfig {
		return config{}, fmt.Errorf("larger than %d bytes", maxConfig)
	}
	var c config
	if err := strict.Decode(b, &c); err != nil {
		return config{}, err
	}
	return c, c.check()
}

// check is for a room. [config.checkBox] is for all boxes, also those that no
// site has made a room of yet.
func (c *config) check() error {
	switch {
	case !isID(c.ID):
		return fmt.Errorf("id %q: 1 to 32 of a-z, 0-9 and -", c.ID)
	case !isName(c.Name):
		return fmt.Errorf("name %q: 1 to 64 bytes, as in the certificate", c.Name)
	case c.Rooms == nil && c.TPM == none:
		return errors.New("rooms: missing, and there is no site whose directory names them")
	case c.Trust != nil && c.Trust.Serial == "":
		return errors.New("trust: serial must be named")
	}
	if err := c.checkBox(); err != nil {
		return err
	}
	return c.checkRooms()
}

func (c *config) checkBox() error {
	switch {
	case c.Version != 1:
		return fmt.Errorf("version %d: this release reads version 1", c.Version)
	case c.Identity == "":
		return errors.New("identity: the folder with the room's certificates is missing")
	case c.State == "":
		return errors.New("state: the folder for what survives a restart is missing")
	case c.Camera == "" || c.Sound == "" || c.Display == "":
		return errors.New(`camera, sound and display must each be named, if only "none"`)
	}
	if err := checkPanel(c.Panel); err != nil {
		return err
	}
	if c.Paired != nil {
		if _, _, err := net.SplitHostPort(c.Paired.Address); err != nil {
			return fmt.Errorf("paired: address: %w", err)
		}
		if c.TPM == none || c.Paired.Notice == "" {
			return errors.New("paired: wants a TPM, which counts attempts, and a notice, which shows how to pair")
		}
	}
	if c.RelayListen != "" {
		if _, _, err := net.SplitHostPort(c.RelayListen); err != nil {
			return fmt.Errorf("relay_listen: %w", err)
		}
	}
	return c.checkTrust()
}

// checkRooms checks what a site's directory may change.
func (c *config) checkRooms() error {
	if _, _, err := net.SplitHostPort(c.Relay); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	if len(c.Rooms) > 512 {
		return fmt.Errorf("rooms: %d, at most 512", len(c.Rooms))
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

// relayListen is where the room's relay listens.
func (c *config) relayListen() string {
	if c.RelayListen != "" {
		return c.RelayListen
	}
	return c.Relay
}

// checkPanel refuses an address that others could reach. Whoever reaches it
// controls the room and looks after it: others are paired, and use another.
func checkPanel(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("panel: %w", err)
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.IsLoopback() {
		return fmt.Errorf("panel: %q is no loopback address; only this computer may control the room without being paired: use 127.0.0.1", host)
	}
	return nil
}

func isID(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func isName(s string) bool { return s != "" && len(s) <= 64 }
