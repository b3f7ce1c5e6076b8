// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The targets of the figures, for 2 idle x86-64 cores. They are printed beside
// what was measured and decide nothing.
const (
	targetTapMS      = 700
	targetLatencyMS  = 120
	targetMiB        = 150
	targetReadyMS    = 500
	wantInOrderShare = 0.95 // this and the next do decide
	wantPSNR         = 30
)

// table lays the figures out for people.
func (f *Figures) table(rooms []*Room) string {
	var out strings.Builder
	a, b := f.Rooms[rooms[0].Name], f.Rooms[rooms[1].Name]
	line := func(what, left, right, target string) {
		fmt.Fprintf(&out, "  %-44s %14s %14s   %s\n", what, left, right, target)
	}
	each := func(what, format, target string, of func(*Side) any) {
		line(what, fmt.Sprintf(format, of(a)), fmt.Sprintf(format, of(b)), target)
	}
	fmt.Fprintf(&out, "\n  A call of %.0f s, and %d short ones before it. Suite %s.\n\n", f.Seconds, shortCalls, f.Suite)
	line("", rooms[0].Name, rooms[1].Name, "target")
	ready, target := "process start to panel API, ms", fmt.Sprintf("<= %d", targetReadyMS)
	if f.Verified { // a new chip each time: provisioned, enrolled, admitted
		ready, target = "new box to panel API, enrolment included, ms", ""
	}
	line(ready, fmt.Sprintf("%.0f", f.ReadyMS[0]), fmt.Sprintf("%.0f", f.ReadyMS[1]), target)
	var taps [2][]float64
	for i, ms := range f.TapToPictureMS {
		taps[i%2] = append(taps[i%2], ms)
	}
	line("tap on Answer to first picture, p50, ms", fmt.Sprintf("%.0f", median(taps[0])), fmt.Sprintf("%.0f", median(taps[1])), fmt.Sprintf("<= %d", targetTapMS))
	line("  the slowest, ms", fmt.Sprintf("%.0f", slices.Max(taps[0])), fmt.Sprintf("%.0f", slices.Max(taps[1])), "")
	each("frames sent", "%d", "", func(s *Side) any { return s.Sent.Frames })
	each("  of them key frames", "%d", "", func(s *Side) any { return s.Sent.KeyFrames })
	each("sound packets sent", "%d", "", func(s *Side) any { return s.Sent.Packets })
	each("pictures of the other room on the stage", "%d", "", func(s *Side) any { return s.Stage.Frames })
	each("  numbers missing", "%d", "", func(s *Side) any { return s.Stage.Missing })
	each("  of them not sent by the other room", "%d", "", func(s *Side) any { return s.NotSent })
	each("  out of order", "%d", "0", func(s *Side) any { return s.Stage.Backwards })
	each("  decoded in order, % of those sent", "%.1f", ">= 95", func(s *Side) any { return 100 * s.InOrderShare })
	each("PSNR of the stage against the scene, mean, dB", "%.1f", ">= 30", func(s *Side) any { return s.Stage.PSNRMeanDB })
	each("  the worst compared, dB", "%.1f", "", func(s *Side) any { return s.Stage.PSNRMinDB })
	each("capture to stage, p50, ms", "%.0f", "", func(s *Side) any { return s.Stage.LatencyP50MS })
	each("capture to stage, p95, ms", "%.0f", fmt.Sprintf("<= %d", targetLatencyMS), func(s *Side) any { return s.Stage.LatencyP95MS })
	each("longest time without a new picture, ms", "%.0f", "", func(s *Side) any { return s.Stage.LongestGapMS })
	each("the other room's voice recognised", "%v", "true", func(s *Side) any { return s.HeardOther })
	each("  likeness", "%.2f", "", func(s *Side) any { return s.HeardScore })
	each("  this room's own voice", "%v", "false", func(s *Side) any { return s.HeardSelf })
	each("CPU, cores", "%.2f", "", func(s *Side) any { return s.CPU })
	each("resident memory, MiB", "%.0f", fmt.Sprintf("<= %d", targetMiB), func(s *Side) any { return s.ResidentMiB })
	each("epoch", "%.0f", "", func(s *Side) any { return s.Epoch })
	line("security codes equal", fmt.Sprint(f.CodesEqual), fmt.Sprint(f.CodesEqual), "true")
	if f.Verified {
		line("both rooms verified, on the panel", f.Release, f.Release, "the release")
	}
	out.WriteString("\n")
	return out.String()
}

// verdict says what does not work. Nothing in it depends on how fast the
// computer is, unless it cannot keep up at all.
func (f *Figures) verdict(rooms []*Room) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, r := range rooms {
		s := f.Rooms[r.Name]
		if s.Stage.Frames == 0 || s.InOrderShare < wantInOrderShare || s.Stage.Backwards > 0 {
			wrong("%s: of the other room's pictures %.1f %% came in order, %d out of order", r.Name, 100*s.InOrderShare, s.Stage.Backwards)
		}
		if s.Stage.PSNRMeanDB < wantPSNR {
			wrong("%s: the stage does not look like the other room: %.1f dB", r.Name, s.Stage.PSNRMeanDB)
		}
		if !s.HeardOther || s.HeardSelf {
			wrong("%s: the loudspeaker played the other room: %v, this room: %v", r.Name, s.HeardOther, s.HeardSelf)
		}
		if len(s.Unhealthy) > 0 {
			wrong("%s: conditions: %v", r.Name, s.Unhealthy)
		}
	}
	if !f.CodesEqual {
		wrong("the security codes differ")
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("demo-check failed:\n%w", err)
	}
	return nil
}
