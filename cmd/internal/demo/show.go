// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Show starts the rooms, says where their panels and stages are, and runs them
// until ctx is done.
func Show(ctx context.Context, rooms []*Room, trust *Trust, out io.Writer) (err error) {
	defer func() { err = errors.Join(err, stop(rooms)) }()
	for _, r := range rooms {
		if err := r.Start(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	for _, r := range rooms {
		c, err := r.Connect(ctx)
		if err != nil {
			return err
		}
		c.Close()
	}
	text := "\n"
	for _, r := range rooms {
		text += fmt.Sprintf("  %-8s  panel http://%s/   stage http://%s/\n", r.Name, r.Panel, r.Stage)
	}
	text += "\n  Open all four pages. Touch Call on one panel and Answer on the other.\n  Ctrl-C ends all.\n\n" +
		"  Security staff of the site challenge a room and see what it runs:\n\n"
	for _, r := range rooms {
		text += "  out/roomctl " + strings.Join(trust.Verify(r), " ") + "\n"
	}
	text += "\n"
	if _, err := io.WriteString(out, text); err != nil {
		return err
	}
	for _, r := range rooms {
		select {
		case <-r.done:
			return fmt.Errorf("%s ended:\n%s", r.Name, r.Log())
		case <-ctx.Done():
		}
	}
	return nil
}

func stop(rooms []*Room) error {
	var errs []error
	for _, r := range rooms {
		errs = append(errs, r.Stop())
	}
	return errors.Join(errs...)
}
