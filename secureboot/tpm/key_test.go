// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package tpm_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

func persistSRK(t testing.TB, chip transport.TPM) tpm.Key {
	t.Helper()
	k, err := tpm.Persist(chip, tpm2.TPMRHOwner, tpm.SRKTemplate, tpm.HandleSRK)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// clearOwner makes the owner's keys others, as TPM2_Clear does.
func clearOwner(t *testing.T, chip transport.TPM) {
	t.Helper()
	_, err := tpm2.Clear{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHPlatform, Auth: tpm2.PasswordAuth(nil)}}.Execute(chip)
	if err != nil {
		t.Fatal(err)
	}
}

func TestPersist(t *testing.T) {
	keys := []struct {
		name      string
		hierarchy tpm2.TPMHandle
		template  tpm2.TPMTPublic
		handle    tpm2.TPMHandle
		survives  bool // TPM2_Clear
	}{
		{"SRK", tpm2.TPMRHOwner, tpm.SRKTemplate, tpm.HandleSRK, false},
		{"AK", tpm2.TPMRHEndorsement, tpm.AKTemplate, tpm.HandleAK, true},
		{"EK P-256", tpm2.TPMRHEndorsement, tpm.EKTemplateP256, tpm.HandleEKP256, true},
		{"EK P-384", tpm2.TPMRHEndorsement, tpm.EKTemplateP384, tpm.HandleEKP384, true},
	}
	onBoth(t, func(t *testing.T, chip *tpmtest.Chip) {
		for _, k := range keys {
			if _, err := tpm.Persistent(chip, k.handle); !errors.Is(err, tpm.ErrAbsent) {
				t.Errorf("%s: Persistent on a new chip: %v; want ErrAbsent", k.name, err)
			}
			first, err := tpm.Persist(chip, k.hierarchy, k.template, k.handle)
			if err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
			again, err := tpm.Persist(chip, k.hierarchy, k.template, k.handle)
			if err != nil || !bytes.Equal(again.Name.Buffer, first.Name.Buffer) {
				t.Errorf("%s: Persist again = %x, %v; want %x", k.name, again.Name.Buffer, err, first.Name.Buffer)
			}
			chip.Reset()
			if _, err := tpm.Pinned(chip, k.handle, first.Name.Buffer); err != nil {
				t.Errorf("%s after reset: %v", k.name, err)
			}
			clearOwner(t, chip)
			cleared, err := tpm.Persist(chip, k.hierarchy, k.template, k.handle)
			if err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
			if same := bytes.Equal(cleared.Name.Buffer, first.Name.Buffer); same != k.survives {
				t.Errorf("%s the same after TPM2_Clear: %v; want %v", k.name, same, k.survives)
			}
			other := k.template
			other.AuthPolicy = tpm2.TPM2BDigest{} // of any length but that of the name's hash
			if len(k.template.AuthPolicy.Buffer) == 0 {
				other.AuthPolicy.Buffer = make([]byte, 32)
			}
			other.ObjectAttributes.UserWithAuth = true
			if _, err := tpm.Persist(chip, k.hierarchy, other, k.handle); !errors.Is(err, tpm.ErrForeignKey) {
				t.Errorf("%s: Persist of another template: %v; want ErrForeignKey", k.name, err)
			}
		}
		tpmtest.Empty(t, chip)
	})
}

