// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
)

// A bundle is
//
//	0  "ICBUNDL1"  8 length of the signed manifest, big endian  12 manifest
//
// then the system image and the UKI, and nothing behind them. Nothing needs to
// seek, so a bundle may come from a stick or from the network.
const magic = "ICBUNDL1"

// Write signs m with the bundle key and writes a bundle. The parts must have the
// sizes and hashes that m says; if not, w has half a bundle and Write fails.
func Write(w io.Writer, m *Manifest, key crypto.Signer, system, uki io.Reader) error {
	payload, err := m.marshal()
	if err != nil {
		return err
	}
	signed, err := sign(payload, key)
	if err != nil {
		return err
	}
	head := binary.BigEndian.AppendUint32([]byte(magic), uint32(len(signed)))
	if _, err := w.Write(append(head, signed...)); err != nil {
		return fmt.Errorf("update: bundle: %w", err)
	}
	for _, p := range []struct {
		Part
		from io.Reader
	}{{m.System, system}, {m.UKI, uki}} {
		r := newPartReader(p.from, p.Part)
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
		if n, err := io.ReadFull(p.from, make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			return refuse(Tampered, "a part is longer than the manifest says")
		}
	}
	return nil
}

// readManifest reads and verifies the head of a bundle. Nothing behind it was
// read.
func readManifest(r io.Reader, key crypto.PublicKey) (*Manifest, error) {
	head := make([]byte, len(magic)+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, cutShort(err)
	}
	if !bytes.HasPrefix(head, []byte(magic)) {
		return nil, refuse(Malformed, "not a bundle")
	}
	n := binary.BigEndian.Uint32(head[len(magic):])
	if n > MaxManifest {
		return nil, refuse(TooLarge, "signed manifest of %d bytes", n)
	}
	// It grows as bytes arrive: a length alone costs nothing.
	signed, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return nil, cutShort(err)
	}
	if len(signed) != int(n) {
		return nil, refuse(Truncated, "%d of %d bytes of the manifest", len(signed), n)
	}
	return open(signed, key)
}

// cutShort tells a bundle that ends from a source that failed.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse(Truncated, "bundle: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("update: read bundle: %w", err)
}

// A partReader reads one part and ends with an error instead of io.EOF unless
// what it gave had the size and the hash of the manifest.
type partReader struct {
	from io.Reader
	part Part
	left int64
	hash hash.Hash
}

func newPartReader(from io.Reader, p Part) *partReader {
	return &partReader{from: from, part: p, left: p.Size, hash: sha256.New()}
}

func (p *partReader) Read(b []byte) (int, error) {
	if p.left == 0 {
		if !bytes.Equal(p.hash.Sum(nil), p.part.SHA256[:]) {
			return 0, refuse(Tampered, "a part has another hash than the manifest says")
		}
		return 0, io.EOF
	}
	n, err := p.from.Read(b[:min(int64(len(b)), p.left)])
	p.hash.Write(b[:n])
	p.left -= int64(n)
	if err != nil && p.left > 0 {
		return n, cutShort(err)
	}
	return n, nil
}

// readUKI reads the last part, whose size the manifest's check bounds.
func readUKI(bundle io.Reader, p Part) ([]byte, error) {
	uki, err := io.ReadAll(newPartReader(bundle, p))
	if err != nil {
		return nil, err
	}
	if n, err := io.ReadFull(bundle, make([]byte, 1)); n != 0 {
		return nil, refuse(Malformed, "the bundle goes on behind its last part")
	} else if err != io.EOF {
		return nil, cutShort(err)
	}
	return uki, nil
}

// interrupted ends a read once ctx is done. A read that waits already is ended
// by who owns the source.
type interrupted struct {
	ctx context.Context //nolint:containedctx // io.Reader has no other place for it
	r   io.Reader
}

func (i interrupted) Read(b []byte) (int, error) {
	if i.ctx.Err() != nil {
		return 0, context.Cause(i.ctx)
	}
	return i.r.Read(b)
}
