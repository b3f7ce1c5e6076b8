// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package enrol_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/attest"
	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/enrol/enroltest"
	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

// approveAll stands for staff who list every chip.
func approveAll(string) (bool, error) { return true, nil }

func approveNone(string) (bool, error) { return false, nil }

func persist(t *testing.T, chip transport.TPM, template tpm2.TPMTPublic, at tpm2.TPMHandle) tpm.Key {
	t.Helper()
	k, err := tpm.Persist(chip, tpm2.TPMRHEndorsement, template, at)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func checkEK(t *testing.T, k tpm.Key) enrol.EK {
	t.Helper()
	ek, err := enrol.CheckEK(tpm2.Marshal(k.Public), nil, x509.NewCertPool(), approveAll, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ek
}

func checkAK(t *testing.T, k tpm.Key) enrol.AK {
	t.Helper()
	ak, err := enrol.CheckAK(tpm2.Marshal(k.Public))
	if err != nil {
		t.Fatal(err)
	}
	return ak
}

// TestCuckoo has another TPM answer for the one that is to be enrolled: a chip
// in the attacker's hands, of the same maker, with software that he controls.
// Both kinds of EK, on real chips of both implementations.
func TestCuckoo(t *testing.T) {
	victim, cuckoo := tpmtest.Simulator(t), tpmtest.Swtpm(t)
	for name, ek := range map[string]struct {
		template tpm2.TPMTPublic
		handle   tpm2.TPMHandle
	}{"P-256": {tpm.EKTemplateP256, tpm.HandleEKP256}, "P-384": {tpm.EKTemplateP384, tpm.HandleEKP384}} {
		t.Run(name, func(t *testing.T) {
			victimEK := persist(t, victim, ek.template, ek.handle)
			victimAK := persist(t, victim, tpm.AKTemplate, tpm.HandleAK)
			cuckooEK := persist(t, cuckoo, ek.template, ek.handle)
			cuckooAK := persist(t, cuckoo, tpm.AKTemplate, tpm.HandleAK)

			honest, err := enrol.MakeCredential(checkEK(t, victimEK), checkAK(t, victimAK))
			if err != nil {
				t.Fatal(err)
			}
			got, err := client.Activate(t.Context(), victim, victimEK, victimAK, honest.Credential, honest.Encrypted)
			if err != nil || !bytes.Equal(got, honest.Secret[:]) {
				t.Fatalf("the TPM of both keys: %v", err)
			}

			// The attacker shows the victim's EK, with its certificate, and
			// his own AK: neither chip holds both.
			c, err := enrol.MakeCredential(checkEK(t, victimEK), checkAK(t, cuckooAK))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := client.Activate(t.Context(), cuckoo, cuckooEK, cuckooAK, c.Credential, c.Encrypted); err == nil {
				t.Errorf("the cuckoo recovered %x, the secret is %x", got, c.Secret)
			}
			got, err = client.Activate(t.Context(), victim, victimEK, victimAK, c.Credential, c.Encrypted)
			if !errors.Is(err, tpm2.TPMRCIntegrity) {
				t.Errorf("the victim, whose AK it is not made for: %x, %v; want INTEGRITY", got, err)
			}
			// What was made for the victim is worth nothing to another chip,
			// nor is a damaged credential to the right one.
			if got, err := client.Activate(t.Context(), cuckoo, cuckooEK, cuckooAK, honest.Credential, honest.Encrypted); err == nil {
				t.Errorf("the cuckoo recovered %x", got)
			}
			damaged := bytes.Clone(honest.Credential)
			damaged[len(damaged)-1] ^= 1
			if _, err := client.Activate(t.Context(), victim, victimEK, victimAK, damaged, honest.Encrypted); !errors.Is(err, tpm2.TPMRCIntegrity) {
				t.Errorf("a damaged credential: %v; want INTEGRITY", err)
			}
			if err := enrol.CheckSecret(got, sum(honest.Secret[:])); !errors.Is(err, enrol.ErrProof) {
				t.Errorf("CheckSecret of another secret = %v", err)
			}
			if err := enrol.CheckSecret(honest.Secret[:], sum(honest.Secret[:])); err != nil {
				t.Errorf("CheckSecret = %v", err)
			}
		})
	}
}

func sum(secret []byte) []byte { s := enrol.SecretHash(secret); return s[:] }

// TestAKAttributes has an attacker show keys of his TPM that activation alone
// would take: each exists, so each gets its credential activated.
func TestAKAttributes(t *testing.T) {
	good := tpm.AKTemplate
	for name, change := range map[string]func(*tpm2.TPMTPublic){
		"not restricted: signs forged quotes": func(p *tpm2.TPMTPublic) { p.ObjectAttributes.Restricted = false },
		"made outside":                        func(p *tpm2.TPMTPublic) { p.ObjectAttributes.SensitiveDataOrigin = false },
		"can be duplicated":                   func(p *tpm2.TPMTPublic) { p.ObjectAttributes.FixedTPM = false },
		"can change its parent":               func(p *tpm2.TPMTPublic) { p.ObjectAttributes.FixedParent = false },
		"decrypts":                            func(p *tpm2.TPMTPublic) { p.ObjectAttributes.Decrypt = true },
		"signs certificates":                  func(p *tpm2.TPMTPublic) { p.ObjectAttributes.X509Sign = true },
		"gone at the next start":              func(p *tpm2.TPMTPublic) { p.ObjectAttributes.STClear = true },
		"another name algorithm":              func(p *tpm2.TPMTPublic) { p.NameAlg = tpm2.TPMAlgSHA384 },
		"an endorsement key":                  func(p *tpm2.TPMTPublic) { *p = tpm.EKTemplateP256 },
		"an RSA key":                          func(p *tpm2.TPMTPublic) { *p = tpm2.RSAEKTemplate },
		"not on the curve":                    func(*tpm2.TPMTPublic) {},
	} {
		t.Run(name, func(t *testing.T) {
			key := enroltest.NewKey(t)
			p := good
			p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
				X: tpm2.TPM2BECCParameter{Buffer: key.X.FillBytes(make([]byte, 32))},
				Y: tpm2.TPM2BECCParameter{Buffer: key.Y.FillBytes(make([]byte, 32))},
			})
			if _, err := enrol.CheckAK(tpm2.Marshal(p)); err != nil {
				t.Fatalf("the key as prescribed: %v", err)
			}
			change(&p)
			if name == "not on the curve" {
				p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
					X: tpm2.TPM2BECCParameter{Buffer: bytes.Repeat([]byte{1}, 32)}, Y: tpm2.TPM2BECCParameter{Buffer: bytes.Repeat([]byte{1}, 32)},
				})
			}
			if _, err := enrol.CheckAK(tpm2.Marshal(p)); !errors.Is(err, enrol.ErrAKTemplate) {
				t.Errorf("CheckAK = %v, want ErrAKTemplate", err)
			}
		})
	}
}

