// SPDX-License-Identifier: Apache-2.0

// Package spake is SPAKE2+ of [RFC 9383] with P-256, SHA-256, HKDF and HMAC: two
// sides show each other that they know one PIN, and a listener or an impostor
// learns nothing but whether one guess was right.
//
// It keeps no count of guesses. Who answers for the room counts a guess before
// it sends what [Respond] returns, as that tells the other side the result.
//
// Group operations and scalars are constant in time; only Go's standard library
// and filippo.io/nistec are below, so that the same code runs in a browser.
//
// [RFC 9383]: https://www.rfc-editor.org/rfc/rfc9383
package spake

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"

	"filippo.io/nistec"
)

const (
	// ShareSize is the length of a share in bytes: an uncompressed point.
	ShareSize = 65
	// ConfirmSize is the length of a confirmation in bytes.
	ConfirmSize = sha256.Size
	// SaltSize is the length of a salt in bytes.
	SaltSize = 16

	// A PIN lives three minutes and five guesses: against who watches, the
	// protocol protects it, and a slow hash would add nothing.
	iterations = 1000
)

// The points M and N of RFC 9383, section 4, whose logarithms nobody knows.
var (
	pointM = constant("02886e2f97ace46e55ba9dd7242579f2993b64e16ef3dcab95afd497333d8fa12f")
	pointN = constant("03d8bbd6c639c62937b04d997f38c3770719c629d7014d49a24b4f98baa1292b49")
)

func constant(text string) *nistec.P256Point {
	raw, err := hex.DecodeString(text)
	if err == nil {
		var p *nistec.P256Point
		if p, err = nistec.NewP256Point().SetBytes(raw); err == nil {
			return p
		}
	}
	panic(err) // the constants above are points
}

// ErrRefused is every share and confirmation that does not fit. Nothing tells
// which check failed.
var ErrRefused = errors.New("spake: refused")

// Parties is what both sides must see alike.
type Parties struct {
	Context          []byte
	Prover, Verifier string
}

// A Secret is what a PIN becomes: w0 and w1 of RFC 9383, section 3.2. It prints
// without them.
type Secret struct{ w0, w1 [32]byte }

func (Secret) String() string { return "[redacted]" }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return "[redacted]" }

// NewSecret derives a secret. The salt is fresh for each PIN.
func NewSecret(pin string, salt []byte, prover, verifier string) (Secret, error) {
	var in []byte
	for _, part := range []string{pin, prover, verifier} {
		in = field(in, []byte(part))
	}
	out, err := pbkdf2.Key(sha256.New, string(in), salt, iterations, 2*wideSize)
	if err != nil {
		return Secret{}, err
	}
	return Secret{reduce([wideSize]byte(out[:wideSize])), reduce([wideSize]byte(out[wideSize:]))}, nil
}

// A Prover is the side that types the PIN.
type Prover struct {
	parties Parties
	secret  Secret
	x       []byte
	share   []byte
}

// NewProver begins, with a fresh scalar.
func NewProver(p Parties, s Secret) (*Prover, error) {
	x, err := scalar()
	if err != nil {
		return nil, err
	}
	return newProver(p, s, x)
}

func scalar() ([]byte, error) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return key.Bytes(), nil
}

// newProver computes X = x*P + w0*M.
func newProver(p Parties, s Secret, x []byte) (*Prover, error) {
	share, err := blind(x, s.w0[:], pointM)
	return &Prover{p, s, x, share}, err
}

// Share returns what to send first.
func (p *Prover) Share() []byte { return p.share }

// Finish checks the answer, and returns what to send last and the key that both
// sides now share.
func (p *Prover) Finish(share, confirm []byte) (last, key []byte, err error) {
	// Z = x*(Y - w0*N), V = w1*(Y - w0*N); the cofactor is 1.
	y, err := unblind(share, p.secret.w0[:], pointN)
	if err != nil {
		return nil, nil, err
	}
	z, err := product(y, p.x)
	if err != nil {
		return nil, nil, err
	}
	v, err := product(y, p.secret.w1[:])
	if err != nil {
		return nil, nil, err
	}
	k, err := schedule(p.parties, p.share, share, z, v, p.secret.w0[:])
	if err != nil || !hmac.Equal(confirm, k.confirm(k.confirmV, p.share)) {
		return nil, nil, ErrRefused
	}
	return k.confirm(k.confirmP, share), k.shared, nil
}

