// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"math/big"

	"incamera/secureboot/measure"
)

// The signature of an image is a PKCS #7 SignedData over an
// SpcIndirectDataContent (Windows Authenticode Portable Executable Signature
// Format; UEFI 2.10, Section 32.2.4). These are the parts that we read.
type (
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"explicit,optional,tag:0"`
	}
	signedData struct {
		Version      int
		Digests      asn1.RawValue
		Content      contentInfo
		Certificates asn1.RawValue `asn1:"optional,tag:0"`
		CRLs         asn1.RawValue `asn1:"optional,tag:1"`
		Signers      []signerInfo  `asn1:"set"`
	}
	signerInfo struct {
		Version int
		Issuer  struct {
			Name   asn1.RawValue
			Serial *big.Int
		}
		Digest     pkix.AlgorithmIdentifier
		Attributes asn1.RawValue `asn1:"optional,tag:0"`
		Algorithm  pkix.AlgorithmIdentifier
		Signature  []byte
		Unsigned   asn1.RawValue `asn1:"optional,tag:1"`
	}
	attribute struct {
		Type   asn1.ObjectIdentifier
		Values asn1.RawValue `asn1:"set"`
	}
	indirectData struct {
		Data   asn1.RawValue
		Digest struct {
			Algorithm pkix.AlgorithmIdentifier
			Value     []byte
		}
	}
)

var (
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidIndirectData  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 4}
	oidSHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

var errImageSignature = errors.New("no certificate of the firmware's db signed the image")

// verifyImage checks that firmware would start an image: that it has one
// signature, RSA with SHA-256, by one of the certificates themselves. Chains,
// which firmware follows as well, we do not make.
func verifyImage(pe []byte, db []*x509.Certificate) error {
	want, err := measure.Authenticode(pe)
	if err != nil {
		return err
	}
	signature, err := imageSignature(pe)
	if err != nil {
		return err
	}
	var outer contentInfo
	if _, err := asn1.Unmarshal(signature, &outer); err != nil || !outer.Type.Equal(oidSignedData) {
		return errImageSignature
	}
	var signed signedData
	if err := whole(outer.Content.Bytes, &signed); err != nil || !signed.Content.Type.Equal(oidIndirectData) || len(signed.Signers) != 1 {
		return errImageSignature
	}
	// What is signed is the content without its own tag and length.
	var content asn1.RawValue
	var data indirectData
	if whole(signed.Content.Content.Bytes, &content) != nil || whole(content.FullBytes, &data) != nil ||
		!data.Digest.Algorithm.Algorithm.Equal(oidSHA256) || !bytes.Equal(data.Digest.Value, want[:]) {
		return errImageSignature
	}
	s := signed.Signers[0]
	if !s.Digest.Algorithm.Equal(oidSHA256) || !covers(s.Attributes.Bytes, content.Bytes) {
		return errImageSignature
	}
	// Signed in the form of a SET, not of the field (RFC 2315, Section 9.3).
	set, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: s.Attributes.Bytes})
	if err != nil {
		return errImageSignature
	}
	digest := sha256.Sum256(set)
	for _, c := range db {
		if k, ok := c.PublicKey.(*rsa.PublicKey); ok && rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], s.Signature) == nil {
			return nil
		}
	}
	return errImageSignature
}

// covers reports whether signed attributes are about content.
func covers(attributes, content []byte) bool {
	var typed, digested bool
	sum := sha256.Sum256(content)
	for len(attributes) > 0 {
		var a attribute
		var err error
		if attributes, err = asn1.Unmarshal(attributes, &a); err != nil {
			return false
		}
		switch {
		case a.Type.Equal(oidContentType):
			var oid asn1.ObjectIdentifier
			if typed || whole(a.Values.Bytes, &oid) != nil || !oid.Equal(oidIndirectData) {
				return false
			}
			typed = true
		case a.Type.Equal(oidMessageDigest):
			var b []byte
			if digested || whole(a.Values.Bytes, &b) != nil || !bytes.Equal(b, sum[:]) {
				return false
			}
			digested = true
		}
	}
	return typed && digested
}

// whole decodes b, which has nothing behind the value.
func whole(b []byte, v any) error {
	rest, err := asn1.Unmarshal(b, v)
	if err == nil && len(rest) > 0 {
		err = errImageSignature
	}
	return err
}

// imageSignature returns the one entry of the certificate table of an image
// whose headers [measure.Authenticode] has checked (PE Format, "The Attribute
// Certificate Table").
func imageSignature(pe []byte) ([]byte, error) {
	const numDirsAt, certificateAt = 24 + 108, 24 + 112 + 4*8
	le := binary.LittleEndian
	header := pe[le.Uint32(pe[0x3c:]):]
	if le.Uint32(header[numDirsAt:]) <= 4 {
		return nil, errImageSignature
	}
	at, size := le.Uint32(header[certificateAt:]), le.Uint32(header[certificateAt+4:])
	if size < 8 || uint64(at)+uint64(size) > uint64(len(pe)) {
		return nil, errImageSignature
	}
	table := pe[at : at+size]
	length := le.Uint32(table)
	const revision2, pkcs7 = 0x0200, 2
	if length < 8 || length > size || size-length >= 8 || le.Uint16(table[4:]) != revision2 || le.Uint16(table[6:]) != pkcs7 {
		return nil, errImageSignature
	}
	return table[8:length], nil
}
