// SPDX-License-Identifier: Apache-2.0

package updates

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"strings"

	"incamera/cmd/internal/boxlink"
	"incamera/device/panel"
	"incamera/secureboot/enrol"
)

// The two sources of releases, as panels name them.
const (
	fromSite  = "Site"
	fromStick = "Stick"
)

// maxOffers is what panels take of each source.
const maxOffers = 16

// look asks the site, and the sticks if a person asked, what there is. done is
// told how it went; it is not nil only if somebody waits, and has room.
func (o *owner) look(sticks bool, done chan<- error) error {
	if !o.known {
		return errUnknown
	}
	board := o.status.Board
	o.beside(func() func() {
		ctx, cancel := context.WithTimeout(o.ctx, checkTime)
		defer cancel()
		bundles, siteErr := o.bundles(ctx, board)
		var files []boxlink.Bundle
		var stickErr error
		if sticks {
			files, stickErr = o.Box.Stick(ctx)
		}
		return func() {
			o.next(siteErr)
			if siteErr == nil {
				o.offer(fromSite, ofSite(bundles, o.status))
			}
			if sticks && stickErr == nil {
				o.offer(fromStick, ofSticks(files))
			}
			o.publish()
			if done != nil {
				if stickErr != nil {
					stickErr = refusal(stickErr)
				}
				done <- errors.Join(told(siteErr), stickErr)
			}
		}
	})
	return nil
}

func (o *owner) bundles(ctx context.Context, board string) ([]enrol.BundleEntry, error) {
	site, err := o.Site()
	if err != nil {
		return nil, err
	}
	defer site.Close()
	return site.Bundles(ctx, board)
}

// next sets when to look again.
func (o *owner) next(err error) {
	if err == nil {
		o.check.Reset(checkStep + rand.N(checkStep/10)) //nolint:gosec // no secret: the rooms of a site are a herd
		return
	}
	o.Log.Info("the site's releases are not known", "err", err)
	o.check.Reset(recheck)
}

// told is the site's error as a person is told it.
func told(err error) error {
	if err == nil {
		return nil
	}
	return &panel.Refusal{Reason: panel.UpstreamUnreachable, Detail: "the site's verifier gave no list of releases", Err: err}
}

// ofSite are the releases for this box but for the one that runs.
func ofSite(bundles []enrol.BundleEntry, s boxlink.Status) map[string]panel.Offer {
	offers := map[string]panel.Offer{}
	for _, b := range bundles {
		if b.Approved && b.Board == s.Board && b.Version != s.Update.Running.Version && len(offers) < maxOffers {
			offers["site-"+b.Version] = panel.Offer{Version: b.Version, Bytes: b.Size, Source: fromSite}
		}
	}
	return offers
}

// ofSticks are files by their names, which boxd has checked. What is in them
// shows when one is imported.
func ofSticks(files []boxlink.Bundle) map[string]panel.Offer {
	offers := map[string]panel.Offer{}
	for _, f := range files {
		version, ok := strings.CutPrefix(f.Name, "in-camera-")
		version, isBundle := strings.CutSuffix(version, ".bundle")
		if ok && isBundle && version != "" && len(offers) < maxOffers {
			offers[f.Name] = panel.Offer{Version: version, Bytes: f.Size, Source: fromStick}
		}
	}
	return offers
}

// offer replaces what a source offers.
func (o *owner) offer(source string, offers map[string]panel.Offer) {
	o.Publish(func(tx *panel.Tx) {
		for id, old := range o.offers {
			if _, still := offers[id]; old.Source == source && !still {
				tx.Remove("Updates/Offered/" + id)
				delete(o.offers, id)
			}
		}
	})
	maps.Copy(o.offers, offers)
}
