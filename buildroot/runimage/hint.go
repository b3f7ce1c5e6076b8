// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"strings"
)

// maxLine bounds what is kept of a line of the console, in bytes. A longer one is
// shown all the same.
const maxLine = 4 << 10

// A hinter passes the console on, and after each line with an address of the box
// says it again as a browser of this computer must call it.
type hinter struct {
	out        io.Writer
	box, local string // https://ADDRESS/
	line       []byte
}

// Write implements [io.Writer].
func (h *hinter) Write(b []byte) (int, error) {
	if _, err := h.out.Write(b); err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if len(h.line)+len(line) <= maxLine {
			h.line = append(h.line, line...)
		}
		if line[len(line)-1] != '\n' {
			break
		}
		if _, link, ok := strings.Cut(strings.TrimSpace(string(h.line)), h.box); ok {
			if _, err := io.WriteString(h.out, "runimage: from this computer: "+h.local+link+"\n"); err != nil {
				return 0, err
			}
		}
		h.line = h.line[:0]
	}
	return len(b), nil
}
