// SPDX-License-Identifier: Apache-2.0

package pairing

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"strings"
)

// A Notice is a [Display] that is a file in memory, which only this user and
// root may read. What puts it before people's eyes (a unit that writes to the
// console) has the right to the console; this process does not, and its own
// output goes to a journal, where no secret belongs. Without a window there is
// no file.
type Notice struct {
	path string
	log  *slog.Logger
}

// NewNotice returns a notice at path, in a folder that is lost with power, such
// as one of /run.
func NewNotice(path string, log *slog.Logger) Notice { return Notice{path, log} }

// Show implements [Display]: a line "in-camera: pair a panel: LINK" for each
// name and address of the room, and one for the PIN.
func (n Notice) Show(w Window) {
	var text strings.Builder
	for _, link := range w.Links() {
		text.WriteString("in-camera: pair a panel: " + link + "\n")
	}
	if pin := w.PIN(); pin != "" {
		for _, page := range w.Pages() {
			text.WriteString("in-camera: or type the PIN " + pin[:4] + " " + pin[4:] + " at " + page + "\n")
		}
	}
	if err := replace(n.path, []byte(text.String())); err != nil {
		n.log.Error("how to pair is not shown", "err", err)
	}
}

// Hide implements [Display].
func (n Notice) Hide() {
	if err := os.Remove(n.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.log.Error("how to pair is still shown", "err", err)
	}
}
