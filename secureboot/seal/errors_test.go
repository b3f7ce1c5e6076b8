// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"
)

// The answers of the TPM as trust.md, section 6, has them: format-one codes
// with the handle, session or parameter that they are about.
func TestCauses(t *testing.T) {
	const parameter1, parameter4, session1, handle2 = 0x140, 0x440, 0x900, 0x200
	for _, test := range []struct {
		at     string
		err    error
		want   error
		remedy Remedy
	}{
		{at: atPolicyAuthorize, err: tpm2.TPMRCValue | parameter1, want: ErrNotApproved, remedy: OtherSlot},
		{at: atPolicyAuthorize, err: tpm2.TPMRCValue | parameter4, want: ErrSilent, remedy: UseRecoveryKey}, // the ticket
		{at: atPolicyNV, err: tpm2.TPMRCPolicy, want: ErrRetired, remedy: NewerRelease},
		{at: atPolicyNV, err: tpm2.TPMRCNVUninitialized, want: ErrForeign, remedy: UseRecoveryKey},
		{at: atPolicyNV, err: tpm2.TPMRCHandle | handle2, want: ErrForeign, remedy: UseRecoveryKey},
		{at: atUnseal, err: tpm2.TPMRCPolicyFail | session1, want: ErrUntrusted, remedy: OtherSlot},
		{at: atSign, err: tpm2.TPMRCPolicyFail | session1, want: ErrUntrusted, remedy: OtherSlot},
		{at: atVerifySignature, err: tpm2.TPMRCSignature | parameter1, want: ErrPolicies, remedy: ReinstallSlot},
		{at: atLoad, err: tpm2.TPMRCIntegrity | parameter1, want: ErrForeign, remedy: UseRecoveryKey},
		{at: atLoad, err: errors.New("timeout"), want: ErrSilent, remedy: UseRecoveryKey},
		{at: atUnseal, err: tpm2.TPMRCFailure, want: ErrSilent, remedy: UseRecoveryKey},
		{at: atUnseal, err: tpm2.TPMRCPCRChanged, want: ErrSilent, remedy: UseRecoveryKey},
	} {
		err := refusal(test.at, fmt.Errorf("wrapped: %w", test.err))
		e, ok := errors.AsType[*Error](err)
		if !ok || !errors.Is(e.Cause, test.want) || e.At != test.at || !errors.Is(err, test.want) {
			t.Errorf("%v at %s = %v; want %v", test.err, test.at, err, test.want)
		}
		if got := Remedies(err); got[0] != test.remedy {
			t.Errorf("%v at %s: remedies %v; want %v first", test.err, test.at, got, test.remedy)
		}
		if outer := refusal(atUnseal, fmt.Errorf("executing policy: %w", err)); outer != err { //nolint:errorlint // the very same
			t.Errorf("%v became %v on its way out", err, outer)
		}
	}
	if refusal(atLoad, nil) != nil {
		t.Error("success is a refusal")
	}
	if err := refusal(atLoad, context.Canceled); errors.Is(err, ErrSilent) {
		t.Error("the caller's cancellation is the TPM's silence")
	}
	if got := Remedies(errors.New("anything else")); !slices.Equal(got, []Remedy{UseRecoveryKey, CallService}) {
		t.Errorf("Remedies = %v", got)
	}
}