// An interposer that answers with its own key could read every secret salted to
// it. With the pin nothing is salted to it; without, it goes unseen.
func TestForeignSRK(t *testing.T) {
	for name, open := range chips {
		t.Run(name, func(t *testing.T) {
			var swap func(response []byte)
			chip := open(t, tpm.WithTap(func(command, response []byte) {
				if response != nil && swap != nil && bytes.Equal(command[6:10], []byte{0, 0, 1, 0x73}) { // ReadPublic
					swap(response)
				}
			}))
			srk := persistSRK(t, chip)
			genuine := point(t, srk.Public)

			attacker, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := attacker.PublicKey.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			forged := srk.Public
			forged.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
				X: tpm2.TPM2BECCParameter{Buffer: theirs[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: theirs[33:]},
			})
			forgedName, err := tpm2.ObjectName(&forged)
			if err != nil {
				t.Fatal(err)
			}
			replace := func(b, from, to []byte) {
				i := bytes.Index(b, from)
				if i < 0 {
					t.Errorf("%x not in the response", from)
					return
				}
				copy(b[i:], to)
			}

			swap = func(response []byte) {
				replace(response, genuine[:32], theirs[1:33])
				replace(response, genuine[32:], theirs[33:])
			}
			if _, err := tpm.Persistent(chip, tpm.HandleSRK); !errors.Is(err, tpm.ErrForeignKey) {
				t.Errorf("another key under the genuine name: %v; want ErrForeignKey", err)
			}
			keys := swap
			swap = func(response []byte) {
				keys(response)
				replace(response, srk.Name.Buffer, forgedName.Buffer)
			}
			if _, err := tpm.Pinned(chip, tpm.HandleSRK, srk.Name.Buffer); !errors.Is(err, tpm.ErrForeignKey) {
				t.Errorf("another key under its own name: %v; want ErrForeignKey", err)
			}
			unpinned, err := tpm.Persistent(chip, tpm.HandleSRK)
			if err != nil || !bytes.Equal(point(t, unpinned.Public), theirs[1:]) {
				t.Errorf("without the pin the interposer's key = %x, %v; want it taken, or this test proves nothing", unpinned.Name.Buffer, err)
			}

			swap = nil
			if _, err := tpm.Pinned(chip, tpm.HandleSRK, srk.Name.Buffer); err != nil {
				t.Errorf("the genuine key: %v", err)
			}
			clearOwner(t, chip)
			persistSRK(t, chip)
			if _, err := tpm.Pinned(chip, tpm.HandleSRK, srk.Name.Buffer); !errors.Is(err, tpm.ErrForeignKey) {
				t.Errorf("the SRK of a cleared TPM: %v; want ErrForeignKey", err)
			}
		})
	}
}

func point(t *testing.T, public tpm2.TPMTPublic) []byte {
	t.Helper()
	p, err := public.Unique.ECC()
	if err != nil {
		t.Fatal(err)
	}
	size := len(p.X.Buffer)
	if len(p.Y.Buffer) != size {
		t.Fatalf("coordinates of %d and %d bytes", size, len(p.Y.Buffer))
	}
	return slices.Concat(p.X.Buffer, p.Y.Buffer)
}

