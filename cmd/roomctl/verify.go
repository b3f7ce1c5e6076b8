// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"incamera/secureboot/attest"
	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/evidence"
)

// A verdict is what verify prints and evidence keeps.
type verdict struct {
	Room      string           `json:"room"`
	Firmware  string           `json:"firmware,omitempty"` // as the room says, which the reasons may contradict
	Released  bool             `json:"released"`
	Since     time.Time        `json:"since,omitzero"` // staff only
	Status    string           `json:"status"`
	Reasons   []string         `json:"reasons"`
	ShortCode string           `json:"short_code"` // the same wherever this verdict is shown
	Result    *evidence.Result `json:"result"`

	Nonce    []byte `json:"nonce"`
	Evidence []byte `json:"evidence"` // CMW, as the room sent it
	EAR      []byte `json:"ear"`      // CMW, as the verifier signed it
}

// challenge asks the verifier for a challenge, the room for its answer and the
// verifier for the verdict.
func challenge(ctx context.Context, v *verifier, room, address string) (*verdict, error) {
	c, err := v.open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	asked, err := c.Challenge(ctx, enrol.ChallengeRequest{Device: room})
	if err != nil {
		return nil, err
	}
	d := &verdict{Room: room, Nonce: asked.Nonce}
	if d.Evidence, err = client.FromRoom(ctx, address, asked.Nonce); err != nil {
		return nil, fmt.Errorf("room: %w", err)
	}
	if d.EAR, err = c.Appraise(ctx, asked.Session, d.Evidence); err != nil {
		return nil, err
	}
	site, err := c.Site(ctx)
	if err != nil {
		return nil, err
	}
	if d.Result, err = client.ReadResult(d.EAR, site.ResultKey, asked.Nonce); err != nil {
		return nil, err
	}
	d.Status = d.Result.Status.String()
	d.Released = d.Result.Status != evidence.Contraindicated && d.Result.Release != nil
	d.ShortCode = attest.ShortCode(d.EAR, asked.Nonce)
	if e, err := evidence.Parse(d.Evidence); err == nil {
		d.Firmware = e.Version
	}
	for _, f := range d.Result.Failures {
		d.Reasons = append(d.Reasons, fmt.Sprintf("%s: %s", f.Code, f.Detail))
	}
	if v.staffed() {
		rooms, err := c.Rooms(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range rooms {
			if r.ID == room {
				d.Since = r.Since
			}
		}
	}
	return d, nil
}

func (d *verdict) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "room      %s\n", d.Room)
	fmt.Fprintf(&b, "firmware  %q\n", d.Firmware)
	if d.Released {
		fmt.Fprintf(&b, "released  yes: measured as release %q was built\n", d.Result.Release.Version)
	} else {
		fmt.Fprintf(&b, "released  no\n")
	}
	if !d.Since.IsZero() {
		fmt.Fprintf(&b, "since     %s\n", d.Since.Format(time.RFC3339))
	}
	fmt.Fprintf(&b, "verdict   %s\n", d.Status)
	for _, r := range d.Reasons {
		fmt.Fprintf(&b, "          %s\n", r)
	}
	if e := d.Result.Offender(); e != nil {
		fmt.Fprintf(&b, "event     PCR %d, number %d: %q\n", e.PCR, e.Number, e.Name)
	}
	fmt.Fprintf(&b, "code      %s, for comparing two screens that show this verdict\n", d.ShortCode)
	return b.String()
}

func (d *verdict) err() error {
	if d.Result.Status == evidence.Contraindicated {
		return errVerdict
	}
	return nil
}

func setVerify(k *call) func(context.Context) error {
	v := k.verifier()
	address := k.String("room", "", "`URL` of the room, https://host:port")
	return func(ctx context.Context) error {
		d, err := challenge(ctx, v, k.Arg(0), *address)
		if err != nil {
			return err
		}
		if err := k.print(d, "%s", d.text()); err != nil {
			return err
		}
		return d.err()
	}
}

func setEvidence(k *call) func(context.Context) error {
	v := k.verifier()
	address := k.String("room", "", "`URL` of the room, https://host:port")
	out := k.String("out", "", "`file` to write nonce, evidence and verdict to, JSON")
	return func(ctx context.Context) error {
		if *out == "" {
			return fmt.Errorf("%w: -out is missing", errUsage)
		}
		d, err := challenge(ctx, v, k.Arg(0), *address)
		if err != nil {
			return err
		}
		b, err := json.MarshalIndent(d, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(*out, append(b, '\n'), 0o600); err != nil {
			return err
		}
		if err := k.print(map[string]string{"written": *out, "status": d.Status}, "%s: %s\n", *out, d.Status); err != nil {
			return err
		}
		return d.err()
	}
}
