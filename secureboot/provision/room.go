// SPDX-License-Identifier: Apache-2.0

package provision

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
)

// A Room is the keys that the room was provisioned with, as the TPM holds them.
type Room struct {
	EK, AK, SRK tpm.Key

	// Complete reports whether provisioning came to its end.
	Complete bool
}

// Open finds the keys of a provisioned room and compares each with its recorded
// name. generation is that of the root under which the room was provisioned. It
// returns fs.ErrNotExist if there is no record, and [tpm.ErrForeignKey] or
// [tpm.ErrAbsent] if the TPM is not the one that the record is about: the
// recovery key then, and a new record.
func Open(t transport.TPM, s Store, generation uint8) (Room, error) {
	b, err := s.Read(record, generation)
	if err != nil {
		return Room{}, err
	}
	v, err := parseRecord(b)
	if err != nil {
		return Room{}, err
	}
	room := Room{Complete: v.Complete}
	for _, k := range []struct {
		key    *tpm.Key
		handle tpm2.TPMHandle
		name   []byte
	}{
		{&room.SRK, tpm.HandleSRK, v.SRK},
		{&room.AK, tpm.HandleAK, v.AK},
		{&room.EK, tpm2.TPMHandle(v.EKHandle), v.EK},
	} {
		if *k.key, err = tpm.Pinned(t, k.handle, k.name); err != nil {
			return Room{}, err
		}
	}
	return room, nil
}

func (r Room) save(s Store, generation uint8) error {
	b, err := recordV1{
		Format:   formatV1,
		Complete: r.Complete,
		EKHandle: uint32(r.EK.Handle),
		EK:       r.EK.Name.Buffer,
		AK:       r.AK.Name.Buffer,
		SRK:      r.SRK.Name.Buffer,
	}.marshal()
	if err != nil {
		return err
	}
	return s.Put(record, generation, b)
}

// Format 1 of the record: deterministic CBOR,
//
//	[1, complete, handle of the EK, name of the EK, of the AK, of the SRK]
type recordV1 struct {
	_        struct{} `cbor:",toarray"`
	Format   uint8
	Complete bool
	EKHandle uint32
	EK       []byte
	AK       []byte
	SRK      []byte
}

const (
	formatV1  = 1
	maxRecord = 256 // bytes; ours have 140 or 156
)

var (
	errRecord = errors.New("provision: malformed record")

	encMode, decMode = modes()
)

func modes() (cbor.EncMode, cbor.DecMode) {
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // the options are fixed at build time
	}
	dec, err := cbor.DecOptions{
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  4,
		MaxArrayElements: 16,
	}.DecMode()
	if err != nil {
		panic(err) // as above
	}
	return enc, dec
}

func (v recordV1) marshal() ([]byte, error) {
	b, err := encMode.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("provision: record: %w", err)
	}
	return b, nil
}

func parseRecord(b []byte) (recordV1, error) {
	var v recordV1
	if len(b) > maxRecord {
		return v, fmt.Errorf("%w: %d bytes", errRecord, len(b))
	}
	// An array, then its first element: a format that is not ours yet.
	if len(b) > 1 && b[0]&0xe0 == 0x80 && b[1] > formatV1 && b[1] < 24 {
		return v, fmt.Errorf("%w: record of format %d", seal.ErrVersion, b[1])
	}
	if err := decMode.Unmarshal(b, &v); err != nil {
		return recordV1{}, fmt.Errorf("%w: %w", errRecord, err)
	}
	again, err := v.marshal()
	if err != nil {
		return recordV1{}, err
	}
	ek := tpm2.TPMHandle(v.EKHandle)
	if !bytes.Equal(again, b) || v.Format != formatV1 ||
		(ek != tpm.HandleEKP256 || len(v.EK) != 2+32) && (ek != tpm.HandleEKP384 || len(v.EK) != 2+48) ||
		len(v.AK) != 2+32 || len(v.SRK) != 2+32 {
		return recordV1{}, errRecord
	}
	return v, nil
}
