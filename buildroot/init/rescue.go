// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"incamera/secureboot/provision"
	"incamera/secureboot/seal"
)

// remedies is what the recovery screen says for each remedy of package seal.
var remedies = map[seal.Remedy]string{
	seal.OtherSlot:      "start the other release: switch the box off and on",
	seal.UseRecoveryKey: "type the recovery key, which was written down when the room was set up",
	seal.NewerRelease:   "install a newer release",
	seal.ReinstallSlot:  "install this release again",
	seal.ProvisionAgain: "to start over, hold the button at power-on: it destroys the data, and the room is set up anew",
	seal.CallService:    "call the service",
}

// causes are the words of the screen and of those who watch it by a program.
var causes = []struct {
	err  error
	name string
}{
	{seal.ErrNotApproved, "not_approved"},
	{seal.ErrRetired, "retired"},
	{seal.ErrUntrusted, "untrusted"},
	{seal.ErrPolicies, "policies_damaged"},
	{seal.ErrForeign, "foreign"},
	{seal.ErrSilent, "tpm_silent"},
	{seal.ErrVersion, "newer_format"},
	{errEmpty, "data_empty"},
	{errNotOpened, "key_refused"},
}

// A vault is the data, which a key opens.
type vault interface {
	// open returns [errNotOpened] for a key of another partition.
	open(ctx context.Context, key seal.Secret) error
}

// rescue is the recovery screen. It returns the state key once somebody has
// typed the recovery key, which opens what lies in the store, a folder, and the
// data is open. It changes nothing.
func rescue(ctx context.Context, data vault, store string, r release, talk prompt, cause error) (seal.Secret, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "RECOVERY: the room's data stays locked, cause %s\n", causeName(cause))
	fmt.Fprintf(&b, "  what happened: %v\n", cause)
	for _, remedy := range seal.Remedies(cause) {
		fmt.Fprintf(&b, "  what helps: %s\n", remedies[remedy])
	}
	b.WriteString("  nothing was changed or erased")
	question := b.String()
	for {
		text, err := talk.ask(question)
		if err != nil {
			return nil, fmt.Errorf("recovery screen: %w", err)
		}
		key, err := recovered(store, r, text)
		if err == nil {
			err = data.open(ctx, key)
		}
		if err == nil {
			say("unlocked the data by the recovery key")
			return key, nil
		}
		question = fmt.Sprintf("not unlocked: %v", err)
	}
}

// recovered opens the wrapped state key with the recovery key in text.
func recovered(dir string, r release, text string) (seal.Secret, error) {
	key, err := seal.ParseRecoveryKey(text)
	if err != nil {
		return nil, err
	}
	store, err := seal.OpenStore(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }() // it is only read
	b, err := store.Read(provision.Wrapped, r.root.Generation)
	if err != nil {
		return nil, err
	}
	wrapped, err := seal.ParseRecovery(b)
	if err != nil {
		return nil, err
	}
	return key.Unwrap(wrapped)
}

// Keep implements [provision.Keeper]: the key is shown once, and typed back.
func (p prompt) Keep(_ context.Context, key seal.RecoveryKey) (seal.RecoveryKey, error) {
	question := "RECOVERY KEY " + key.Text() + "\n  It opens the room's data if this box breaks, and is not shown again.\n  Write it down, then type it here"
	for {
		text, err := p.ask(question)
		if err != nil {
			return seal.RecoveryKey{}, err
		}
		back, err := seal.ParseRecoveryKey(text)
		if err == nil {
			return back, nil
		}
		question = "that is not a recovery key: type it again"
	}
}

// causeName returns the name of a cause: "unknown" if it is none of package
// seal's.
func causeName(err error) string {
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.name
		}
	}
	return "unknown"
}
