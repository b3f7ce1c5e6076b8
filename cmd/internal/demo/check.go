// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"incamera/device/sim"
	"incamera/media/frame"
)

// Figures are what a check measured. Times are in milliseconds.
type Figures struct {
	ReadyMS        []float64        `json:"ready_ms"`          // process start to the panel API's first answer, by room
	TapToPictureMS []float64        `json:"tap_to_picture_ms"` // Answer to the other room's picture on the stage, both rooms of each call
	Rooms          map[string]*Side `json:"rooms"`
	CodesEqual     bool             `json:"codes_equal"`
	Verified       bool             `json:"verified"` // both panels show both rooms so
	Release        string           `json:"release"`  // that the other room proved
	Code           string           `json:"security_code"`
	Suite          string           `json:"suite"`
	Seconds        float64          `json:"seconds"` // of the long call
}

// A Side is what one room saw and used in the long call.
type Side struct {
	Sent         Sent       `json:"sent"`  // while the account of the stages ran
	Stage        sim.Report `json:"stage"` // of the other room's pictures
	HeardScore   float64    `json:"heard_score"`
	HeardOther   bool       `json:"heard_other"` // the other room's voice is in what the loudspeaker played
	HeardSelf    bool       `json:"heard_self"`  // this room's own voice is: an echo
	CPU          float64    `json:"cpu_cores"`
	ResidentMiB  float64    `json:"resident_mib"`
	Epoch        float64    `json:"epoch"`
	Unhealthy    []string   `json:"conditions"`
	InOrderShare float64    `json:"in_order_share"` // pictures seen in order, of those that the other room sent meanwhile
	NotSent      uint64     `json:"not_sent"`       // pictures that its camera took and it left out, for its processor or the network
}

// Sent is what a room sent in the call.
type Sent struct{ Frames, KeyFrames, Packets, NoKey uint64 }

func (s Sent) since(before Sent) Sent {
	return Sent{s.Frames - before.Frames, s.KeyFrames - before.KeyFrames, s.Packets - before.Packets, s.NoKey - before.NoKey}
}

const (
	shortCalls = 4                // for the distribution of the time to the first picture
	longCall   = 30 * time.Second // for all else
	step       = 15 * time.Second // for anything that a person waits for
)