// An Answer is the side that knows the PIN, after the other's share.
type Answer struct {
	Share   []byte // to send
	Confirm []byte // to send with it; it tells whether the guess was right
	last    []byte
	key     []byte
}

// Respond takes the prover's share.
func Respond(p Parties, s Secret, share []byte) (*Answer, error) {
	y, err := scalar()
	if err != nil {
		return nil, err
	}
	return respond(p, s, share, y)
}

// respond computes Y = y*P + w0*N, Z = y*(X - w0*M), V = y*L with L = w1*P.
func respond(p Parties, s Secret, share, y []byte) (*Answer, error) {
	x, err := unblind(share, s.w0[:], pointM)
	if err != nil {
		return nil, err
	}
	own, err := blind(y, s.w0[:], pointN)
	if err != nil {
		return nil, err
	}
	z, err := product(x, y)
	if err != nil {
		return nil, err
	}
	l, err := nistec.NewP256Point().ScalarBaseMult(s.w1[:])
	if err != nil {
		return nil, ErrRefused
	}
	v, err := product(l, y)
	if err != nil {
		return nil, err
	}
	k, err := schedule(p, share, own, z, v, s.w0[:])
	if err != nil {
		return nil, err
	}
	return &Answer{own, k.confirm(k.confirmV, share), k.confirm(k.confirmP, own), k.shared}, nil
}

// Check takes the prover's confirmation and returns the key that both sides now
// share.
func (a *Answer) Check(confirm []byte) (key []byte, err error) {
	if !hmac.Equal(confirm, a.last) {
		return nil, ErrRefused
	}
	return a.key, nil
}

// blind returns k*P + w0*m.
func blind(k, w0 []byte, m *nistec.P256Point) ([]byte, error) {
	p, err := nistec.NewP256Point().ScalarBaseMult(k)
	if err != nil {
		return nil, ErrRefused
	}
	mask, err := nistec.NewP256Point().ScalarMult(m, w0)
	if err != nil {
		return nil, ErrRefused
	}
	out := p.Add(p, mask).Bytes()
	if len(out) != ShareSize {
		return nil, ErrRefused // the identity: with a probability of 2^-256
	}
	return out, nil
}

// unblind returns share - w0*m. Only a point of the curve is a share, and none
// that leaves the identity: then the key would follow from the PIN alone.
func unblind(share, w0 []byte, m *nistec.P256Point) (*nistec.P256Point, error) {
	if len(share) != ShareSize {
		return nil, ErrRefused
	}
	p, err := nistec.NewP256Point().SetBytes(share)
	if err != nil {
		return nil, ErrRefused
	}
	mask, err := nistec.NewP256Point().ScalarMult(m, w0)
	if err != nil {
		return nil, ErrRefused
	}
	p.Add(p, mask.Negate(mask))
	if p.IsInfinity() == 1 {
		return nil, ErrRefused
	}
	return p, nil
}

func product(p *nistec.P256Point, k []byte) ([]byte, error) {
	q, err := nistec.NewP256Point().ScalarMult(p, k)
	if err != nil || q.IsInfinity() == 1 {
		return nil, ErrRefused
	}
	return q.Bytes(), nil
}

// keys are those of RFC 9383, section 3.4.
type keys struct{ confirmP, confirmV, shared []byte }

// field appends a value behind its length, as section 3.3 writes the transcript.
func field(to, value []byte) []byte {
	return append(binary.LittleEndian.AppendUint64(to, uint64(len(value))), value...)
}

func schedule(p Parties, shareP, shareV, z, v, w0 []byte) (keys, error) {
	var tt []byte
	for _, part := range [][]byte{
		p.Context, []byte(p.Prover), []byte(p.Verifier), pointM.Bytes(), pointN.Bytes(), shareP, shareV, z, v, w0,
	} {
		tt = field(tt, part)
	}
	main := sha256.Sum256(tt)
	confirm, err := hkdf.Key(sha256.New, main[:], nil, "ConfirmationKeys", 2*sha256.Size)
	if err != nil {
		return keys{}, err
	}
	shared, err := hkdf.Key(sha256.New, main[:], nil, "SharedKey", sha256.Size)
	if err != nil {
		return keys{}, err
	}
	return keys{confirm[:sha256.Size], slices.Clone(confirm[sha256.Size:]), shared}, nil
}

func (keys) confirm(key, share []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(share)
	return mac.Sum(nil)
}
