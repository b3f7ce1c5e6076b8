// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// What a refusal means, one for each thing that the operator can do about it.
var (
	// ErrNotApproved: no approved policy for the running image, or PCR 11 is
	// capped because the phase is over. The other slot; the recovery key.
	ErrNotApproved = errors.New("seal: running image not approved in this boot phase")
	// ErrRetired: the image is below the floor, or its policy key is retired.
	// A newer release.
	ErrRetired = errors.New("seal: release below the floor or policy key retired")
	// ErrUntrusted: approved by a key that this room does not trust. The other
	// slot.
	ErrUntrusted = errors.New("seal: approved by a key that this room does not trust")
	// ErrPolicies: policies.cbor is damaged or altered. Reinstall the slot.
	ErrPolicies = errors.New("seal: policies damaged or altered")
	// ErrForeign: another room's disk, another or cleared TPM, or a damaged
	// blob. The recovery key, then provision again.
	ErrForeign = errors.New("seal: not sealed by this chip, or damaged")
	// ErrSilent: the TPM does not answer, or not as it must. Service; the
	// recovery key.
	ErrSilent = errors.New("seal: no sound answer from the TPM")
	// ErrVersion: a newer release wrote it. The caller leaves it alone and
	// offers the newer slot.
	ErrVersion = errors.New("seal: written by a newer release")
)

// An Error is a refusal by the TPM, or its silence.
type Error struct {
	Cause error  // ErrNotApproved, ErrRetired, ...
	At    string // the command that failed, as the TPM specification spells it
	Err   error  // what the TPM or the transport said
}

func (e *Error) Error() string { return fmt.Sprintf("%v: %s: %v", e.Cause, e.At, e.Err) }

// Unwrap makes both the cause and the TPM's answer visible to errors.Is.
func (e *Error) Unwrap() []error { return []error{e.Cause, e.Err} }

// A Remedy is what the recovery screen offers.
type Remedy string

// The remedies there are; their values are stable names.
const (
	OtherSlot      Remedy = "other_slot"
	UseRecoveryKey Remedy = "recovery_key"
	NewerRelease   Remedy = "newer_release"
	ReinstallSlot  Remedy = "reinstall_slot"
	ProvisionAgain Remedy = "provision_again"
	CallService    Remedy = "service"
)

// Remedies lists what to offer for err, the best first. An error that this
// package does not know gets the recovery key and service: never nothing.
func Remedies(err error) []Remedy {
	switch {
	case errors.Is(err, ErrNotApproved):
		return []Remedy{OtherSlot, UseRecoveryKey}
	case errors.Is(err, ErrRetired):
		return []Remedy{NewerRelease}
	case errors.Is(err, ErrUntrusted), errors.Is(err, ErrVersion):
		return []Remedy{OtherSlot}
	case errors.Is(err, ErrPolicies):
		return []Remedy{ReinstallSlot}
	case errors.Is(err, ErrForeign):
		return []Remedy{UseRecoveryKey, ProvisionAgain}
	default:
		return []Remedy{UseRecoveryKey, CallService}
	}
}

// The commands that refuse, named as in Part 3.
const (
	atCreate          = "TPM2_Create"
	atLoad            = "TPM2_Load"
	atLoadExternal    = "TPM2_LoadExternal"
	atVerifySignature = "TPM2_VerifySignature"
	atPCRRead         = "TPM2_PCR_Read"
	atPolicyPCR       = "TPM2_PolicyPCR"
	atPolicyNV        = "TPM2_PolicyNV"
	atPolicyCpHash    = "TPM2_PolicyCpHash"
	atPolicyNVWritten = "TPM2_PolicyNvWritten"
	atPolicyAuthorize = "TPM2_PolicyAuthorize"
	atUnseal          = "TPM2_Unseal"
	atSign            = "TPM2_Sign"
	atNVWrite         = "TPM2_NV_Write"
	atNVRead          = "TPM2_NV_Read"
	atNVDefine        = "TPM2_NV_DefineSpace"
	atNVUndefine      = "TPM2_NV_UndefineSpace"
)

// refusal makes an [Error] of what a command answered, by the table of causes.
// An error that is one already, or the caller's own cancellation, stays.
func refusal(at string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e // of a policy command inside the one that it is for
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &Error{Cause: cause(at, err), At: at, Err: err}
}

func cause(at string, err error) error {
	if _, ok := errors.AsType[tpm2.TPMRC](err); !ok {
		return ErrSilent
	}
	switch {
	case errors.Is(err, tpm2.TPMRCValue) && at == atPolicyAuthorize && parameter(err) == 1:
		return ErrNotApproved
	case errors.Is(err, tpm2.TPMRCPolicy) && at == atPolicyNV:
		return ErrRetired
	case errors.Is(err, tpm2.TPMRCPolicyFail):
		return ErrUntrusted
	case errors.Is(err, tpm2.TPMRCSignature) && at == atVerifySignature:
		return ErrPolicies
	case at == atLoad, at == atPolicyNV, at == atNVRead:
		// Load: INTEGRITY, or no parent there. The others: the index was
		// deleted, or defined again and never written.
		return ErrForeign
	default:
		return ErrSilent
	}
}

// parameter is the number of the parameter that the TPM complains of, or 0.
func parameter(err error) int {
	f, ok := errors.AsType[tpm2.TPMFmt1Error](err)
	if !ok {
		return 0
	}
	_, n := f.Parameter()
	return n
}
