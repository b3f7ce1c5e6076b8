// SPDX-License-Identifier: Apache-2.0

package updates

import (
	"context"
	"errors"
	"time"

	"incamera/cmd/internal/boxlink"
	"incamera/device/panel"
	"incamera/secureboot/enrol/client"
)

var (
	errUnknown   = errors.New("updates: the box does not answer")
	errCancelled = errors.New("updates: cancelled by a person")
)

func conflict(detail string) error { return &panel.Refusal{Reason: panel.Conflict, Detail: detail} }

// install begins an installation, which do carries out.
func (o *owner) install(version string, do func(context.Context) (boxlink.Release, error)) error {
	switch {
	case !o.known:
		return errUnknown
	case o.job != nil:
		return conflict("another release is being installed")
	case o.restarting:
		return panel.Refuse(panel.ShuttingDown)
	case o.status.Update.Phase == boxlink.Trial:
		return conflict("what runs has yet to prove itself")
	case o.status.Update.Unavailable != "":
		return &panel.Refusal{Reason: panel.NotSupportedByHardware, Detail: o.status.Update.Unavailable}
	}
	ctx, cancel := context.WithCancelCause(o.ctx)
	o.job = &job{version, cancel}
	o.failure, o.outcome = nil, ""
	o.Log.Info("installing", "version", version)
	o.publish()
	o.beside(func() func() {
		release, err := do(ctx)
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		cancel(nil)
		status, statusErr := o.fetch()
		return func() { o.installed(release, err, status, statusErr) }
	})
	return nil
}

// installed takes the end of an installation, and boxd's word from after it.
func (o *owner) installed(release boxlink.Release, err error, status boxlink.Status, statusErr error) {
	version := o.job.version
	o.job = nil
	o.era++
	if err == nil {
		o.Log.Info("installed", "version", release.Version)
		o.saved.Target, o.saved.Idle, o.saved.Asked = release.Version, true, time.Time{}
		o.save()
		o.Publish(func(tx *panel.Tx) { tx.Event("Updates/Ready", map[string]any{"Version": release.Version}) })
	} else {
		o.Log.Warn("not installed", "version", version, "err", err)
		if !errors.Is(err, errCancelled) {
			o.failure = failure(version, err)
		}
		if statusErr == nil && status.Update.Phase == boxlink.Steady && o.saved.Target != "" {
			// What was installed before is not there any more.
			o.saved.Target, o.saved.Idle = "", false
			o.save()
		}
	}
	o.learn(status, statusErr)
	o.publish()
}

// apply restarts into what is installed.
func (o *owner) apply(now bool) error {
	switch {
	case !o.known:
		return errUnknown
	case o.restarting:
		return nil
	case o.job != nil || o.status.Update.Phase != boxlink.Armed:
		return conflict("nothing is installed that waits for a restart")
	}
	if now {
		o.restart()
		return nil
	}
	o.saved.Target, o.saved.Idle = o.target(), true
	o.save()
	o.settle()
	return nil
}

// cancel stops an installation, or leaves the restart to a person.
func (o *owner) cancel() error {
	switch {
	case o.restarting:
		return panel.Refuse(panel.ShuttingDown)
	case o.job != nil:
		o.job.cancel(errCancelled)
	case o.status.Update.Phase == boxlink.Armed && o.saved.Idle:
		o.saved.Idle = false
		o.save()
		o.publish()
	default:
		return conflict("nothing is under way")
	}
	return nil
}

// restart asks boxd for the restart into what is installed.
func (o *owner) restart() {
	version := o.target()
	o.restarting = true
	o.saved.Target, o.saved.Asked = version, time.Now()
	o.save()
	o.Log.Info("restarting into a release", "version", version)
	o.Publish(func(tx *panel.Tx) { tx.Event("Updates/Started", map[string]any{"Version": version}) })
	o.publish()
	o.beside(func() func() {
		err := o.Box.Restart(o.ctx, "update to "+version)
		return func() {
			if err == nil {
				return
			}
			o.Log.Error("the box does not restart", "err", err)
			o.restarting, o.saved.Idle, o.saved.Asked = false, false, time.Time{}
			o.failure = failure(version, err)
			o.save()
			o.publish()
		}
	})
}

// target is the version of what is installed.
func (o *owner) target() string {
	if t := o.status.Update.Target; t != nil {
		return t.Version
	}
	return o.saved.Target
}

// failure says why a release was not installed, in the words of boxd where it
// refused, and else in those of this package.
func failure(version string, err error) *panel.Failure {
	if r, ok := errors.AsType[*boxlink.Refusal](err); ok {
		return &panel.Failure{Version: version, Reason: r.Reason, Detail: r.Detail}
	}
	if p, ok := errors.AsType[*client.Problem](err); ok {
		return &panel.Failure{Version: version, Reason: p.Code, Detail: p.Detail}
	}
	if _, ok := errors.AsType[*interruptedError](err); ok {
		return &panel.Failure{Version: version, Reason: "interrupted", Detail: "the release did not come as a whole"}
	}
	if errors.Is(err, client.ErrUnavailable) || errors.Is(err, client.ErrIdentity) {
		return &panel.Failure{Version: version, Reason: "unreachable", Detail: "the site's verifier does not answer"}
	}
	return &panel.Failure{Version: version, Reason: "failed", Detail: "the room's log says why"}
}

// refusal is boxd's word on a command, in the panel's.
func refusal(err error) error {
	r, ok := errors.AsType[*boxlink.Refusal](err)
	if !ok {
		return err
	}
	reason, known := map[string]panel.Reason{
		boxlink.Busy: panel.Conflict, boxlink.Absent: panel.TargetChanged, boxlink.Unavailable: panel.NotSupportedByHardware,
	}[r.Reason]
	if !known {
		return err
	}
	return &panel.Refusal{Reason: reason, Detail: r.Detail, Err: err}
}
