// SPDX-License-Identifier: Apache-2.0

package updates

import (
	"time"

	"incamera/cmd/internal/boxlink"
	"incamera/device/panel"
)

// What became of a trial.
const (
	committed  = "Committed"
	rolledBack = "RolledBack"
)

// settle draws the conclusions from what is known: what became of a trial, and
// whether to restart now.
func (o *owner) settle() {
	if !o.known {
		return
	}
	u := &o.status.Update
	switch {
	case o.job != nil || o.restarting || o.saved.Target == "":
	case u.Phase == boxlink.Trial:
		o.awake()
	case u.Phase == boxlink.Armed && o.saved.Idle && !o.inCall.Load():
		o.restart()
	case u.Phase == boxlink.Steady:
		o.conclude()
	}
	o.publish()
}

// longestDark is what a restart can take; more is a clock that was set.
const longestDark = 30 * time.Minute

// awake notes how long the room was dark.
func (o *owner) awake() {
	if o.saved.Asked.IsZero() {
		return
	}
	// Round(0): what the monotonic clock says is of this start alone.
	if d := time.Now().Round(0).Sub(o.saved.Asked); d > 0 && d < longestDark {
		o.saved.Dark = int(d / time.Second)
	}
	o.saved.Asked = time.Time{}
	o.save()
}

// conclude tells how a trial ended, once.
func (o *owner) conclude() {
	version := o.saved.Target
	o.saved.Target, o.saved.Idle, o.saved.Asked = "", false, time.Time{}
	o.save()
	if o.status.Update.Running.Version == version {
		o.outcome = committed
		o.Log.Info("a release has proved itself", "version", version)
		o.Publish(func(tx *panel.Tx) { tx.Event("Updates/Committed", map[string]any{"Version": version}) })
		return
	}
	o.outcome = rolledBack
	reason := "unknown"
	if f := o.status.Update.Failure; f != nil && f.Version == version {
		reason = f.Reason
	}
	o.Log.Warn("the room is back at the release before", "version", version, "reason", reason)
	o.Publish(func(tx *panel.Tx) {
		tx.Event("Updates/RolledBack", map[string]any{"Version": version, "Reason": reason})
	})
}

// publish shows everything. What did not change costs no delta.
func (o *owner) publish() {
	if !o.known {
		return
	}
	u := &o.status.Update
	state, candidate, blocked := o.state()
	now := map[string]any{
		"Running": u.Running.Version, "State": state, "BlockedBy": blocked,
		"Floor": u.Floor, "DarkMinutes": o.darkMinutes(), "Progress": o.progress(),
	}
	if candidate != "" {
		now["Candidate"] = candidate
	}
	if f := o.failure; f != nil {
		now["Failure"] = f
	} else if f := u.Failure; f != nil {
		now["Failure"] = panel.Failure{Version: f.Version, Reason: f.Reason, Detail: f.Detail}
	}
	if len(o.offers) > 0 {
		now["Offered"] = o.offers
	}
	o.Publish(func(tx *panel.Tx) {
		if now["Failure"] == nil {
			tx.Remove("Updates/Failure")
		}
		tx.Set("Updates", now)
	})
}

func (o *owner) state() (state, candidate, blocked string) {
	blocked = "None"
	switch {
	case o.job != nil:
		candidate = o.status.Work.Version
		if candidate == "" || o.working() == "Receiving" {
			candidate = o.job.version
		}
		return o.working(), candidate, blocked
	case o.restarting:
		return "Restarting", o.target(), blocked
	case o.status.Update.Phase == boxlink.Trial:
		return "Trying", o.status.Update.Running.Version, blocked
	case o.status.Update.Phase == boxlink.Armed:
		if o.saved.Idle && o.inCall.Load() {
			blocked = "Call"
		}
		return "Waiting", o.target(), blocked
	case o.outcome != "":
		return o.outcome, "", blocked
	}
	return "Idle", "", blocked
}

// working is what boxd does for the installation under way.
func (o *owner) working() string {
	switch o.status.Work.State {
	case boxlink.Writing:
		return "Writing"
	case boxlink.Checking:
		return "Checking"
	}
	return "Receiving"
}

// progress of the installation under way, in percent.
func (o *owner) progress() int {
	w := o.status.Work
	if o.job == nil || w.Total <= 0 || w.State == boxlink.Idle {
		return 0
	}
	return int(min(max(100*w.Written/w.Total, 0), 100))
}

// darkMinutes is what the last restart into a release took, rounded up.
func (o *owner) darkMinutes() int {
	const unknown = 2
	if o.saved.Dark <= 0 {
		return unknown
	}
	return (min(o.saved.Dark, int(longestDark/time.Second)) + 59) / 60
}