// Check starts two rooms and drives calls between them through their panels.
// It prints what it measured and returns an error if something does not work.
// How fast something is decides nothing: that depends on the computer.
func Check(ctx context.Context, rooms []*Room, report string, out io.Writer) (err error) {
	defer func() { err = errors.Join(err, stop(rooms)) }()
	f := &Figures{Rooms: map[string]*Side{}}
	var panels []*Controller
	for _, r := range rooms {
		began := time.Now()
		if err := r.Start(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		c, err := r.Connect(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		f.ReadyMS = append(f.ReadyMS, milliseconds(time.Since(began)))
		panels = append(panels, c)
	}
	for range shortCalls {
		if err := establish(ctx, rooms, panels, f); err != nil {
			return err
		}
		if err := HangUp(ctx, panels[0], panels[1]); err != nil {
			return err
		}
	}
	if err := establish(ctx, rooms, panels, f); err != nil {
		return err
	}
	if err := attested(ctx, rooms, panels, f); err != nil {
		return err
	}
	if err := measure(ctx, rooms, panels, f); err != nil {
		return err
	}
	if err := muteShows(ctx, panels[0], panels[1]); err != nil {
		return err
	}
	if err := HangUp(ctx, panels[1], panels[0]); err != nil {
		return err
	}
	if err := stop(rooms); err != nil { // the recordings are whole
		return err
	}
	if err := listen(rooms, f); err != nil {
		return err
	}
	if _, err := io.WriteString(out, f.table(rooms)); err != nil {
		return err
	}
	if report != "" {
		b, err := json.MarshalIndent(f, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(report, append(b, '\n'), 0o644); err != nil { //nolint:gosec // figures are for everyone
			return err
		}
	}
	if err := f.verdict(rooms); err != nil {
		return err
	}
	_, err = io.WriteString(out, "  demo-check passed\n")
	return err
}

// establish calls from the first room and answers in the second, and waits
// until each stage shows the other room.
func establish(ctx context.Context, rooms []*Room, panels []*Controller, f *Figures) error {
	ctx, cancel := context.WithTimeout(ctx, 2*step)
	defer cancel()
	if err := Ring(ctx, panels[0], panels[1], rooms[1].ID); err != nil {
		return err
	}
	for i, r := range rooms {
		if err := r.Expect(ctx, rooms[1-i].Name); err != nil {
			return err
		}
	}
	if err := panels[1].Do(ctx, "Call/Answer", map[string]any{"CallId": panels[1].Text("Call/CallId")}); err != nil {
		return err
	}
	if err := Connected(ctx, panels...); err != nil {
		return err
	}
	for _, r := range rooms {
		seen, err := r.AwaitPicture(ctx)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, r.Log())
		}
		f.TapToPictureMS = append(f.TapToPictureMS, seen.FirstPictureMS)
	}
	return nil
}

// Ring calls a room of the directory from one panel and waits until it rings at
// the other.
func Ring(ctx context.Context, from, to *Controller, id string) error {
	if err := from.Do(ctx, "Call/Start", map[string]any{"Room": id}); err != nil {
		return err
	}
	return to.Await(ctx, "the call to ring", func() bool {
		return to.Text("Call/State") == "Ringing" && to.Text("Call/Direction") == "Incoming"
	})
}

// Connected waits until all panels show the call connected, with as many rooms
// in the roster and one security code.
func Connected(ctx context.Context, panels ...*Controller) error {
	for _, p := range panels {
		err := p.Await(ctx, "the call", func() bool {
			return p.Text("Call/State") == "Connected" && len(p.Members()) == len(panels) && p.Text("Call/SecurityCode/Code") != ""
		})
		if err != nil {
			return err
		}
	}
	first := panels[0]
	for _, p := range panels[1:] {
		err := p.Await(ctx, "equal security codes", func() bool {
			return p.Text("Call/SecurityCode/Code") == first.Text("Call/SecurityCode/Code")
		})
		if err != nil {
			return fmt.Errorf("%w: %q and %q", err, first.Text("Call/SecurityCode/Code"), p.Text("Call/SecurityCode/Code"))
		}
	}
	return nil
}

// HangUp leaves at one panel and waits until both are idle.
func HangUp(ctx context.Context, leaver, other *Controller) error {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	if err := leaver.Do(ctx, "Call/Leave", map[string]any{"CallId": leaver.Text("Call/CallId")}); err != nil {
		return err
	}
	for _, p := range []*Controller{leaver, other} {
		if err := p.Await(ctx, "the end of the call", func() bool { return p.Text("Call/State") == "Idle" }); err != nil {
			return err
		}
	}
	return nil
}

// measure lets the call run and reads what both rooms saw.
func measure(ctx context.Context, rooms []*Room, panels []*Controller, f *Figures) error {
	before, sent := make([]usage, len(rooms)), make([]Sent, len(rooms))
	for i, r := range rooms {
		if err := r.get(ctx, "/sent", &sent[i]); err != nil {
			return err
		}
		// The account of the long call begins once it is up.
		if err := r.Expect(ctx, rooms[1-i].Name); err != nil {
			return err
		}
		var err error
		if before[i], err = readUsage(r.PID()); err != nil {
			return err
		}
	}
	began := time.Now()
	select {
	case <-time.After(longCall):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	f.Seconds = time.Since(began).Seconds()
	for i, r := range rooms {
		side := &Side{}
		f.Rooms[r.Name] = side
		after, err := readUsage(r.PID())
		if err != nil {
			return err
		}
		side.CPU, side.ResidentMiB = after.cores(before[i]), float64(after.rss)/(1<<20)
		if side.Stage, err = r.Witness(ctx); err != nil {
			return err
		}
		if err := r.get(ctx, "/sent", &side.Sent); err != nil {
			return err
		}
		side.Sent = side.Sent.since(sent[i])
		side.Epoch, _ = panels[i].Value("Call/Epoch").(float64)
		if conditions, ok := panels[i].Value("Diagnostics/Conditions").(map[string]any); ok {
			for name := range conditions {
				side.Unhealthy = append(side.Unhealthy, name)
			}
		}
	}
	for i, r := range rooms {
		side, from := f.Rooms[r.Name], f.Rooms[rooms[1-i].Name].Sent.Frames
		if side.Stage.Frames == 0 || from == 0 {
			continue
		}
		// The last ones sent may still be on their way, so one more may also
		// have been seen than counted as sent.
		side.InOrderShare = min(float64(side.Stage.Frames-side.Stage.Backwards)/float64(from), 1)
		if taken := uint64(side.Stage.Last - side.Stage.First + 1); taken > from {
			side.NotSent = taken - from
		}
	}
	f.Code, f.Suite = panels[0].Text("Call/SecurityCode/Code"), panels[0].Text("Call/Suite")
	f.CodesEqual = f.Code != "" && f.Code == panels[1].Text("Call/SecurityCode/Code")
	return nil
}

// muteShows mutes at one panel and waits until the other room's says so.
func muteShows(ctx context.Context, a, b *Controller) error {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	for _, muted := range []bool{true, false} {
		command := map[bool]string{true: "Audio/Mute", false: "Audio/Unmute"}[muted]
		if err := a.Do(ctx, command, nil); err != nil {
			return err
		}
		err := b.Await(ctx, "the other room's word about its microphone", func() bool {
			for _, m := range b.Members() {
				if m["Self"] == false && m["SaysMuted"] == muted {
					return true
				}
			}
			return false
		})
		if err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
	}
	return nil
}

// listen recognises the voices in what the loudspeakers played.
func listen(rooms []*Room, f *Figures) error {
	for i, r := range rooms {
		pcm, err := sim.ReadWAV(r.Speaker)
		if err != nil {
			return err
		}
		// The long call is at the end of the recording.
		pcm = pcm[max(0, len(pcm)-int(longCall/time.Second)*frame.SampleRate):]
		side := f.Rooms[r.Name]
		side.HeardScore, side.HeardOther = sim.Recognise(pcm, rooms[1-i].Name)
		_, side.HeardSelf = sim.Recognise(pcm, r.Name)
	}
	return nil
}

// Expect begins a new account of what the room's stage shows of another room.
func (r *Room) Expect(ctx context.Context, room string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.Stage+"/expect?room="+url.QueryEscape(room), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: expect: %s", r.Name, resp.Status)
	}
	return nil
}

// Witness is the account since Expect.
func (r *Room) Witness(ctx context.Context) (sim.Report, error) {
	var report sim.Report
	return report, r.get(ctx, "/witness", &report)
}

// AwaitPicture waits until the stage has shown the expected room.
func (r *Room) AwaitPicture(ctx context.Context) (sim.Report, error) {
	for {
		seen, err := r.Witness(ctx)
		if err != nil || seen.Frames > 0 {
			return seen, err
		}
		select {
		case <-ctx.Done():
			return seen, fmt.Errorf("%s: no picture of the other room on the stage: %w", r.Name, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (r *Room) get(ctx context.Context, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Stage+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", r.Name, path, resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(v)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}
