// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"bytes"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// Format 1 of stored objects: deterministic CBOR,
//
//	[1, use, TPMT_PUBLIC, TPM2B_PRIVATE without its size]
//
// Files in testdata/v1 were written by it and must open for ever.
const (
	formatV1 = 1
	maxBlob  = 2048 // bytes; ours are about 300
)

type blobV1 struct {
	_       struct{} `cbor:",toarray"`
	Format  uint8
	Use     Use
	Public  []byte
	Private []byte
}

func (o object) marshal() ([]byte, error) {
	b, err := encMode.Marshal(blobV1{Format: formatV1, Use: o.use, Public: tpm2.Marshal(o.public), Private: o.private})
	if err != nil {
		return nil, fmt.Errorf("seal: blob: %w", err)
	}
	if len(b) > maxBlob {
		return nil, fmt.Errorf("seal: blob of %d bytes", len(b))
	}
	return b, nil
}

// parse reads any format there ever was. The object must have the attributes
// of template: an object with a way around its policy is not one of ours.
func parse(b []byte, template func(tpm2.TPM2BDigest) tpm2.TPMTPublic) (object, error) {
	if len(b) > maxBlob {
		return object{}, fmt.Errorf("%w blob: %d bytes", errMalformed, len(b))
	}
	if newer(b) {
		return object{}, fmt.Errorf("%w: blob of format %d", ErrVersion, b[1])
	}
	var v blobV1
	if err := decode(b, &v); err != nil {
		return object{}, fmt.Errorf("%w blob: %w", errMalformed, err)
	}
	if v.Format != formatV1 || !v.Use.seals() || len(v.Private) == 0 {
		return object{}, fmt.Errorf("%w blob", errMalformed)
	}
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](v.Public)
	if err != nil {
		return object{}, fmt.Errorf("%w blob: public area: %w", errMalformed, err)
	}
	want := template(pub.AuthPolicy)
	if len(pub.AuthPolicy.Buffer) != 32 || pub.Type != want.Type || !follows(*pub, want) || !bytes.Equal(tpm2.Marshal(pub), v.Public) {
		return object{}, fmt.Errorf("%w blob: public area", errMalformed)
	}
	return object{use: v.Use, public: *pub, private: v.Private}, nil
}

// newer reports whether b is an array that begins with a format above ours: in
// CBOR, 0x80 plus up to 23 elements, then the number itself up to 23.
func newer(b []byte) bool {
	return len(b) >= 2 && b[0]&0xe0 == 0x80 && b[0] < 0x98 && b[1] > formatV1 && b[1] < 24
}

// Marshal encodes the blob for storage.
func (b Blob) Marshal() ([]byte, error) { return b.marshal() }

// Marshal encodes the key for storage.
func (b KeyBlob) Marshal() ([]byte, error) { return b.marshal() }

// ParseBlob decodes what [Blob.Marshal] wrote, in this release or an older one.
// It returns [ErrVersion] for a format of a newer one.
func ParseBlob(b []byte) (Blob, error) {
	o, err := parse(b, sealedTemplate)
	if err != nil {
		return Blob{}, err
	}
	return Blob{o}, nil
}

// ParseKeyBlob decodes what [KeyBlob.Marshal] wrote, in this release or an
// older one. It returns [ErrVersion] for a format of a newer one.
func ParseKeyBlob(b []byte) (KeyBlob, error) {
	o, err := parse(b, keyTemplate)
	if err != nil {
		return KeyBlob{}, err
	}
	if _, err := o.ecdsa(); err != nil {
		return KeyBlob{}, err
	}
	return KeyBlob{o}, nil
}
