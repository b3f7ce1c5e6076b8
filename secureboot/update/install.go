// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
)

// A Floor is the room's floor in the TPM.
type Floor interface {
	// Read returns the lowest rollback number that opens anything here.
	Read(ctx context.Context) (uint64, error)
	// Raise raises the floor to what the running release asks for, if it does.
	// It may be repeated.
	Raise(ctx context.Context) error
}

// Config is what an [Updater] works on. All of it is required.
type Config struct {
	Trust   Trust
	Running Release // what runs, from the image itself
	Idle    Device  // the system partition that does not run
	ESP     ESP
	Record  Copies
	Floor   Floor
	Log     *slog.Logger
}

// An Updater installs releases into the idle slot. It is for one goroutine, and
// there is one in a room.
type Updater struct {
	c Config
	r record
}

// New checks the configuration and reads the record. It writes nothing.
func New(c Config) (*Updater, error) {
	switch {
	case !boards.MatchString(c.Trust.Board) || !validVersion(c.Running.Version) || c.Running.Rollback == 0:
		return nil, fmt.Errorf("update: board %q, running %q with number %d", c.Trust.Board, c.Running.Version, c.Running.Rollback)
	case c.Idle == nil || c.ESP == nil || c.Record == nil || c.Floor == nil || c.Log == nil:
		return nil, fmt.Errorf("update: a part of the configuration is missing")
	case len(c.Trust.Log) == 0 || c.Trust.Root.Key == nil || len(c.Trust.DB) == 0:
		return nil, fmt.Errorf("update: a key of the log, the root or the firmware is missing")
	}
	if err := p256(c.Trust.BundleKey); err != nil {
		return nil, err
	}
	r, damaged := load(c.Record)
	if damaged != nil {
		c.Log.Warn("update record damaged", "err", damaged)
	}
	return &Updater{c, r}, nil
}

// Options are the caller's wishes for [Updater.Install].
type Options struct {
	// Older allows a release older than the one that runs, which people ask for
	// one by one. The floor holds all the same.
	Older bool
	// Accepted, if not nil, is told of the manifest, of which nothing was
	// written yet. The callee does not keep it.
	Accepted func(*Manifest)
	// Progress, if not nil, is told of bytes written, of all that there are.
	Progress func(written, total int64)
}

// Install reads a bundle, writes it into the idle slot and arms its trial, which
// begins when the caller restarts the machine. Until its last step a power cut,
// a done ctx and an error leave what runs as it is. It returns an [*Error] for a
// bundle that was refused.
func (u *Updater) Install(ctx context.Context, bundle io.Reader, o Options) (Release, error) {
	bundle = interrupted{ctx, bundle}
	m, err := readManifest(bundle, u.c.Trust.BundleKey)
	if err != nil {
		return Release{}, err
	}
	c, err := u.accept(ctx, m, o.Older)
	if err != nil {
		return Release{}, err
	}
	if o.Accepted != nil {
		o.Accepted(m)
	}
	running, err := u.clear()
	if err != nil {
		return Release{}, err
	}
	if u.r.Target != nil { // it went with the slot, and nobody is to look for what became of it
		r := u.r
		r.Target = nil
		if err := u.save(r); err != nil {
			return Release{}, err
		}
	}
	uki, err := u.stage(ctx, c, bundle, o.Progress)
	if err != nil {
		if _, tidy := u.tidy(); tidy != nil {
			u.c.Log.Warn("unfinished update left on the esp", "err", tidy)
		}
		return Release{}, err
	}
	target := Release{m.Version, m.Rollback}
	if err := u.save(record{1, u.r.Generation, &target, nil, c.seen}); err != nil {
		return Release{}, err
	}
	return target, u.arm(running, target, uki)
}

// clear makes the idle slot one that nothing starts, before its content goes,
// and returns the slot that runs.
func (u *Updater) clear() (slot, error) {
	all, err := u.slots()
	if err != nil {
		return slot{}, err
	}
	running, ok := find(all, u.c.Running.Version)
	if !ok {
		return slot{}, fmt.Errorf("update: the esp has no image of %s, which runs", u.c.Running.Version)
	}
	if running.onTrial() {
		return slot{}, refuse(OnTrial, "%s runs on trial", running.version)
	}
	if running.demoted() { // an older release was armed and never tried
		plain := slot{version: running.version}
		if err := u.rename(running, plain); err != nil {
			return slot{}, err
		}
		running = plain
	}
	return running, u.remove(func(name string) bool {
		return name != running.name() && name != policiesName(running.version)
	})
}

// stage puts everything in place but the first sector of the UKI, which it
// returns.
func (u *Updater) stage(ctx context.Context, c *candidate, bundle io.Reader, progress func(written, total int64)) ([]byte, error) {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	total := c.System.Size + c.UKI.Size
	if err := u.writeSystem(ctx, c.System, bundle, func(n int64) { progress(n, total) }); err != nil {
		return nil, err
	}
	uki, err := readUKI(bundle, c.UKI)
	if err != nil {
		return nil, err
	}
	if err := c.image(uki, u.c.Trust.DB); err != nil {
		return nil, err
	}
	if err := u.c.ESP.WriteFile(policiesName(c.Version), c.Policies); err != nil {
		return nil, fmt.Errorf("update: esp: %w", err)
	}
	if err := u.readBack(policiesName(c.Version), c.Policies); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := u.writeBlank(armed(c.Version).name(), uki); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	progress(total, total)
	return uki, nil
}

const chunk = 1 << 20 // bytes written and read at once

// writeSystem streams the system image into the idle partition and reads it back.
func (u *Updater) writeSystem(ctx context.Context, p Part, bundle io.Reader, progress func(int64)) error {
	r, b := newPartReader(bundle, p), make([]byte, chunk)
	for at := int64(0); ; {
		n, err := io.ReadFull(r, b)
		if n > 0 {
			if _, err := u.c.Idle.WriteAt(b[:n], at); err != nil {
				return fmt.Errorf("update: slot: %w", err)
			}
			at += int64(n)
			progress(at)
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if err := u.c.Idle.Sync(); err != nil {
		return fmt.Errorf("update: slot: %w", err)
	}
	h := sha256.New()
	if _, err := io.CopyBuffer(h, interrupted{ctx, io.NewSectionReader(u.c.Idle, 0, p.Size)}, b); err != nil {
		return fmt.Errorf("update: read slot: %w", err)
	}
	if !bytes.Equal(h.Sum(nil), p.SHA256[:]) {
		return refuse(WriteFailed, "the slot reads back differently")
	}
	return nil
}

// armed is the slot of a release whose trial is to come.
func armed(version string) slot { return slot{version: version, counted: true, left: tries} }

// arm lets the loader take the new release. One sector decides; an older release
// needs another name for the one that runs, since the loader takes the newest.
func (u *Updater) arm(running slot, target Release, uki []byte) error {
	if err := u.start(armed(target.Version).name(), uki); err != nil {
		return err
	}
	u.c.Log.Info("update armed", "version", target.Version, "running", running.version)
	if compareVersions(target.Version, running.version) > 0 {
		return nil
	}
	return u.rename(running, slot{version: running.version, counted: true})
}
