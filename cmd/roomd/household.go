// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"path/filepath"
	"strings"

	"incamera/cmd/internal/boxlink"
	"incamera/cmd/internal/kept"
	"incamera/cmd/internal/supervise"
	"incamera/cmd/internal/updates"
	"incamera/device/panel"
	"incamera/secureboot/enrol/client"
)

// A household is what a room does with its box besides meetings: it looks after
// it, updates it and says how it is. A room without boxd has an empty one.
type household struct {
	care    *caretaker
	updates *updates.Updates
	health  *health
}

func newHousehold(c *config, hw *hardware, place *standing, room *roomState, log *slog.Logger) *household {
	if c.Box == "" {
		return &household{}
	}
	publish := func(f func(*panel.Tx)) { room.server.Publish(f) }
	box := boxlink.New(c.Box)
	h := &household{
		care:   newCaretaker(c, publish, namedBySite, log.With("part", "box")),
		health: newHealth(box, kept.File(filepath.Join(c.State, "health.json")), log.With("part", "health")),
	}
	if hw.camera != nil {
		h.health.camera = func(ctx context.Context) error {
			camera, err := hw.camera(ctx)
			if err != nil {
				return err
			}
			return camera.Close()
		}
		room.opened = func() { h.health.works(theCamera) }
	}
	if place != nil {
		h.health.sign = func() error { return signs(place.box.Leaf) }
		h.updates = updates.New(updates.Config{
			Box: box, Site: place.site, Publish: publish,
			State: kept.File(filepath.Join(c.State, "updates.json")), Log: log.With("part", "updates"),
		})
		room.calling = h.updates.InCall
	}
	return h
}

// namedBySite refuses a name: that of a room is in its certificates.
func namedBySite(context.Context, string) error {
	return &panel.Refusal{Reason: panel.ReadOnly, Detail: "the site names the room"}
}

// site opens a connection to the room's site, with the certificate as it was last
// renewed.
func (s *standing) site() (updates.Site, error) {
	id, err := client.ReadIdentity(s.member.Path)
	if err != nil {
		return nil, err
	}
	return s.member.Client(id)
}

// equip lets panels act on the box.
func (h *household) equip(deps *panel.Deps) {
	if h.care != nil {
		deps.System, deps.Network = h.care, h.care
	}
	if h.updates != nil {
		deps.Updates = h.updates
	}
}

// watched notes for the room's health that the panel is served.
func (h *household) watched(serve func(context.Context, net.Listener) error) func(context.Context, net.Listener) error {
	if h.health == nil {
		return serve
	}
	return func(ctx context.Context, ln net.Listener) error {
		h.health.works(thePanel)
		return serve(ctx, ln)
	}
}

// reached notes that the site's verifier has answered.
func (h *household) reached() {
	if h.health != nil {
		h.health.works(theSite)
	}
}

func (h *household) parts() []supervise.Part {
	var parts []supervise.Part
	if h.care != nil {
		h.care.begin()
		parts = append(parts,
			supervise.Part{Name: "box", Run: running(h.care.watch)},
			supervise.Part{Name: "health", Run: running(h.health.run)})
	}
	if h.updates != nil {
		parts = append(parts, supervise.Part{Name: "updates", Run: running(h.updates.Run)})
	}
	return parts
}

// show tells panels which site the room is in.
func (s *standing) show(server *panel.Server, self bool) {
	server.Publish(func(tx *panel.Tx) {
		tx.Set("Enrolment/State", "Enrolled")
		tx.Set("Enrolment/Chip", s.box.Chip())
		if root, err := x509.ParseCertificate(s.id.Root); err == nil { // it was checked when it was read
			optional(tx, "Enrolment/Site", strings.Join(root.Subject.Organization, " "))
		}
		if self {
			tx.Set("Setup/State", done)
		}
	})
}
