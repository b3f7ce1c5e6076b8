// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"incamera/cmd/internal/boxlink"
	"incamera/cmd/internal/kept"
)

// The parts of a room's health.
const (
	thePanel  = "panel"
	theTPM    = "tpm"
	theCamera = "camera"
	theSite   = "site"
)

const (
	// healthTime is how long a start may take to show that it works. boxd gives a
	// release on trial ten minutes, and should hear the reason from us.
	healthTime = 8 * time.Minute
	healthStep = 2 * time.Second // between two tries of what failed
	tellTime   = 10 * time.Second
)

// A health gathers whether this start does what a room must, and tells boxd
// once: on trial, the release stays or goes by it. What the room had not before
// (a camera that is gone, a site that is out of reach) is no fault of a release.
type health struct {
	box  boxlink.Box
	file kept.File
	log  *slog.Logger

	camera func(context.Context) error // opens and closes it once; nil: there is none
	sign   func() error                // by the key in the TPM; nil: there is no TPM
	limit  time.Duration

	found chan finding
	ended chan struct{} // closed when nobody takes findings any more
	once  sync.Once
}

// A finding is that a part works, or why it does not yet.
type finding struct {
	part string
	err  error
}

// past is what the last start that was no trial had.
type past struct {
	Version int  `json:"version"` // of the format: 1
	Camera  bool `json:"camera"`
	Site    bool `json:"site"`
}

func newHealth(box boxlink.Box, file kept.File, log *slog.Logger) *health {
	return &health{box: box, file: file, log: log, limit: healthTime, found: make(chan finding), ended: make(chan struct{})}
}

// works tells that a part works. It does not wait.
func (h *health) works(part string) {
	go func() {
		select {
		case h.found <- finding{part: part}:
		case <-h.ended:
		}
	}()
}

// run gathers, tells, and goes on noting that the site is reached, until ctx
// ends.
func (h *health) run(ctx context.Context) error {
	defer h.once.Do(func() { close(h.ended) })
	trial, err := h.onTrial(ctx)
	if err != nil {
		return err
	}
	before := past{Camera: trial} // on trial that there is none must be known
	if err := h.file.Load(&before); err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.log.Warn("how the room was before is not known", "err", err)
	}
	probes, stop := context.WithTimeout(ctx, h.limit)
	defer stop()
	var work sync.WaitGroup
	defer work.Wait()
	need := map[string]error{thePanel: errPending, theSite: errPending}
	h.probe(probes, &work, need, theTPM, h.sign)
	if h.camera != nil {
		h.probe(probes, &work, need, theCamera, func() error { return h.camera(probes) })
	}
	known := &knowledge{health: h, saved: before}
	for !settled(need, before) && probes.Err() == nil {
		select {
		case f := <-h.found:
			take(need, f)
			if !trial {
				known.learn(need, before.Site) // a site may take a while to be reached
			}
		case <-probes.Done():
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	healthy := settled(need, before)
	h.tell(ctx, found(healthy, need, before))
	if trial && !healthy {
		<-ctx.Done() // the release before comes back, to what it knows
		return context.Cause(ctx)
	}
	for {
		known.learn(need, false)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case f := <-h.found:
			take(need, f)
		}
	}
}

// take notes a finding. What has worked once is enough: a camera that a meeting
// uses cannot be opened again.
func take(need map[string]error, f finding) {
	if need[f.part] != nil {
		need[f.part] = f.err
	}
}

// knowledge is what the next start is judged by.
type knowledge struct {
	*health
	saved past
}

// learn keeps what was found, if it is another than before. away: the site was
// reached before, and there is time yet.
func (k *knowledge) learn(need map[string]error, away bool) {
	now := past{Version: 1, Camera: k.saved.Camera, Site: need[theSite] == nil || away}
	if err := need[theCamera]; !errors.Is(err, errPending) {
		now.Camera = err == nil
	}
	if now == k.saved {
		return
	}
	if err := k.file.Save(now); err != nil {
		k.log.Error("how the room is is not kept", "err", err)
	}
	k.saved = now
}

// onTrial asks boxd whether what runs has yet to prove itself.
func (h *health) onTrial(ctx context.Context) (bool, error) {
	for {
		s, err := h.box.Status(ctx)
		if err == nil {
			return s.Update.Phase == boxlink.Trial, nil
		}
		h.log.Debug("the box does not answer", "err", err)
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(healthStep):
		}
	}
}

var errPending = errors.New("not yet")

// probe tries a part until it works or ctx ends.
func (h *health) probe(ctx context.Context, work *sync.WaitGroup, need map[string]error, part string, try func() error) {
	if try == nil {
		return
	}
	need[part] = errPending
	work.Go(func() {
		for {
			err := try()
			select {
			case h.found <- finding{part, err}:
			case <-ctx.Done():
				return
			}
			if err == nil {
				return
			}
			select {
			case <-time.After(healthStep):
			case <-ctx.Done():
				return
			}
		}
	})
}

// settled reports whether all works that must.
func settled(need map[string]error, before past) bool {
	for part, err := range need {
		if err != nil && !excused(part, err, before) {
			return false
		}
	}
	return true
}

// excused reports whether a part need not work, as it did not before. A camera is
// tried once even so.
func excused(part string, err error, before past) bool {
	switch part {
	case theCamera:
		return !before.Camera && !errors.Is(err, errPending)
	case theSite:
		return !before.Site
	}
	return false
}

func found(healthy bool, need map[string]error, before past) boxlink.Health {
	if healthy {
		return boxlink.Health{Healthy: true}
	}
	var wrong []string
	for part, err := range need {
		if err != nil && !excused(part, err, before) {
			wrong = append(wrong, part+": "+err.Error())
		}
	}
	slices.Sort(wrong)
	return boxlink.Health{Detail: strings.Join(wrong, "; ")}
}

// tell says the verdict, until boxd has it.
func (h *health) tell(ctx context.Context, v boxlink.Health) {
	if v.Healthy {
		h.log.Info("healthy")
	} else {
		h.log.Error("unhealthy", "detail", v.Detail)
	}
	for {
		err := h.box.Health(ctx, v)
		if _, refused := errors.AsType[*boxlink.Refusal](err); err == nil || refused || ctx.Err() != nil {
			return // what is refused once is refused again
		}
		h.log.Warn("the box did not take the verdict", "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(healthStep):
		}
	}
}

// failedStart tells boxd of a start that came to nothing: on trial, the release
// before comes back at once, with the reason.
func failedStart(ctx context.Context, c *config, cause error, log *slog.Logger) {
	if c.Box == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	newHealth(boxlink.New(c.Box), "", log).tell(ctx, boxlink.Health{Detail: "start: " + cause.Error()})
}

// sampleText is signed to see that the TPM signs: it is neither of MLS nor of
// TLS, whose signatures begin otherwise.
var sampleText = sha256.Sum256([]byte("in-camera/health/v1"))

// signs has a key sign once.
func signs(key crypto.Signer) error {
	if _, err := key.Sign(rand.Reader, sampleText[:], crypto.SHA256); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	return nil
}
