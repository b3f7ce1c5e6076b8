// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
)

// MaxSecret is the longest secret that a TPM seals, in bytes.
const MaxSecret = 128

const redacted = "[redacted]"

// A Secret is what was sealed. It prints as [redacted].
type Secret []byte

func (Secret) String() string { return redacted }

// GoString keeps %#v from printing the bytes.
func (Secret) GoString() string { return redacted }

// Format keeps all other verbs from it.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue keeps it out of logs.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// A Blob is a sealed secret. It opens only in the TPM that made it, and is
// public otherwise.
type Blob struct{ object }

// Use returns what the secret is for.
func (b Blob) Use() Use { return b.use }

// Seal seals secret, of 1 to [MaxSecret] bytes, under what root and the policy
// keys that it delegates to approve for use. srk is the pinned storage root
// key. The secret crosses the bus encrypted.
func Seal(ctx context.Context, t transport.TPM, srk tpm.Key, root RootKey, use Use, secret []byte) (Blob, error) {
	if len(secret) < 1 || len(secret) > MaxSecret {
		return Blob{}, fmt.Errorf("seal: secret of %d bytes", len(secret))
	}
	policy, err := objectPolicy(root, use)
	if err != nil {
		return Blob{}, err
	}
	o, err := create(ctx, t, srk, use, sealedTemplate(policy), secret)
	if err != nil {
		return Blob{}, err
	}
	return Blob{o}, nil
}

func objectPolicy(root RootKey, use Use) (tpm2.TPM2BDigest, error) {
	if err := root.check(); err != nil {
		return tpm2.TPM2BDigest{}, err
	}
	if !use.seals() {
		return tpm2.TPM2BDigest{}, fmt.Errorf("seal: nothing is sealed for %q", use)
	}
	return AuthPolicy(root, use)
}

// Unseal returns the secret in blob if p holds an approval for what is running.
// It takes 12 TPM commands, and three to tidy up. The error of a refusal is an
// [Error]; nothing was changed or erased. The secret crosses the bus encrypted;
// the caller owns it.
func Unseal(ctx context.Context, t transport.TPM, srk tpm.Key, blob Blob, p *Policies) (Secret, error) {
	var secret Secret
	err := blob.perform(ctx, t, srk, p, new(notary), func(t transport.TPM, h tpm2.AuthHandle) error {
		rsp, err := tpm2.Unseal{ItemHandle: h}.Execute(t)
		if err != nil {
			return refusal(atUnseal, err)
		}
		secret = rsp.OutData.Buffer
		return nil
	}, tpm2.AESEncryption(128, tpm2.EncryptOut))
	if err != nil {
		return nil, err
	}
	return secret, nil
}
