// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"context"
	"fmt"

	"incamera/media/mls"
)

// A Joiner is a room that asks to be let in. It is not safe for concurrent use.
type Joiner struct {
	set    *settings
	bundle *mls.KeyPackageBundle
}

// NewJoiner makes fresh keys for one meeting, and evidence about them that is
// bound to the handle: what [Epoch.Handle] gave a member, by way of the relay.
// Without one there is no evidence. The caller ends it with [Joiner.Destroy].
func NewJoiner(ctx context.Context, c Config, handle []byte) (*Joiner, error) {
	set, err := c.checkAll()
	if err != nil {
		return nil, err
	}
	set.next.fresh, set.next.ok = parseFreshness(handle)
	bundle, err := mls.NewKeyPackage(ctx, set.group())
	if err != nil {
		return nil, fmt.Errorf("e2ee: key package: %w", err)
	}
	return &Joiner{set: set, bundle: bundle}, nil
}

// KeyPackage returns what the room knocks with, for one meeting.
func (j *Joiner) KeyPackage() []byte { return j.bundle.Message() }

// Join enters the meeting that welcome invites to. It checks the credentials of
// all members and that they differ. After an error the caller knocks anew.
func (j *Joiner) Join(ctx context.Context, welcome []byte) (*Session, error) {
	g, err := mls.Join(ctx, j.set.group(), welcome, j.bundle)
	if err != nil {
		return nil, fmt.Errorf("e2ee: join: %w", err)
	}
	return newSession(j.set, g, g.Extensions())
}

// Destroy wipes the keys that no meeting took over. It may be called twice.
func (j *Joiner) Destroy() { j.bundle.Destroy() }
