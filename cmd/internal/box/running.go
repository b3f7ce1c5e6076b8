// SPDX-License-Identifier: Apache-2.0

package box

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"incamera/cmd/internal/strict"
	"incamera/secureboot/enrol"
)

const (
	maxRelease = 4 << 10 // bytes of the file
	maxBoots   = 32
)

// A running is what an image says of itself, in its root, which is verified.
type running struct {
	Version  string `json:"version"`
	Rollback uint64 `json:"rollback"`
	Board    string `json:"board"` // "BOARD/VARIANT", as bundles name it
	Software string `json:"software"`
}

// Check reports what is said twice, or not at all.
func (c *Config) Check() error {
	said := c.Board != "" || c.Software != "" || c.Version != ""
	whole := c.Board != "" && c.Software != "" && c.Version != ""
	switch {
	case c.ReleaseFile != "" && said:
		return errors.New("board, software and version are what the release says: leave them out, or release")
	case c.ReleaseFile == "" && !whole:
		return errors.New("board, software and version must be named, or release")
	case c.Boots != "" && c.BootCount != 0:
		return errors.New("boot_count is what boots says: leave one of them out")
	}
	return nil
}

// Identify reads what the configuration leaves to the running image. Without
// such files it does nothing.
func (c *Config) Identify() error {
	if c.ReleaseFile != "" {
		b, err := ReadUpTo(c.ReleaseFile, maxRelease)
		if err != nil {
			return err
		}
		r, err := parseRunning(b)
		if err != nil {
			return fmt.Errorf("%s: %w", c.ReleaseFile, err)
		}
		c.Board, c.Software, c.Version = r.Board, r.Software, r.Version
	}
	if c.Boots != "" {
		b, err := ReadUpTo(c.Boots, maxBoots)
		if err != nil {
			return err
		}
		if c.BootCount, err = parseBoots(b); err != nil {
			return fmt.Errorf("%s: %w", c.Boots, err)
		}
	}
	return nil
}

func parseRunning(b []byte) (running, error) {
	var r running
	if err := strict.Decode(b, &r); err != nil {
		return running{}, err
	}
	switch {
	case !enrol.IsVersion(r.Version):
		return running{}, errors.New("version: none, or not one that names a release")
	case r.Rollback == 0:
		return running{}, errors.New("rollback: 1 or more")
	case !enrol.IsBoard(r.Board) || !enrol.IsName(r.Software):
		return running{}, errors.New("board and software: what the reference values name")
	}
	return r, nil
}

// parseBoots reads a number in its one spelling, and a line's end.
func parseBoots(b []byte) (uint64, error) {
	text := strings.TrimSuffix(string(b), "\n")
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != text {
		return 0, errors.New("no number of starts")
	}
	return n, nil
}
