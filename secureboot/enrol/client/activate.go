// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
)

// Activate recovers the secret of a credential. The TPM gives it only if the
// credential was made for this EK and for a key with the name of this AK: else
// TPM2_ActivateCredential fails with INTEGRITY. The secret crosses the bus in
// the clear; who listens there learns what the verifier is about to be told.
func Activate(ctx context.Context, t transport.TPM, ek, ak tpm.Key, credential, secret []byte) ([]byte, error) {
	var recovered []byte
	err := tpm.Exclusive(ctx, t, func(t transport.TPM) error {
		rsp, err := tpm2.ActivateCredential{
			ActivateHandle: ak.Auth(),
			KeyHandle:      tpm2.AuthHandle{Handle: ek.Handle, Name: ek.Name, Auth: ekSession(ek)},
			CredentialBlob: tpm2.TPM2BIDObject{Buffer: credential},
			Secret:         tpm2.TPM2BEncryptedSecret{Buffer: secret},
		}.Execute(t)
		if err != nil {
			return fmt.Errorf("client: activate credential: %w", err)
		}
		recovered = rsp.CertInfo.Buffer
		return nil
	})
	return recovered, err
}

// ekSession returns what lets the EK be used. Template H-3 has userWithAuth set
// and takes an empty password; L-2 has it clear and wants a policy session in
// which the endorsement hierarchy's authorisation, empty as well, was shown
// (TCG EK Credential Profile, B.3.4).
func ekSession(ek tpm.Key) tpm2.Session {
	if ek.Public.ObjectAttributes.UserWithAuth {
		return tpm2.PasswordAuth(nil)
	}
	return tpm2.Policy(ek.Public.NameAlg, tpm.NonceSize,
		func(t transport.TPM, session tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
			_, err := tpm2.PolicySecret{
				AuthHandle:    tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
				PolicySession: session,
				NonceTPM:      nonce,
			}.Execute(t)
			return err
		})
}
