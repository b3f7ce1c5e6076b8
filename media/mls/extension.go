// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"crypto/rand"
	"slices"
)

// An ExtensionType is the number of an extension (Section 17.3).
type ExtensionType uint16

// The extensions that this package knows. Those up to ExternalSenders are
// RFC 9420's and need not be listed in capabilities; AppDataDictionary is of
// draft-ietf-mls-extensions.
const (
	ExtApplicationID        ExtensionType = 1
	ExtRatchetTree          ExtensionType = 2
	ExtRequiredCapabilities ExtensionType = 3
	ExtExternalPub          ExtensionType = 4
	ExtExternalSenders      ExtensionType = 5
	ExtAppDataDictionary    ExtensionType = 6
	// ExtLastResort marks a KeyPackage that may be used more than once, in the
	// older drafts. It is read and never written.
	ExtLastResort ExtensionType = 10
)

// An Extension is opaque to those who do not know its type (Section 13).
type Extension struct {
	Type ExtensionType
	Data []byte
}

func decodeExtension(r *reader) Extension {
	return Extension{Type: ExtensionType(r.u16()), Data: r.vec(maxWelcome)}
}

func (e Extension) append(b []byte) []byte {
	return appendVec(appendU16(b, uint16(e.Type)), e.Data)
}

// decodeExtensions reads a list; a type may appear once (Section 13.4).
func decodeExtensions(r *reader) []Extension {
	l := list(r, maxWelcome, maxExtensions, decodeExtension)
	for i, e := range l {
		if slices.ContainsFunc(l[:i], func(o Extension) bool { return o.Type == e.Type }) {
			r.fail("extension %d twice", e.Type)
			return nil
		}
	}
	return l
}

func appendExtensions(b []byte, l []Extension) []byte {
	return appendList(b, l, func(b []byte, e Extension) []byte { return e.append(b) })
}

// extension returns the data of an extension, and whether it is there.
func extension(l []Extension, t ExtensionType) ([]byte, bool) {
	for _, e := range l {
		if e.Type == t {
			return e.Data, true
		}
	}
	return nil, false
}

// knownToAll reports whether an extension type need not be in capabilities:
// the default types of Section 7.2.
func knownToAll(t ExtensionType) bool { return t >= ExtApplicationID && t <= ExtExternalSenders }

// RequiredCapabilities is what every member must support (Section 11.1).
type RequiredCapabilities struct {
	Extensions  []ExtensionType
	Proposals   []ProposalType
	Credentials []CredentialType
}

// Extension encodes the requirement for a GroupContext.
func (c RequiredCapabilities) Extension() Extension {
	b := appendU16s(nil, c.Extensions)
	b = appendU16s(b, c.Proposals)
	return Extension{Type: ExtRequiredCapabilities, Data: appendU16s(b, c.Credentials)}
}

func decodeRequiredCapabilities(r *reader) RequiredCapabilities {
	return RequiredCapabilities{
		Extensions: u16s[ExtensionType](r), Proposals: u16s[ProposalType](r), Credentials: u16s[CredentialType](r),
	}
}

// An ExternalSender may send proposals to the group from outside (Section
// 12.1.8.1).
type ExternalSender struct {
	SignatureKey []byte
	Credential   Credential
}

const maxExternalSenders = 16

func decodeExternalSenders(r *reader) []ExternalSender {
	return list(r, maxHandshake, maxExternalSenders, func(r *reader) ExternalSender {
		return ExternalSender{SignatureKey: r.vec(maxKey), Credential: decodeCredential(r)}
	})
}

// ExternalSendersExtension encodes the senders for a GroupContext.
func ExternalSendersExtension(senders []ExternalSender) Extension {
	return Extension{Type: ExtExternalSenders, Data: appendList(nil, senders, func(b []byte, s ExternalSender) []byte {
		return s.Credential.append(appendVec(b, s.SignatureKey))
	})}
}

// u16s reads a vector of 16-bit numbers.
func u16s[T ~uint16](r *reader) []T {
	return list(r, 2*maxCapabilities, maxCapabilities, func(r *reader) T { return T(r.u16()) })
}

func appendU16s[T ~uint16](b []byte, l []T) []byte {
	b = appendSize(b, 2*len(l))
	for _, v := range l {
		b = appendU16(b, uint16(v))
	}
	return b
}

// checkContextExtensions verifies that the extensions of a GroupContext which
// this package acts on can be read.
func checkContextExtensions(s *Suite, l []Extension) error {
	if len(l) > maxExtensions {
		return errLimit("extensions")
	}
	for _, e := range l {
		var err error
		switch e.Type {
		case ExtRequiredCapabilities:
			_, err = decodeAll(e.Data, decodeRequiredCapabilities)
		case ExtExternalSenders:
			var senders []ExternalSender
			senders, err = decodeAll(e.Data, decodeExternalSenders)
			for _, x := range senders {
				if err == nil {
					_, err = newVerifier(s.scheme, x.SignatureKey)
				}
			}
		case ExtAppDataDictionary:
			_, err = ParseAppDataDictionary(e.Data)
		case ExtRatchetTree, ExtExternalPub:
			err = invalid("17.3", "extension %d in a GroupContext", e.Type)
		case ExtApplicationID, ExtLastResort:
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// GREASE (Section 13.5): the values 0x0A0A, 0x1A1A, ... 0xEAEA are sent at
// random so that every peer learns to skip what it does not know.

// grease returns a random reserved number.
func grease() uint16 {
	var b [1]byte
	_, _ = rand.Read(b[:]) // never fails: package crypto/rand
	return 0x0a0a + uint16(b[0]%15)*0x1010
}

// greaseExtension returns an extension of a reserved type with a few bytes.
func greaseExtension() Extension {
	b := make([]byte, 1+grease()>>12)
	_, _ = rand.Read(b)
	return Extension{Type: ExtensionType(grease()), Data: b}
}
