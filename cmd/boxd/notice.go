// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"incamera/cmd/internal/box"
)

// maxNotice bounds what roomd has to say to people at the box, in bytes: a link
// for each of its names and addresses.
const maxNotice = 16 << 10

// showNotice writes roomd's notice of how to pair a panel to the console. The
// secret in it belongs in no journal. Of a roomd that somebody took over it
// writes nothing that a terminal would obey, or take for another program's line.
func showNotice(path string, console io.Writer) error {
	text, err := box.ReadUpTo(path, maxNotice)
	if err != nil {
		return err
	}
	if err := checkNotice(string(text)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	_, err = console.Write(text)
	return err
}

var errNotice = errors.New("not a notice of pairing")

func checkNotice(text string) error {
	for line := range strings.Lines(text) {
		line, whole := strings.CutSuffix(line, "\n")
		ours := strings.HasPrefix(line, "in-camera: pair a panel: https://") || strings.HasPrefix(line, "in-camera: or type the PIN ")
		if !whole || !ours || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
			return errNotice
		}
	}
	return nil
}