// TestPolicyB computes the policy in the P-384 EK template from its definition
// in the EK credential profile 2.5, B.6.
func TestPolicyB(t *testing.T) {
	a, err := tpm2.NewPolicyCalculator(tpm2.TPMAlgSHA384)
	if err != nil {
		t.Fatal(err)
	}
	if err := (tpm2.PolicySecret{AuthHandle: tpm2.TPMRHEndorsement}).Update(a); err != nil {
		t.Fatal(err)
	}
	index, err := tpm2.NVName(&tpm2.TPMSNVPublic{
		NVIndex: 0x01C07F02,
		NameAlg: tpm2.TPMAlgSHA384,
		Attributes: tpm2.TPMANV{
			PolicyWrite: true, WriteAll: true, PPRead: true, OwnerRead: true, AuthRead: true,
			PolicyRead: true, NoDA: true, Written: true,
		},
		AuthPolicy: tpm2.TPM2BDigest{Buffer: a.Hash().Digest},
		DataSize:   2 + 48,
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := tpm2.NewPolicyCalculator(tpm2.TPMAlgSHA384)
	if err != nil {
		t.Fatal(err)
	}
	if err := (tpm2.PolicyAuthorizeNV{NVIndex: tpm2.NamedHandle{Handle: 0x01C07F02, Name: *index}}).Update(c); err != nil {
		t.Fatal(err)
	}
	b, err := tpm2.NewPolicyCalculator(tpm2.TPMAlgSHA384)
	if err != nil {
		t.Fatal(err)
	}
	err = tpm2.PolicyOr{PHashList: tpm2.TPMLDigest{Digests: []tpm2.TPM2BDigest{
		{Buffer: a.Hash().Digest}, {Buffer: c.Hash().Digest},
	}}}.Update(b)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tpm.EKTemplateP384.AuthPolicy.Buffer, b.Hash().Digest; !bytes.Equal(got, want) {
		t.Errorf("policy in the template %x; want %x", got, want)
	}
}

// The judge of our P-384 template is swtpm_setup: it makes that EK by its own
// code, and certifies what it made.
func TestEKMatchesCertificate(t *testing.T) {
	chip, makers := tpmtest.Certified(t)
	choice, err := tpm.ChooseEK(chip)
	if err != nil || choice.Handle != tpm.HandleEKP384 {
		t.Fatalf("ChooseEK = %#x, %v; want the key that is certified", choice.Handle, err)
	}
	der, err := tpm.EKCertificate(chip, choice.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := certificate.CheckSignatureFrom(makers[0]); err != nil {
		t.Error(err)
	}
	certified, ok := certificate.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		t.Fatalf("certificate for a %T", certificate.PublicKey)
	}
	want, err := certified.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	// swtpm_setup has persisted its own already: Persist must find it equal.
	ek, err := tpm.Persist(chip, tpm2.TPMRHEndorsement, choice.Template, choice.Handle)
	if err != nil {
		t.Fatal(err)
	}
	if got := point(t, ek.Public); !bytes.Equal(got, want[1:]) {
		t.Errorf("EK %x; certified is %x", got, want[1:])
	}
	if _, err := tpm.EKCertificate(chip, tpm.IndexCertP256); !errors.Is(err, tpm.ErrAbsent) {
		t.Errorf("certificate for P-256: %v; want ErrAbsent", err)
	}
}

// Makers fill the index behind the certificate, and an index may hold anything.
func TestEKCertificatePadding(t *testing.T) {
	certificate, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: bytes.Repeat([]byte{5, 0}, 400)})
	if err != nil {
		t.Fatal(err)
	}
	chip := tpmtest.Simulator(t)
	for i, c := range []struct {
		name          string
		content, want []byte
	}{
		{"exact", certificate, certificate},
		{"padded", append(slices.Clone(certificate), make([]byte, 100)...), certificate},
		{"cut", certificate[:700], nil},
		{"not a sequence", []byte{4, 1, 0}, nil},
		{"zeros", make([]byte, 10), nil},
	} {
		index := tpm2.TPMHandle(0x01C0000A + i)
		storeNV(t, chip, index, c.content)
		got, err := tpm.EKCertificate(chip, index)
		if (err == nil) != (c.want != nil) || !bytes.Equal(got, c.want) {
			t.Errorf("%s: EKCertificate = %x, %v; want %x", c.name, got, err, c.want)
		}
	}
	// With a certificate for P-256 alone, that key is the chip's identity.
	if choice, err := tpm.ChooseEK(chip); err != nil || choice.Handle != tpm.HandleEKP256 {
		t.Errorf("ChooseEK = %#x, %v; want %#x", choice.Handle, err, tpm.HandleEKP256)
	}
}

func storeNV(t *testing.T, chip transport.TPM, index tpm2.TPMHandle, content []byte) {
	t.Helper()
	owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	_, err := tpm2.NVDefineSpace{
		AuthHandle: owner,
		PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
			NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, DataSize: uint16(len(content)),
			Attributes: tpm2.TPMANV{OwnerWrite: true, AuthRead: true, NoDA: true},
		}),
	}.Execute(chip)
	if err != nil {
		t.Fatal(err)
	}
	for offset, chunk := range chunks(content, 400) {
		public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(chip)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tpm2.NVWrite{
			AuthHandle: owner,
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: public.NVName},
			Data:       tpm2.TPM2BMaxNVBuffer{Buffer: chunk},
			Offset:     uint16(offset * 400),
		}.Execute(chip)
		if err != nil {
			t.Fatal(err)
		}
	}
}

func chunks(b []byte, size int) [][]byte { return slices.Collect(slices.Chunk(b, size)) }
