// SPDX-License-Identifier: Apache-2.0

package seal

import "fmt"

// Format 1 of wrapped secrets: deterministic CBOR,
//
//	[1, use, salt of 16 bytes, ciphertext with its tag]
type recoveryV1 struct {
	_      struct{} `cbor:",toarray"`
	Format uint8
	Use    Use
	Salt   []byte
	Sealed []byte
}

// Marshal encodes the wrapped secret for storage.
func (r Recovery) Marshal() ([]byte, error) {
	b, err := encMode.Marshal(recoveryV1{Format: formatV1, Use: r.use, Salt: r.salt, Sealed: r.sealed})
	if err != nil {
		return nil, fmt.Errorf("seal: recovery: %w", err)
	}
	return b, nil
}

// ParseRecovery decodes what [Recovery.Marshal] wrote, in this release or an
// older one. It returns [ErrVersion] for a format of a newer one.
func ParseRecovery(b []byte) (Recovery, error) {
	if len(b) > maxBlob {
		return Recovery{}, fmt.Errorf("%w recovery: %d bytes", errMalformed, len(b))
	}
	if newer(b) {
		return Recovery{}, fmt.Errorf("%w: recovery of format %d", ErrVersion, b[1])
	}
	var v recoveryV1
	if err := decode(b, &v); err != nil {
		return Recovery{}, fmt.Errorf("%w recovery: %w", errMalformed, err)
	}
	if v.Format != formatV1 || !v.Use.seals() || len(v.Salt) != saltSize || len(v.Sealed) <= tagSize || len(v.Sealed) > tagSize+MaxSecret {
		return Recovery{}, fmt.Errorf("%w recovery", errMalformed)
	}
	return Recovery{use: v.Use, salt: v.Salt, sealed: v.Sealed}, nil
}
