// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

// maxVoucher bounds a voucher file in bytes.
const maxVoucher = 4 << 10

// A Voucher does what a code does where nobody can type one: a file on a stick,
// signed by the site's issuing key. Its text form is COSE_Sign1 of the CBOR map
// below.
type Voucher struct {
	Site     string `cbor:"1,keyasint"`
	Serial   string `cbor:"2,keyasint"`
	Room     string `cbor:"3,keyasint"`
	Name     string `cbor:"4,keyasint"`
	Expires  int64  `cbor:"5,keyasint"` // seconds since 1970
	ID       []byte `cbor:"6,keyasint"` // 16 random bytes: a voucher serves once
	Verifier []byte `cbor:"7,keyasint"` // SHA-256 of the SPKI of the verifier's TLS key
	Address  string `cbor:"8,keyasint"` // of the room's relay, host:port
}

var (
	voucherEncode = must(cbor.CoreDetEncOptions().EncMode())
	voucherDecode = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 4, MaxMapPairs: 16, MaxArrayElements: 16, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // constant options
	}
	return v
}

// SignVoucher makes a voucher for a box, good for [CodeLife].
func (a *Authority) SignVoucher(r CodeRequest, verifier [32]byte, now time.Time) ([]byte, Voucher, error) {
	if err := r.check(); err != nil {
		return nil, Voucher{}, err
	}
	if r.Address == "" {
		r.Address = a.Address(r.Room)
	}
	v := Voucher{a.site, r.Serial, r.Room, r.Name, now.Add(CodeLife).Unix(), make([]byte, 16), verifier[:], r.Address}
	_, _ = rand.Read(v.ID) // never fails
	payload, err := voucherEncode.Marshal(v)
	if err != nil {
		return nil, Voucher{}, fmt.Errorf("enrol: voucher: %w", err)
	}
	alg, err := algorithm(a.key.Public())
	if err != nil {
		return nil, Voucher{}, err
	}
	signer, err := cose.NewSigner(alg, a.key)
	if err != nil {
		return nil, Voucher{}, fmt.Errorf("enrol: voucher: %w", err)
	}
	b, err := cose.Sign1(rand.Reader, signer, cose.Headers{Protected: cose.ProtectedHeader{
		cose.HeaderLabelAlgorithm: alg, cose.HeaderLabelContentType: voucherType,
	}}, payload, nil)
	if err != nil {
		return nil, Voucher{}, fmt.Errorf("enrol: voucher: %w", err)
	}
	return b, v, nil
}

const voucherType = "application/vnd.in-camera.voucher+cbor"

// CheckVoucher verifies a voucher of this site for the box with the serial. Whether
// it has served before the caller knows.
func (a *Authority) CheckVoucher(b []byte, serial string, now time.Time) (Voucher, error) {
	v, err := ParseVoucher(b, a.issuing.PublicKey)
	if err != nil {
		return Voucher{}, err
	}
	if v.Site != a.site || v.Serial != serial || now.Unix() > v.Expires || v.Expires > now.Add(CodeLife+skew).Unix() {
		return Voucher{}, ErrCode
	}
	return v, nil
}

// ParseVoucher verifies the signature of a voucher. A room that has the key of
// its site reads the verifier's pin from it.
func ParseVoucher(b []byte, issuing crypto.PublicKey) (Voucher, error) {
	if len(b) > maxVoucher {
		return Voucher{}, ErrCode
	}
	alg, err := algorithm(issuing)
	if err != nil {
		return Voucher{}, err
	}
	verifier, err := cose.NewVerifier(alg, issuing)
	if err != nil {
		return Voucher{}, fmt.Errorf("enrol: voucher: %w", err)
	}
	var m cose.Sign1Message
	if m.UnmarshalCBOR(b) != nil || m.Headers.Protected[cose.HeaderLabelContentType] != voucherType || m.Verify(nil, verifier) != nil {
		return Voucher{}, ErrCode
	}
	var v Voucher
	if voucherDecode.Unmarshal(m.Payload, &v) != nil {
		return Voucher{}, ErrCode
	}
	if again, err := voucherEncode.Marshal(v); err != nil || !bytes.Equal(again, m.Payload) {
		return Voucher{}, ErrCode
	}
	if len(v.ID) != 16 || len(v.Verifier) != 32 || !isSerial(v.Serial) || !IsRoom(v.Room) || !IsName(v.Name) || !IsAddress(v.Address) {
		return Voucher{}, ErrCode
	}
	return v, nil
}

// algorithm returns the COSE algorithm of a key (RFC 9053, RFC 8230).
func algorithm(pub crypto.PublicKey) (cose.Algorithm, error) {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return cose.AlgorithmES256, nil
		}
		if k.Curve == elliptic.P384() {
			return cose.AlgorithmES384, nil
		}
	case ed25519.PublicKey:
		return cose.AlgorithmEdDSA, nil
	case *rsa.PublicKey:
		return cose.AlgorithmPS256, nil
	}
	return 0, errors.New("enrol: issuing key: P-256, P-384, Ed25519 or RSA")
}
