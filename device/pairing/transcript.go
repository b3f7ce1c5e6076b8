// SPDX-License-Identifier: Apache-2.0

package pairing

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"math/big"
)

// join writes each field behind its length, so that no two lists of fields give
// the same bytes.
func join(fields ...[]byte) []byte {
	var out []byte
	for _, f := range fields {
		out = binary.BigEndian.AppendUint32(out, uint32(len(f)))
		out = append(out, f...)
	}
	return out
}

// webContext is all that both sides must see alike while a browser is paired.
// Another kind of panel begins it with other words.
func webContext(origin string, key []byte, room string, nonce [16]byte, role Role) []byte {
	hash := sha256.Sum256(key)
	return join([]byte("in-camera pair v1 web"), []byte(origin), hash[:], []byte(room), nonce[:], []byte(role))
}

// proofOf is what one side proves to the other by knowing the secret. The sides
// are "panel" and "room", so that neither can send back what it got.
func proofOf(side string, secret [16]byte, context []byte) []byte {
	mac := hmac.New(sha256.New, secret[:])
	mac.Write([]byte(side))
	mac.Write(context)
	return mac.Sum(nil)
}

// commitMessage is what a panel signs once it has stored its key.
func commitMessage(origin, room string, nonce [16]byte, panel string) []byte {
	return join([]byte("in-camera pair v1 commit"), []byte(origin), []byte(room), nonce[:], []byte(panel))
}

// A Session is what a panel signs to show that it is there, now, and means this
// room. Challenge is fresh for each session.
type Session struct {
	Challenge [32]byte
	Boot      string // changes with every start of the room
	Room      string // its id
	Origin    string // of the page, such as "https://192.0.2.7"
	Panel     string // its id
}

func (s Session) message() []byte {
	return join([]byte("in-camera session v1"), s.Challenge[:], []byte(s.Boot), []byte(s.Room), []byte(s.Origin), []byte(s.Panel))
}

const (
	keySize       = 91 // bytes of a SubjectPublicKeyInfo of P-256 in DER
	signatureSize = 64 // bytes, r and s, as WebCrypto writes them (IEEE P1363)
)

// ErrKey is every public key that is none of a panel.
var ErrKey = errors.New("pairing: not a public key of P-256 in its one encoding")

// parseKey reads a SubjectPublicKeyInfo (RFC 5480).
func parseKey(der []byte) (*ecdsa.PublicKey, error) {
	if len(der) != keySize {
		return nil, ErrKey
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, ErrKey
	}
	key, ok := public.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, ErrKey
	}
	again, err := x509.MarshalPKIXPublicKey(key)
	if err != nil || string(again) != string(der) {
		return nil, ErrKey
	}
	return key, nil
}

// signed reports whether the owner of the key signed the message with ECDSA and
// SHA-256.
func signed(der, message, signature []byte) bool {
	key, err := parseKey(der)
	if err != nil || len(signature) != signatureSize {
		return false
	}
	hash := sha256.Sum256(message)
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return ecdsa.Verify(key, hash[:], r, s)
}