// TestLeafNeedsPolicy: another system on the same box, with the same TPM and the
// whole disk, cannot sign as the room; and keys that it could use are not
// certified.
func TestLeafNeedsPolicy(t *testing.T) {
	v := enroltest.NewVendor(t)
	release := v.Release("1.4.0", 7)
	box := enroltest.NewBox(t, tpmtest.Simulator(t), v, release)
	digest := sha256.Sum256([]byte("as the room"))
	sign := func(k *seal.SigningKey) error {
		_, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
		return err
	}
	for name, k := range map[string]*seal.SigningKey{"LDevID": box.LDevID, "leaf": box.Leaf} {
		if err := sign(k); err != nil {
			t.Fatalf("%s in the release: %v", name, err)
		}
	}
	nonce := make([]byte, 32)
	prove := func(key client.SigningKey) *enrol.KeyProof {
		t.Helper()
		data := enrol.ProofData(nonce, enrol.UseLeaf)
		c, err := attest.Certify(t.Context(), box.AK, key, data[:])
		if err != nil {
			t.Fatal(err)
		}
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		if err != nil {
			t.Fatal(err)
		}
		return &enrol.KeyProof{CSR: csr, Public: c.Public, Attest: c.Attest, Signature: c.Signature}
	}
	ak := checkAK(t, box.AK)
	proof := prove(box.Leaf)
	if _, err := enrol.CheckProof(proof, ak, nonce, enrol.UseLeaf, v.KeyPolicy()); err != nil {
		t.Fatalf("CheckProof: %v", err)
	}
	for name, err := range map[string]error{
		"for another session": second(enrol.CheckProof(proof, ak, append(nonce, 1), enrol.UseLeaf, v.KeyPolicy())),
		"for another use":     second(enrol.CheckProof(proof, ak, nonce, enrol.UseIdentity, v.KeyPolicy())),
		"of another vendor":   second(enrol.CheckProof(proof, ak, nonce, enrol.UseLeaf, enroltest.NewVendor(t).KeyPolicy())),
		"of no policy":        second(enrol.CheckProof(proof, ak, nonce, enrol.UseLeaf, nil)),
	} {
		if !errors.Is(err, enrol.ErrProof) {
			t.Errorf("a proof %s: %v, want ErrProof", name, err)
		}
	}
	// A key that an attacker made in the TPM for any system to use.
	open := newOpenKey(t, box)
	if _, err := enrol.CheckProof(prove(open), ak, nonce, enrol.UseLeaf, v.KeyPolicy()); !errors.Is(err, enrol.ErrProof) {
		t.Errorf("a key without a policy: %v, want ErrProof", err)
	}

	// Another system starts: PCR 11 has other values, and the disk's keys and
	// policies are there for all.
	evil := enroltest.NewVendor(t).Release("9.9.9", 99)
	box.Chip.Reset()
	box.StartForeign(evil, release)
	for name, k := range map[string]*seal.SigningKey{"LDevID": box.LDevID, "leaf": box.Leaf} {
		if err := sign(k); !errors.Is(err, seal.ErrNotApproved) {
			t.Errorf("%s in another system: %v, want ErrNotApproved", name, err)
		}
	}
	box.Restart(release)
	if err := sign(box.Leaf); err != nil {
		t.Errorf("leaf after the release is back: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// An openKey is a key in the TPM that anyone there may use.
type openKey struct {
	box    *enroltest.Box
	public tpm2.TPMTPublic
	load   tpm2.Load
	pub    crypto.PublicKey
}

func newOpenKey(t *testing.T, box *enroltest.Box) *openKey {
	t.Helper()
	template := tpm.AKTemplate
	template.ObjectAttributes.Restricted = false
	made, err := tpm2.Create{ParentHandle: box.SRK.Auth(), InPublic: tpm2.New2B(template)}.Execute(box.Chip)
	if err != nil {
		t.Fatal(err)
	}
	public, err := made.OutPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}
	k := &openKey{box: box, public: *public, load: tpm2.Load{ParentHandle: box.SRK.Auth(), InPrivate: made.OutPrivate, InPublic: made.OutPublic}}
	if k.pub, err = tpm2.Pub(*public); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *openKey) Public() crypto.PublicKey { return k.pub }

func (k *openKey) Loaded(_ context.Context, f func(transport.TPM, tpm.Key) error) error {
	rsp, err := k.load.Execute(k.box.Chip)
	if err != nil {
		return err
	}
	defer func() { _ = tpm.Flush(k.box.Chip, rsp.ObjectHandle) }()
	return f(k.box.Chip, tpm.Key{Handle: rsp.ObjectHandle, Name: rsp.Name, Public: k.public})
}

func (k *openKey) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) (sig []byte, err error) {
	err = k.Loaded(context.Background(), func(t transport.TPM, key tpm.Key) error {
		rsp, err := tpm2.Sign{KeyHandle: key.Auth(), Digest: tpm2.TPM2BDigest{Buffer: digest}, Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck}}.Execute(t)
		if err != nil {
			return err
		}
		s, err := rsp.Signature.Signature.ECDSA()
		if err != nil {
			return err
		}
		sig, err = asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(s.SignatureR.Buffer), new(big.Int).SetBytes(s.SignatureS.Buffer)})
		return err
	})
	return sig, err
}

