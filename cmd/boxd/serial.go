// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"

	"incamera/cmd/internal/box"
)

var serials = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{2,63}$`)

// fillers are what makers leave where a serial number should be.
var fillers = regexp.MustCompile(`(?i)^(0+|1234567890?|none|default|unknown|invalid|not.?(specified|applicable|available)|to.?be.?filled.*|system.?serial.*)$`)

// serial finds the serial number of the box: that of its maker, else one made of
// its chip. It is empty if there is neither.
func serial(sys string, chip func(context.Context) (string, error), log *slog.Logger) string {
	for _, path := range []string{"class/dmi/id/product_serial", "firmware/devicetree/base/serial-number"} {
		b, err := box.ReadUpTo(filepath.Join(sys, path), maxFile)
		if err != nil {
			continue
		}
		if s := strings.TrimRight(string(b), "\x00\n "); serials.MatchString(s) && !fillers.MatchString(s) {
			return s
		}
	}
	s, err := chip(context.Background()) // the TPM's own deadlines bound it
	if err != nil {
		log.Warn("no serial number", "err", err)
	}
	return s
}
