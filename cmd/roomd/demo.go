// SPDX-License-Identifier: Apache-2.0

//go:build !release

package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"

	"incamera/cmd/internal/demo"
)

// runDemo boots two rooms on this computer, each a process of its own, for
// people or, with -check, for a machine.
func runDemo(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("roomd demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	camera := flags.String("camera", "", "a `device` such as /dev/video0, or a clip (.y4m, .ivf, .webm); default: a scripted scene")
	microphone := flags.String("microphone", "", "a `device` such as default, or a recording (.wav); default: a scripted voice")
	check := flags.Bool("check", false, "drive a call through the panels, print the figures and end")
	tamper := flags.Bool("tamper", false, "let Curie start other software once it is enrolled")
	policy := flags.String("policy", "attested-only", "whom meetings take: `attested-only`, or flagged")
	report := flags.String("report", "", "with -check, a `file` for the figures in JSON")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "in-camera-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	o := demo.Options{Camera: *camera, Microphone: *microphone, Ports: [3]int{7101, 7201, 7301}}
	if *check {
		o.Ports = [3]int{}
	}
	o.Mode = *policy
	if *tamper {
		o.Altered = "Curie"
	}
	port := 7401
	if *check {
		port = 0
	}
	if o.Trust, err = demo.NewTrust(ctx, filepath.Dir(exe), filepath.Join(dir, "trust"), port); err != nil {
		return err
	}
	defer func() { _ = o.Trust.Stop() }() // a temporary verifier
	rooms, err := demo.New(ctx, exe, dir, o, "Vauban", "Curie")
	if err != nil {
		return err
	}
	switch {
	case *check && *tamper:
		return demo.CheckTampered(ctx, rooms, *policy, stdout)
	case *check:
		return demo.Check(ctx, rooms, *report, stdout)
	}
	return demo.Show(ctx, rooms, o.Trust, stdout)
}
