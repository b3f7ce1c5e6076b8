// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
)

// ErrTaken means that another index lies where a root's index belongs. Nothing
// of ours was defined; the TPM wants a factory reset, or another board.
var ErrTaken = errors.New("seal: another NV index is in the way")

// Define defines the floor and the keygen of root, unwritten. ownerAuth, empty
// before provisioning, does not cross the bus. What is there already stays, so
// Define may be repeated after a power cut.
func Define(ctx context.Context, t transport.TPM, srk tpm.Key, root RootKey, ownerAuth []byte) error {
	if err := root.check(); err != nil {
		return err
	}
	for _, use := range []Use{Floor, Keygen} {
		x := index{root, use}
		pub, err := x.public(false)
		if err != nil {
			return err
		}
		err = tpm.Exclusive(ctx, t, func(t transport.TPM) error {
			_, err := tpm2.NVDefineSpace{
				AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm.EncryptedSession(srk, tpm.In, tpm2.Auth(ownerAuth))},
				PublicInfo: tpm2.New2B(pub),
			}.Execute(bounded{ctx, t})
			if errors.Is(err, tpm2.TPMRCNVDefined) {
				_, err = x.written(bounded{ctx, t})
				return err
			}
			return refusal(atNVDefine, err)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Undefine removes the floor and the keygen of root: of one that has retired,
// or at a factory reset. What is gone already is no error.
func Undefine(ctx context.Context, t transport.TPM, srk tpm.Key, root RootKey, ownerAuth []byte) error {
	if err := root.check(); err != nil {
		return err
	}
	for _, use := range []Use{Floor, Keygen} {
		x := index{root, use}
		err := tpm.Exclusive(ctx, t, func(t transport.TPM) error {
			t = bounded{ctx, t}
			written, err := x.written(t)
			if errors.Is(err, tpm2.TPMRCHandle) {
				return nil
			}
			if err != nil {
				return err
			}
			h, err := x.named(written)
			if err != nil {
				return err
			}
			_, err = tpm2.NVUndefineSpace{
				AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, tpm.NonceSize,
					tpm2.Salted(srk.Handle, srk.Public), tpm2.Auth(ownerAuth))},
				NVIndex: h,
			}.Execute(t)
			return refusal(atNVUndefine, err)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// written reports whether the index was written, and that it is ours.
func (x index) written(t transport.TPM) (bool, error) {
	rsp, err := tpm2.NVReadPublic{NVIndex: x.handle()}.Execute(t)
	if err != nil {
		return false, refusal(atNVRead, err)
	}
	pub, err := rsp.NVPublic.Contents()
	if err != nil {
		return false, refusal(atNVRead, err)
	}
	want, err := x.public(pub.Attributes.Written)
	if err != nil {
		return false, err
	}
	if !bytes.Equal(tpm2.Marshal(pub), tpm2.Marshal(want)) {
		return false, fmt.Errorf("%w: %#x", ErrTaken, uint32(x.handle()))
	}
	return pub.Attributes.Written, nil
}

func (x index) read(t transport.TPM) (uint64, error) {
	h, err := x.named(true)
	if err != nil {
		return 0, err
	}
	rsp, err := tpm2.NVRead{
		AuthHandle: tpm2.AuthHandle{Handle: h.Handle, Name: h.Name, Auth: tpm2.PasswordAuth(nil)},
		NVIndex:    h,
		Size:       8,
	}.Execute(t)
	if err != nil {
		return 0, refusal(atNVRead, err)
	}
	if len(rsp.Data.Buffer) != 8 {
		return 0, refusal(atNVRead, errors.New("seal: short read"))
	}
	return binary.BigEndian.Uint64(rsp.Data.Buffer), nil
}

// Read returns the value of root's floor or keygen, which is for display: the
// bus is not protected here, policies are. [ErrForeign] means that the index is
// missing or was never written.
func Read(ctx context.Context, t transport.TPM, root RootKey, use Use) (uint64, error) {
	if err := root.check(); err != nil {
		return 0, err
	}
	if !use.writes() {
		return 0, fmt.Errorf("seal: no index for %q", use)
	}
	var v uint64
	err := tpm.Exclusive(ctx, t, func(t transport.TPM) (err error) {
		v, err = index{root, use}.read(bounded{ctx, t})
		return err
	})
	return v, err
}

// Advance makes the first write of root's floor or keygen if there was none,
// and then raises it to the highest value that p has root's signature for and
// that is at most limit: the version that runs, or the policy key that approved
// it. It returns the value afterwards. With nothing to do it writes nothing, so
// it may be repeated; a power cut leaves the old value or the new one.
func Advance(ctx context.Context, t transport.TPM, srk tpm.Key, root RootKey, p *Policies, use Use, limit uint64) (uint64, error) {
	if err := root.check(); err != nil {
		return 0, err
	}
	if !use.writes() {
		return 0, fmt.Errorf("seal: no index for %q", use)
	}
	x := index{root, use}
	var v uint64
	err := tpm.Exclusive(ctx, t, func(t transport.TPM) error {
		t = bounded{ctx, t}
		written, err := x.written(t)
		if err != nil {
			return err
		}
		if !written {
			w, ok := p.write(x, true, 0, limit)
			if !ok {
				return fmt.Errorf("%w: no first write for %s", ErrNotApproved, use)
			}
			if err := x.perform(ctx, t, srk, w); err != nil {
				return err
			}
		}
		if v, err = x.read(t); err != nil {
			return err
		}
		if w, ok := p.write(x, false, v, limit); ok {
			if err := x.perform(ctx, t, srk, w); err != nil {
				return err
			}
			v, err = x.read(t)
		}
		return err
	})
	return v, err
}

// write finds the highest value in p for x above now, at most limit; for a
// first write also now itself.
func (p *Policies) write(x index, first bool, now, limit uint64) (best Write, found bool) {
	for _, w := range p.Writes {
		if w.Use != x.use || w.Root != x.root.Generation || w.First != first || w.Value > limit || !first && w.Value <= now {
			continue
		}
		if !found || w.Value > best.Value {
			best, found = w, true
		}
	}
	return best, found
}

// perform has the TPM write what the root signed. The root is the room's, not
// the file's.
func (x index) perform(ctx context.Context, t transport.TPM, srk tpm.Key, w Write) error {
	policy, err := w.policy(x.root)
	if err != nil {
		return err
	}
	steps, err := x.writing(w.Value, w.First)
	if err != nil {
		return err
	}
	h, err := x.named(!w.First)
	if err != nil {
		return err
	}
	var n notary
	return settled(ctx, func() error {
		defer n.dismiss(t)
		satisfy := func(t transport.TPM, session tpm2.TPMISHPolicy) error {
			authorize, err := n.authorize(t, x.root.Key, policy, x.use, w.Signature)
			if err != nil {
				return err
			}
			for _, s := range steps {
				if err := assert(t, session, s); err != nil {
					return err
				}
			}
			return present(t, session, authorize)
		}
		return withPolicy(t, srk, satisfy, func(s tpm2.Session) error {
			_, err := x.write(h, s, w.Value).Execute(t)
			return refusal(atNVWrite, err)
		})
	})
}

// assert runs a step of a write in session.
func assert(t transport.TPM, session tpm2.TPMISHPolicy, s step) error {
	var err error
	switch s := s.(type) {
	case tpm2.PolicyNV:
		s.PolicySession = session
		_, err = s.Execute(t)
		return refusal(atPolicyNV, err)
	case tpm2.PolicyNVWritten:
		s.PolicySession = session
		_, err = s.Execute(t)
		return refusal(atPolicyNVWritten, err)
	case tpm2.PolicyCPHash:
		s.PolicySession = session
		_, err = s.Execute(t)
		return refusal(atPolicyCpHash, err)
	default:
		return fmt.Errorf("seal: no step %T", s)
	}
}
