// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The units that boxd speaks of.
const (
	roomUnit    = "roomd.service"
	networkUnit = "systemd-networkd.service"
	trialTimer  = "in-camera-trial.timer"
)

// maxRestarts is how often the room's daemon may be restarted while its release
// is on trial.
const maxRestarts = 5

// A control is systemctl. Run by root it speaks to systemd's own socket, so that
// the box needs no D-Bus.
type control struct {
	path string
	log  *slog.Logger
}

const (
	controlTime = 30 * time.Second
	maxOutput   = 4 << 10
)

func (c control) do(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, controlTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, args...) //nolint:gosec // a fixed program; no argument comes from a caller
	cmd.WaitDelay = time.Second
	out := &head{left: maxOutput}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("systemctl %s: %w: %s", args[0], err, printable(out.text.String()))
	}
	return out.text.String(), nil
}

// A head keeps the beginning of what is written to it.
type head struct {
	text bytes.Buffer
	left int
}

var _ io.Writer = (*head)(nil)

func (h *head) Write(b []byte) (int, error) {
	n := min(len(b), h.left)
	h.left -= n
	h.text.Write(b[:n])
	return len(b), nil
}

// restart restarts the machine in order, without asking logind, which a box does
// not have.
func (c control) restart(ctx context.Context, reason string) error {
	c.log.Info("restarting", "reason", printable(reason))
	_, err := c.do(ctx, "--no-block", "--job-mode=replace-irreversibly", "start", "reboot.target")
	return err
}

// settled ends what restarts a release on trial that boxd itself does not come to
// judge.
func (c control) settled(ctx context.Context) error {
	_, err := c.do(ctx, "stop", trialTimer)
	return err
}

// watch looks at the room's daemon until it was restarted too often, has failed
// for good, or ctx is done.
func (c control) watch(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		out, err := c.do(ctx, "show", "--property=NRestarts", "--property=ActiveState", roomUnit)
		if err == nil {
			err = broken(out)
			if err != nil {
				return err
			}
			continue
		}
		c.log.Warn("room's daemon not seen", "err", err)
	}
}

// broken says what is wrong with a unit of which systemctl shows the properties,
// one a line.
func broken(properties string) error {
	restarts, state := -1, ""
	for line := range strings.Lines(properties) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		switch name {
		case "NRestarts":
			n, err := strconv.ParseUint(value, 10, 31)
			if err != nil {
				return errors.New("systemd counts restarts in a way unknown here")
			}
			restarts = int(n)
		case "ActiveState":
			state = value
		}
	}
	switch {
	case restarts < 0 || state == "":
		return errors.New("systemd does not know the room's daemon")
	case restarts > maxRestarts:
		return fmt.Errorf("the room's daemon was restarted %d times", restarts)
	case state == "failed":
		return errors.New("the room's daemon has failed")
	}
	return nil
}

const maxText = 256 // bytes of what a caller says, in logs

// printable makes a text one that a log and a panel can show.
func printable(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s), " ")
}
