// SPDX-License-Identifier: Apache-2.0

package call_test

import (
	"errors"
	"testing"

	"incamera/media/call"
	"incamera/media/call/calltest"
	"incamera/media/e2ee"
	"incamera/media/e2ee/e2eetest"
)

// attestedPair starts two rooms of meetings of attested rooms only.
func attestedPair(t *testing.T, firmware string) (a, b *calltest.Room, appraiser *e2eetest.Appraiser) {
	t.Helper()
	site := calltest.NewSite(t)
	lns := site.Prepare("Vauban", "Curie")
	a = site.Start("Vauban", lns[0], calltest.Options{Group: func(c *e2ee.Config) {
		_, appraiser = e2eetest.Attested(c, "Vauban", e2ee.AttestedOnly, e2eetest.Released)
	}})
	b = site.Start("Curie", lns[1], calltest.Options{Group: func(c *e2ee.Config) {
		e2eetest.Attested(c, "Curie", e2ee.AttestedOnly, firmware)
	}})
	return a, b, appraiser
}

// verified reports whether every room of the roster, this one included, is
// verified.
func verified(s call.Status) bool {
	for _, m := range s.Members {
		if m.Verdict.Tier != e2ee.Affirming || m.Verdict.Release != e2eetest.Released {
			return false
		}
	}
	return len(s.Members) == 2
}

// TestVerifiedCall shows both rooms as verified on both panels.
func TestVerifiedCall(t *testing.T) {
	a, b, _ := attestedPair(t, e2eetest.Released)
	a.Call(b)
	a.Await("both verified", verified)
	b.Await("both verified", verified)
	flows(t, a, b, 5)
	flows(t, b, a, 5)
}

// TestNotAttested calls a room that runs other software: the caller learns which
// room and why, the called one that it is the reason, and nothing is sent.
func TestNotAttested(t *testing.T) {
	a, b, _ := attestedPair(t, "patched")
	if _, err := a.Start(t.Context(), "Curie"); err != nil {
		t.Fatal(err)
	}
	b.AwaitState(call.Ringing)
	if err := b.Answer(t.Context(), b.Status().CallID); err != nil {
		t.Fatal(err)
	}
	a.AwaitState(call.Idle)
	b.AwaitState(call.Idle)
	why, ok := errors.AsType[*call.NotAttestedError](a.Status().Ended)
	if !ok || why.Room != "Curie" || why.Verdict.Reason != "refval_mismatch" {
		t.Errorf("the caller is told %v", a.Status().Ended)
	}
	if !errors.Is(b.Status().Ended, call.ErrNotProved) {
		t.Errorf("the called room is told %v", b.Status().Ended)
	}
}

// TestRevokedLosesSeat withdraws a room in a running meeting: the other puts it
// out as soon as it judges again.
func TestRevokedLosesSeat(t *testing.T) {
	a, b, appraiser := attestedPair(t, e2eetest.Released)
	a.Call(b)
	a.Await("both verified", verified)
	appraiser.Revoke("Curie")
	if err := a.Reappraise(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.AwaitState(call.Idle)
	if err := b.Status().Ended; !errors.Is(err, call.ErrRemoved) {
		t.Errorf("the revoked room is told %v", err)
	}
	a.Await("to be alone", func(s call.Status) bool { return len(s.Members) < 2 })
}
