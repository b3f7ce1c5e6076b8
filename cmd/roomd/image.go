// SPDX-License-Identifier: Apache-2.0

package main

import (
	_ "embed"
	"errors"
	"fmt"

	"incamera/cmd/internal/box"
	"incamera/cmd/internal/strict"
)

// builtIn is what an image knows of every room that it will become: a
// configuration without what a site gives it.
//
//go:embed image.json
var builtIn []byte

// readImage reads what a set-up begins with: the built-in, or a file of the
// board.
func readImage(path string) (config, error) {
	b := builtIn
	if path != "" {
		var err error
		if b, err = box.ReadUpTo(path, maxConfig); err != nil {
			return config{}, fmt.Errorf("image: %w", err)
		}
	}
	c, err := parseImage(b)
	if err != nil {
		return config{}, fmt.Errorf("image: %w", err)
	}
	return c, nil
}

func parseImage(b []byte) (config, error) {
	var c config
	if err := strict.Decode(b, &c); err != nil {
		return config{}, err
	}
	switch {
	case c.ID != "" || c.Name != "" || c.Relay != "" || c.Rooms != nil:
		return config{}, errors.New("id, name, relay and rooms are what a site gives")
	case c.TPM == none:
		return config{}, errors.New("tpm: without one no site can know the box")
	}
	if err := c.checkBox(); err != nil {
		return config{}, err
	}
	if c.Trust.Join != nil {
		return config{}, errors.New("trust: join: an invitation is what a person brings")
	}
	return c, nil
}

// at is the configuration with its paths relative to a folder. c keeps those
// that were written.
func (c config) at(dir string) config {
	if c.Trust != nil {
		t := *c.Trust
		c.Trust = &t
	}
	if c.Paired != nil {
		p := *c.Paired
		c.Paired = &p
	}
	c.resolve(dir)
	return c
}
