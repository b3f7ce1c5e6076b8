// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"

	"incamera/secureboot/evidence"
)

// Copies keeps the record twice, on the encrypted disk. A copy that a power cut
// tore is seen by its checksum; the other is then the older state, which the
// names on the ESP correct.
type Copies interface {
	// ReadCopy returns copy 0 or 1, or an error that wraps [fs.ErrNotExist].
	ReadCopy(i int) ([]byte, error)
	// WriteCopy overwrites copy i and flushes it.
	WriteCopy(i int, b []byte) error
}

// A Release names what a slot holds.
type Release struct {
	Version  string `cbor:"1,keyasint"`
	Rollback uint64 `cbor:"2,keyasint"`
}

// A Failure says why a release did not stay.
type Failure struct {
	Version string `cbor:"1,keyasint"`
	Reason  Reason `cbor:"2,keyasint"`
	Detail  string `cbor:"3,keyasint"` // printable, for people
}

type record struct {
	Format     int       `cbor:"1,keyasint"` // 1
	Generation uint64    `cbor:"2,keyasint"`
	Target     *Release  `cbor:"3,keyasint"` // armed or on trial
	Failure    *Failure  `cbor:"4,keyasint"` // of the last trial
	Seen       seenState `cbor:"5,keyasint"`
}

// seenState is the newest checkpoint that a bundle showed, and the log's hashes
// up to there. The zero value is a room that saw none.
type seenState struct {
	Origin  string          `cbor:"1,keyasint"`
	Size    int64           `cbor:"2,keyasint"`
	Root    evidence.Digest `cbor:"3,keyasint"`
	History []byte          `cbor:"4,keyasint"`
}

const (
	stateMagic = "ICSTATE1" // then SHA-256 of the rest, then the record
	maxRecord  = maxHistory + 4<<10
	maxDetail  = 256
)

func parseRecord(b []byte) (record, error) {
	var r record
	if len(b) > maxRecord || len(b) < len(stateMagic)+sha256.Size || !bytes.HasPrefix(b, []byte(stateMagic)) {
		return r, errors.New("update: not a record")
	}
	sum, body := b[len(stateMagic):][:sha256.Size], b[len(stateMagic)+sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return r, errors.New("update: record: checksum")
	}
	if err := decode(body, &r); err != nil {
		return record{}, fmt.Errorf("update: record: %w", err)
	}
	if r.Format != 1 || r.Seen.Size < 0 || r.Target != nil && !validVersion(r.Target.Version) {
		return record{}, fmt.Errorf("update: record of format %d", r.Format)
	}
	return r, nil
}

func (r record) marshal() ([]byte, error) {
	body, err := encoder.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("update: record: %w", err)
	}
	sum := sha256.Sum256(body)
	return append(append([]byte(stateMagic), sum[:]...), body...), nil
}

// load reads the newer sound copy. With none a record begins anew: it only
// says what the names on the ESP cannot. What was damaged is in the error,
// which the caller logs.
func load(c Copies) (r record, damaged error) {
	r.Format = 1
	for i := range 2 {
		b, err := c.ReadCopy(i)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var found record
		if err == nil {
			found, err = parseRecord(b)
		}
		if err != nil {
			damaged = errors.Join(damaged, fmt.Errorf("copy %d: %w", i, err))
		} else if found.Generation > r.Generation {
			r = found
		}
	}
	return r, damaged
}

// save overwrites the older copy: generations alternate between them.
func (u *Updater) save(r record) error {
	r.Generation++
	b, err := r.marshal()
	if err != nil {
		return err
	}
	if err := u.c.Record.WriteCopy(int(r.Generation%2), b); err != nil {
		return fmt.Errorf("update: record: %w", err)
	}
	u.r = r
	return nil
}
