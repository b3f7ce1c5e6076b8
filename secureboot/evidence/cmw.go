// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
)

// A record is a CMW record (RFC 9999): what kind of statement a sequence of
// bytes is.
type record struct {
	_         struct{} `cbor:",toarray"`
	Type      string
	Value     []byte
	Indicator uint
}

// wrap returns the CMW record of a signed statement.
func wrap(signed []byte, indicator uint) ([]byte, error) {
	return encode(record{Type: mediaEAT, Value: signed, Indicator: indicator})
}

// unwrap returns the statement in a CMW record of the kind given.
func unwrap(cmw []byte, indicator uint) (*sign1, error) {
	var r record
	if err := decode(decoder, cmw, MaxCMW, &r); err != nil {
		return nil, err
	}
	if r.Type != mediaEAT || r.Indicator != indicator {
		return nil, fmt.Errorf("%w: CMW of another kind", ErrMalformed)
	}
	return parseSign1(r.Value, MaxCMW)
}

// oidCMW is id-pe-cmw.
var oidCMW = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 35}

// ErrNoStatement means that a certificate carries neither evidence nor result.
var ErrNoStatement = errors.New("evidence: certificate without statement")

// Extension returns the certificate extension that holds cmw: not critical, an
// OCTET STRING with the CBOR form.
func Extension(cmw []byte) (pkix.Extension, error) {
	der, err := asn1.Marshal(cmw)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("evidence: extension: %w", err)
	}
	return pkix.Extension{Id: oidCMW, Value: der}, nil
}

// FromCertificate returns the CMW in a certificate, evidence or result, or
// [ErrNoStatement]. Two of them are refused: readers could take different ones.
func FromCertificate(c *x509.Certificate) ([]byte, error) {
	var cmw []byte
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidCMW) {
			continue
		}
		if cmw != nil {
			return nil, fmt.Errorf("%w: two statements in one certificate", ErrMalformed)
		}
		if len(e.Value) > MaxCMW+8 {
			return nil, ErrTooLarge
		}
		rest, err := asn1.Unmarshal(e.Value, &cmw)
		if err != nil || len(rest) > 0 || len(cmw) == 0 {
			return nil, fmt.Errorf("%w: certificate extension", ErrMalformed)
		}
	}
	if cmw == nil {
		return nil, ErrNoStatement
	}
	return cmw, nil
}
