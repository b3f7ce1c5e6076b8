// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"incamera/media/call"
	"incamera/secureboot/enrol/client"
)

const (
	// revocationStep is how often a room asks what the site has withdrawn: a
	// revoked room loses its seat in a running meeting within this time.
	revocationStep = 15 * time.Second
	// renewalStep is how often it looks whether its certificates are to be
	// renewed, and tries again what failed.
	renewalStep   = 10 * time.Minute
	directoryStep = time.Hour
	siteTimeout   = 10 * time.Second
)

// A follower keeps up with the site: what it withdraws, who its rooms are, and
// the room's own certificates. A verifier that is out of reach stops nothing.
type follower struct {
	*standing
	engine  *call.Engine
	rooms   *directory                       // as last known; nil: the configuration names them
	learned func(context.Context, directory) // called when the rooms change
	reached func()                           // called when the verifier has answered
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) error {
	pin, err := client.New(f.member.Verifier, client.WithKey(f.member.Key))
	if err != nil {
		return err
	}
	defer pin.Close()
	var noteKey string
	var renewal, directory time.Time
	renewal = time.Now().Add(renewalStep)
	for {
		if err := f.revocations(ctx, pin, &noteKey); err == nil {
			f.reached()
		} else if ctx.Err() == nil {
			f.log.Debug("the site's revocations are not known", "err", err)
		}
		now := time.Now()
		if now.After(renewal) {
			renewal = now.Add(renewalStep)
			if due, err := client.Due(f.id, now); err == nil && due {
				f.renew(ctx)
			}
		}
		if f.rooms != nil && now.After(directory) {
			if err := f.directory(ctx); err == nil {
				directory = now.Add(directoryStep + rand.N(directoryStep/10)) //nolint:gosec // no secret: the rooms of a site are a herd
			} else if ctx.Err() == nil {
				f.log.Debug("the site's directory is not known", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(revocationStep):
		}
	}
}

func (f *follower) revocations(ctx context.Context, c *client.Client, noteKey *string) error {
	ctx, cancel := context.WithTimeout(ctx, siteTimeout)
	defer cancel()
	if *noteKey == "" {
		info, err := c.Site(ctx)
		if err != nil {
			return err
		}
		*noteKey = info.NoteKey
	}
	list, err := c.Revocations(ctx, *noteKey)
	if err != nil {
		return err
	}
	if old := f.judge.revoked.Swap(&list); old == nil ||
		len(old.AKs) != len(list.AKs) || len(old.Certificates) != len(list.Certificates) || len(old.Versions) != len(list.Versions) {
		return f.engine.Reappraise(ctx)
	}
	return nil
}

// renew fetches new certificates. The room uses them from its next start on:
// connections and meetings that are under way rest on the present ones.
func (f *follower) renew(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, siteTimeout)
	defer cancel()
	if _, err := f.member.Renew(ctx, f.id); err != nil {
		f.log.Warn("certificates were not renewed", "err", err)
		return
	}
	f.log.Info("certificates renewed")
}

// directory asks who the site's rooms are.
func (f *follower) directory(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, siteTimeout)
	defer cancel()
	id, err := client.ReadIdentity(f.member.Path) // as it was renewed
	if err != nil {
		return err
	}
	d, err := fetchDirectory(ctx, f.member, id)
	if err != nil || slices.Equal(d.Rooms, f.rooms.Rooms) {
		return err
	}
	f.rooms = &d
	f.log.Info("the site's directory has changed", "rooms", len(d.Rooms))
	f.learned(ctx, d)
	return nil
}
