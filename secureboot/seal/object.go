// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
)

// An object is what TPM2_Create returned: a sealed secret or a key, which only
// that TPM can load.
type object struct {
	use     Use
	public  tpm2.TPMTPublic
	private []byte // encrypted by the TPM
}

// attributes of every object of ours. userWithAuth is clear, so its (empty)
// password opens nothing; adminWithPolicy is clear, so that the AK can certify
// a key at any time.
var attributes = tpm2.TPMAObject{FixedTPM: true, FixedParent: true, NoDA: true}

// sealedTemplate is the public area of a sealed secret.
func sealedTemplate(policy tpm2.TPM2BDigest) tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type:             tpm2.TPMAlgKeyedHash,
		NameAlg:          tpm2.TPMAlgSHA256,
		ObjectAttributes: attributes,
		AuthPolicy:       policy,
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgKeyedHash, &tpm2.TPMSKeyedHashParms{
			Scheme: tpm2.TPMTKeyedHashScheme{Scheme: tpm2.TPMAlgNull},
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgKeyedHash, &tpm2.TPM2BDigest{}),
	}
}

// keyTemplate is the public area of a signing key. The scheme is fixed: TLS
// 1.3, COSE and MLS all sign SHA-256 digests with P-256.
func keyTemplate(policy tpm2.TPM2BDigest) tpm2.TPMTPublic {
	a := attributes
	a.SensitiveDataOrigin = true
	a.SignEncrypt = true
	return tpm2.TPMTPublic{
		Type:             tpm2.TPMAlgECC,
		NameAlg:          tpm2.TPMAlgSHA256,
		ObjectAttributes: a,
		AuthPolicy:       policy,
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Scheme:  ecdsaSHA256(),
			CurveID: tpm2.TPMECCNistP256,
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{}),
	}
}

// follows reports whether pub is template but for its unique field.
func follows(pub, template tpm2.TPMTPublic) bool {
	if pub.Type != template.Type {
		return false
	}
	template.Unique = pub.Unique
	return bytes.Equal(tpm2.Marshal(pub), tpm2.Marshal(template))
}

// create makes an object under srk. The secret, if there is one, crosses the
// bus encrypted.
func create(ctx context.Context, t transport.TPM, srk tpm.Key, use Use, template tpm2.TPMTPublic, secret []byte) (object, error) {
	cmd := tpm2.Create{
		ParentHandle: tpm2.AuthHandle{Handle: srk.Handle, Name: srk.Name, Auth: tpm.EncryptedSession(srk, tpm.In)},
		InPublic:     tpm2.New2B(template),
	}
	if secret != nil {
		cmd.InSensitive = tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: secret}),
		}}
	}
	var rsp *tpm2.CreateResponse
	err := tpm.Exclusive(ctx, t, func(t transport.TPM) (err error) {
		rsp, err = cmd.Execute(bounded{ctx, t})
		return refusal(atCreate, err)
	})
	if err != nil {
		return object{}, err
	}
	pub, err := rsp.OutPublic.Contents()
	if err != nil {
		return object{}, refusal(atCreate, err)
	}
	if !follows(*pub, template) {
		return object{}, refusal(atCreate, fmt.Errorf("seal: made another object than was asked for"))
	}
	return object{use: use, public: *pub, private: rsp.OutPrivate.Buffer}, nil
}

// perform loads o and runs command with it, in a session that satisfies its
// policy, opened with opts. Nothing of it stays in the TPM.
func (o object) perform(ctx context.Context, t transport.TPM, srk tpm.Key, p *Policies, n *notary,
	command func(t transport.TPM, h tpm2.AuthHandle) error, opts ...tpm2.AuthOption,
) error {
	chains, err := p.chains(o.use, o.public.AuthPolicy)
	if err != nil {
		return err
	}
	return tpm.Exclusive(ctx, t, func(t transport.TPM) error {
		return settled(ctx, func() error {
			way, err := pick(bounded{ctx, t}, chains)
			if err != nil {
				return err
			}
			defer n.dismiss(t)
			return o.load(ctx, t, srk, func(k tpm.Key) error {
				policy := func(t transport.TPM, s tpm2.TPMISHPolicy) error { return way.satisfy(t, s, n) }
				return withPolicy(bounded{ctx, t}, srk, policy, func(s tpm2.Session) error {
					return command(bounded{ctx, t}, tpm2.AuthHandle{Handle: k.Handle, Name: k.Name, Auth: s})
				}, opts...)
			})
		})
	})
}

// load has o in the TPM while f runs.
func (o object) load(ctx context.Context, t transport.TPM, srk tpm.Key, f func(tpm.Key) error) error {
	name, err := tpm2.ObjectName(&o.public)
	if err != nil {
		return fmt.Errorf("seal: name of an object: %w", err)
	}
	rsp, err := tpm2.Load{
		ParentHandle: srk.Auth(),
		InPrivate:    tpm2.TPM2BPrivate{Buffer: o.private},
		InPublic:     tpm2.New2B(o.public),
	}.Execute(bounded{ctx, t})
	if err != nil {
		return refusal(atLoad, err)
	}
	defer flush(t, rsp.ObjectHandle)
	// The name is ours, not the TPM's answer: the session's HMAC covers it.
	return f(tpm.Key{Handle: rsp.ObjectHandle, Name: *name, Public: o.public})
}

func (o object) ecdsa() (*ecdsa.PublicKey, error) {
	k, err := tpm2.Pub(o.public)
	if err != nil {
		return nil, fmt.Errorf("seal: public key: %w", err)
	}
	pub, ok := k.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w key", errMalformed)
	}
	return pub, checkKey(pub)
}
