// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Verified waits until a panel shows every room of the meeting, its own
// included, as verified, with a release and an age.
func Verified(ctx context.Context, panels ...*Controller) error {
	for _, p := range panels {
		err := p.Await(ctx, "all rooms to be verified", func() bool {
			members := p.Members()
			for _, m := range members {
				if m["Verdict"] != "affirming" || m["Release"] == nil {
					return false
				}
			}
			return len(members) == len(panels)
		})
		if err != nil {
			return fmt.Errorf("%w: the roster is %v", err, p.Members())
		}
	}
	return nil
}

// attested notes that both panels show both rooms as verified, if they have TPMs.
func attested(ctx context.Context, rooms []*Room, panels []*Controller, f *Figures) error {
	if rooms[0].Attestation == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	if err := Verified(ctx, panels...); err != nil {
		return err
	}
	f.Verified = true
	for _, m := range panels[0].Members() {
		if m["Self"] == false {
			f.Release, _ = m["Release"].(string)
		}
	}
	return nil
}

// CheckTampered starts two rooms of which the second runs other software since
// it was enrolled, calls it, and returns an error unless the first room's panel
// shows that and does with it what the policy says.
func CheckTampered(ctx context.Context, rooms []*Room, policy string, out io.Writer) (err error) {
	defer func() { err = errors.Join(err, stop(rooms)) }()
	var panels []*Controller
	for _, r := range rooms {
		if err := r.Start(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		c, err := r.Connect(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		panels = append(panels, c)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*step)
	defer cancel()
	refused := panels[0].Watch("Event/Call/Refused")
	if err := Ring(ctx, panels[0], panels[1], rooms[1].ID); err != nil {
		return err
	}
	if err := panels[1].Do(ctx, "Call/Answer", map[string]any{"CallId": panels[1].Text("Call/CallId")}); err != nil {
		return err
	}
	if policy == "flagged" {
		return shownAsFailed(ctx, rooms, panels, out)
	}
	select {
	case e := <-refused:
		if e["Reason"] != "NotAttested" || e["Detail"] != "refval_mismatch" {
			return fmt.Errorf("%s's panel says %v", rooms[0].Name, e)
		}
		_, err := fmt.Fprintf(out, "\n  %s did not let %s in: %v, %v\n  demo-check passed\n", rooms[0].Name, rooms[1].Name, e["Reason"], e["Detail"])
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s let other software in: %v\n%s", rooms[0].Name, panels[0].Members(), rooms[0].Log())
	}
}

func shownAsFailed(ctx context.Context, rooms []*Room, panels []*Controller, out io.Writer) error {
	err := panels[0].Await(ctx, "the other room's verdict", func() bool {
		for _, m := range panels[0].Members() {
			if m["Name"] == rooms[1].Name && m["Verdict"] == "contraindicated" && m["VerdictReason"] == "refval_mismatch" {
				return true
			}
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("%w: the roster is %v", err, panels[0].Members())
	}
	_, err = fmt.Fprintf(out, "\n  %s's panel shows %s as failed: refval_mismatch\n  demo-check passed\n", rooms[0].Name, rooms[1].Name)
	return err
}
