// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"incamera/cmd/internal/boxlink"
	"incamera/cmd/internal/kept"
)

// A judge is the boxd of a start: it says whether what runs is on trial, and takes
// the verdict.
type judge struct {
	boxlink.Box // what health must not ask for panics

	mu       sync.Mutex
	phase    string
	deaf     int // how often it does not answer
	verdicts chan boxlink.Health
}

func (j *judge) Status(context.Context) (boxlink.Status, error) {
	return boxlink.Status{Update: boxlink.Update{Phase: j.phase}}, nil
}

func (j *judge) Health(_ context.Context, h boxlink.Health) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.deaf > 0 {
		j.deaf--
		return errors.New("box: not now")
	}
	j.verdicts <- h
	return nil
}

// A morning is one start of a room, in which parts work or not.
type morning struct {
	trial             bool
	before            *past // nil: there was no start before
	camera, tpm       error
	panel, site, film bool // they are found to work; film: in a meeting
	deaf              int
}

var errGone = errors.New("gone")

// run lets a start come to its verdict, and returns it with what is kept then.
func (s morning) run(t *testing.T) (boxlink.Health, past) {
	t.Helper()
	j := &judge{phase: boxlink.Steady, deaf: s.deaf, verdicts: make(chan boxlink.Health, 2)}
	if s.trial {
		j.phase = boxlink.Trial
	}
	file := kept.File(filepath.Join(t.TempDir(), "health.json"))
	if s.before != nil {
		if err := file.Save(s.before); err != nil {
			t.Fatal(err)
		}
	}
	h := newHealth(j, file, slog.New(slog.DiscardHandler))
	h.limit = 300 * time.Millisecond
	h.camera = func(context.Context) error { return s.camera }
	h.sign = func() error { return s.tpm }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.run(ctx) }()
	for part, works := range map[string]bool{thePanel: s.panel, theSite: s.site, theCamera: s.film} {
		if works {
			h.works(part)
		}
	}
	var v boxlink.Health
	select {
	case v = <-j.verdicts:
	case <-time.After(20 * time.Second):
		t.Fatal("no verdict")
	}
	time.Sleep(50 * time.Millisecond) // for what is kept, and for a second verdict
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	h.works(theSite) // leaves nothing behind
	if len(j.verdicts) != 0 {
		t.Error("two verdicts on one start")
	}
	var now past
	_ = file.Load(&now) // none is the zero value
	return v, now
}

func TestHealth(t *testing.T) {
	all, nothing := &past{1, true, true}, &past{1, false, false}
	for name, tt := range map[string]struct {
		morning
		healthy bool
		wrong   string // what the verdict names, alone
		keeps   past
	}{
		"all works":              {morning{panel: true, site: true, before: all}, true, "", past{1, true, true}},
		"all works, on trial":    {morning{panel: true, site: true, before: all, trial: true}, true, "", past{1, true, true}},
		"first start, no site":   {morning{panel: true}, true, "", past{1, true, false}},
		"first start, no camera": {morning{panel: true, site: true, camera: errGone}, true, "", past{1, false, true}},
		"boxd answers late":      {morning{panel: true, deaf: 1}, true, "", past{1, true, false}},

		"no panel":              {morning{site: true, before: all, trial: true}, false, "panel", *all},
		"the TPM does not sign": {morning{panel: true, site: true, tpm: errGone, before: all, trial: true}, false, "tpm", *all},
		"the camera is lost":    {morning{panel: true, site: true, camera: errGone, before: all, trial: true}, false, "camera", *all},
		"no word of before":     {morning{panel: true, site: true, camera: errGone, trial: true}, false, "camera", past{}},
		"the site is lost":      {morning{panel: true, before: all, trial: true}, false, "site", *all},

		"neither was there before":   {morning{panel: true, camera: errGone, before: nothing, trial: true}, true, "", past{1, false, false}},
		"a camera busy in a meeting": {morning{panel: true, site: true, camera: errGone, film: true, before: all, trial: true}, true, "", past{1, true, true}},

		// Without a trial it is the room's new state, which the next one is judged by.
		"the camera is unplugged": {morning{panel: true, site: true, camera: errGone, before: all}, false, "camera", past{1, false, true}},
		"the site is away":        {morning{panel: true, before: all}, false, "site", past{1, true, false}},
		"all came back":           {morning{panel: true, site: true, before: nothing}, true, "", past{1, true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			v, now := tt.run(t)
			if v.Healthy != tt.healthy || now != tt.keeps {
				t.Errorf("%+v, keeps %+v; want %v and %+v", v, now, tt.healthy, tt.keeps)
			}
			for _, part := range []string{thePanel, theTPM, theCamera, theSite} {
				if got := strings.Contains(v.Detail, part+":"); got != (part == tt.wrong) {
					t.Errorf("the verdict names %s: %v (%q)", part, got, v.Detail)
				}
			}
		})
	}
}

func TestSigns(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := signs(key); err != nil {
		t.Error(err)
	}
}