// TestMakersChain takes the certificate that swtpm_setup's CA made for a chip:
// other people's code, with the TCG's critical alternative name.
func TestMakersChain(t *testing.T) {
	chip, ca := manufactured(t)
	choice, err := tpm.ChooseEK(chip)
	if err != nil {
		t.Fatal(err)
	}
	if choice.Handle != tpm.HandleEKP384 {
		t.Fatalf("EK at %#x, want P-384, for which there is a certificate", uint32(choice.Handle))
	}
	ek := persist(t, chip, choice.Template, choice.Handle)
	cert, err := tpm.EKCertificate(chip, choice.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	roots, chain := readCA(t, ca)
	chain = append([][]byte{cert}, chain...)
	public := tpm2.Marshal(ek.Public)
	got, err := enrol.CheckEK(public, chain, roots, approveNone, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if !got.Certified {
		t.Error("a certified EK counts as not certified")
	}
	other := persist(t, chip, tpm.EKTemplateP256, tpm.HandleEKP256)
	flipped := bytes.Clone(cert)
	flipped[len(flipped)-1] ^= 1
	for name, test := range map[string]struct {
		public []byte
		chain  [][]byte
		roots  *x509.CertPool
		at     time.Time
		want   error
	}{
		"no maker known":       {public, chain, x509.NewCertPool(), time.Now(), enrol.ErrEKUntrusted},
		"without intermediate": {public, chain[:1], roots, time.Now(), enrol.ErrEKUntrusted},
		"without certificate":  {public, nil, roots, time.Now(), enrol.ErrEKUntrusted},
		"before its time":      {public, chain, roots, time.Now().Add(-100 * 365 * 24 * time.Hour), enrol.ErrEKUntrusted},
		"damaged":              {public, append([][]byte{flipped}, chain[1:]...), roots, time.Now(), enrol.ErrEKUntrusted},
		"a CA's certificate":   {public, chain[1:], roots, time.Now(), enrol.ErrEKUntrusted},
		"garbage":              {public, [][]byte{{1, 2, 3}}, roots, time.Now(), enrol.ErrEKUntrusted},
		"another key":          {tpm2.Marshal(other.Public), chain, roots, time.Now(), enrol.ErrEKMismatch},
		"trailing byte":        {append(bytes.Clone(public), 0), chain, roots, time.Now(), enrol.ErrEKMismatch},
		"an AK":                {tpm2.Marshal(tpm.AKTemplate), chain, roots, time.Now(), enrol.ErrEKMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := enrol.CheckEK(test.public, test.chain, test.roots, approveNone, test.at); !errors.Is(err, test.want) {
				t.Errorf("CheckEK = %v, want %v", err, test.want)
			}
		})
	}
}

// manufactured is a chip as it leaves a maker: with an EK certificate.
func manufactured(t *testing.T) (*tpmtest.Chip, string) {
	t.Helper()
	dir, ca := t.TempDir(), t.TempDir()
	conf := filepath.Join(ca, "localca.conf")
	options := filepath.Join(ca, "options")
	setup := filepath.Join(ca, "setup.conf")
	for path, text := range map[string]string{
		conf:    fmt.Sprintf("statedir = %[1]s\nsigningkey = %[1]s/key.pem\nissuercert = %[1]s/issuer.pem\ncertserial = %[1]s/serial\n", ca),
		options: "--platform-manufacturer Example\n--platform-version 1\n--platform-model Test\n",
		setup:   fmt.Sprintf("create_certs_tool = %s\ncreate_certs_tool_config = %s\ncreate_certs_tool_options = %s\n", localCA(t), conf, options),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "swtpm_setup", "--tpm2", "--tpmstate", dir, "--ecc", "--create-ek-cert", "--config", setup,
		"--overwrite", "--lock-nvram").CombinedOutput()
	if err != nil {
		t.Fatalf("swtpm_setup, of the package swtpm-tools: %v\n%s", err, out)
	}
	return tpmtest.SwtpmAt(t, dir), ca
}

func localCA(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("swtpm_localca")
	if err != nil {
		t.Fatalf("of the package swtpm-tools: %v", err)
	}
	return path
}

func readCA(t *testing.T, dir string) (*x509.CertPool, [][]byte) {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(b)
		if block == nil {
			t.Fatalf("%s is not PEM", name)
		}
		return block.Bytes
	}
	root, err := x509.ParseCertificate(read("swtpm-localca-rootca-cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	return roots, [][]byte{read("issuer.pem")}
}
