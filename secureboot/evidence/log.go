// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// ErrUnlogged means that a document is not proven to be in the log, or that the
// log contradicts what it said before.
var ErrUnlogged = errors.New("evidence: not in the log")

// A Checkpoint is the state of a transparency log. Its text is three lines:
// origin, size in decimal, root hash in base64. [tlog.FormatTree] would fix the
// first to that of the Go checksum database.
type Checkpoint struct {
	Origin string // name of the log
	Size   int64  // leaves
	Root   tlog.Hash
}

// maxLeaves keeps all index arithmetic of tlog far from overflow.
const maxLeaves = 1 << 40

// text returns the note's text.
func (c Checkpoint) text() string {
	return c.Origin + "\n" + strconv.FormatInt(c.Size, 10) + "\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n"
}

// SignCheckpoint returns c as a signed note. The first signer is the log; a
// site's witnesses may follow.
func SignCheckpoint(c Checkpoint, signers ...note.Signer) ([]byte, error) {
	if !plain(c.Origin) || c.Size < 0 || c.Size > maxLeaves {
		return nil, fmt.Errorf("%w: checkpoint", ErrMalformed)
	}
	b, err := note.Sign(&note.Note{Text: c.text()}, signers...)
	if err != nil {
		return nil, fmt.Errorf("evidence: sign checkpoint: %w", err)
	}
	return b, nil
}

// ParseCheckpoint verifies and reads a signed note. Each of the verifiers must
// have signed it, and the first gives the origin.
func ParseCheckpoint(b []byte, verifiers ...note.Verifier) (Checkpoint, error) {
	if len(b) > MaxProof {
		return Checkpoint{}, ErrTooLarge
	}
	if len(verifiers) == 0 {
		return Checkpoint{}, fmt.Errorf("%w: no key of a log", ErrSignature)
	}
	n, err := note.Open(b, note.VerifierList(verifiers...))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: checkpoint", ErrSignature)
	}
	for _, v := range verifiers {
		if !slices.ContainsFunc(n.Sigs, func(s note.Signature) bool { return s.Name == v.Name() && s.Hash == v.KeyHash() }) {
			return Checkpoint{}, fmt.Errorf("%w: checkpoint not signed by %.64q", ErrSignature, v.Name())
		}
	}
	c, err := readCheckpoint(n.Text)
	if err == nil && c.Origin != verifiers[0].Name() {
		err = fmt.Errorf("%w: checkpoint of another log", ErrSignature)
	}
	return c, err
}

// readCheckpoint reads the text of a note.
func readCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 {
		return Checkpoint{}, fmt.Errorf("%w: checkpoint", ErrMalformed)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || size > maxLeaves || !plain(lines[0]) {
		return Checkpoint{}, fmt.Errorf("%w: checkpoint", ErrMalformed)
	}
	root, err := tlog.ParseHash(lines[2])
	c := Checkpoint{Origin: lines[0], Size: size, Root: root}
	if err != nil || c.text() != text {
		return Checkpoint{}, fmt.Errorf("%w: checkpoint", ErrMalformed)
	}
	return c, nil
}

// A Proof shows that a document is a leaf of the log.
type Proof struct {
	Index      int64            // of the leaf
	Hashes     tlog.RecordProof // to the root of the checkpoint
	Checkpoint []byte           // signed note
}

type wireProof struct {
	Index      int64       `cbor:"1,keyasint"`
	Hashes     []tlog.Hash `cbor:"2,keyasint"`
	Checkpoint []byte      `cbor:"3,keyasint"`
}

// Marshal returns the proof as CBOR.
func (p Proof) Marshal() ([]byte, error) {
	w := wireProof{Index: p.Index, Hashes: p.Hashes, Checkpoint: p.Checkpoint}
	if w.Hashes == nil {
		w.Hashes = []tlog.Hash{} // the log's only leaf
	}
	b, err := encode(w)
	if err == nil && len(b) > MaxProof {
		err = ErrTooLarge
	}
	return b, err
}

// ParseProof decodes a proof and verifies nothing.
func ParseProof(b []byte) (Proof, error) {
	var w wireProof
	if err := decode(decoder, b, MaxProof, &w); err != nil {
		return Proof{}, err
	}
	if w.Index < 0 || w.Index >= maxLeaves || len(w.Hashes) > 64 {
		return Proof{}, fmt.Errorf("%w: log proof", ErrMalformed)
	}
	return Proof{Index: w.Index, Hashes: w.Hashes, Checkpoint: w.Checkpoint}, nil
}

// Verify checks that document is in the log whose key comes first among the
// verifiers, and returns the checkpoint that shows it, for the caller to
// compare with the last that it saw. See [ParseCheckpoint].
func (p Proof) Verify(document []byte, verifiers ...note.Verifier) (Checkpoint, error) {
	c, err := ParseCheckpoint(p.Checkpoint, verifiers...)
	if err != nil {
		return Checkpoint{}, err
	}
	if p.Index >= c.Size {
		return Checkpoint{}, ErrUnlogged
	}
	if err := tlog.CheckRecord(p.Hashes, c.Size, c.Root, p.Index, tlog.RecordHash(document)); err != nil {
		return Checkpoint{}, ErrUnlogged
	}
	return c, nil
}

// CheckConsistency checks that the log that stood at before contains all of it
// at after. A log of no leaves is contained in any of the same origin.
func CheckConsistency(before, after Checkpoint, proof tlog.TreeProof) error {
	switch {
	case before.Origin != after.Origin || after.Size < before.Size || len(proof) > 64:
		return ErrUnlogged
	case before.Size == 0:
		return nil
	case before.Size == after.Size && before.Root == after.Root && len(proof) == 0:
		return nil
	}
	if err := tlog.CheckTree(proof, after.Size, after.Root, before.Size, before.Root); err != nil {
		return ErrUnlogged
	}
	return nil
}

// A Log is the build's side of a transparency log: the hashes of its tree, in
// the order of tlog. The zero value is empty. It is for one goroutine.
type Log struct {
	hashes []tlog.Hash
	size   int64
}

// ParseLog reads what Marshal wrote.
func ParseLog(b []byte) (*Log, error) {
	if len(b) > 64<<20 || len(b)%tlog.HashSize != 0 {
		return nil, fmt.Errorf("%w: log of %d bytes", ErrMalformed, len(b))
	}
	l := new(Log)
	for chunk := range slices.Chunk(b, tlog.HashSize) {
		l.hashes = append(l.hashes, tlog.Hash(chunk))
	}
	for tlog.StoredHashCount(l.size) < int64(len(l.hashes)) {
		l.size++
	}
	if tlog.StoredHashCount(l.size) != int64(len(l.hashes)) {
		return nil, fmt.Errorf("%w: log of %d hashes", ErrMalformed, len(l.hashes))
	}
	return l, nil
}

// Marshal returns the hashes, 32 bytes each. A later state begins with the
// bytes of an earlier one.
func (l *Log) Marshal() []byte {
	b := make([]byte, 0, len(l.hashes)*tlog.HashSize)
	for _, h := range l.hashes {
		b = append(b, h[:]...)
	}
	return b
}

// ReadHashes implements [tlog.HashReader].
func (l *Log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(l.hashes)) {
			return nil, fmt.Errorf("%w: hash %d", ErrMalformed, x)
		}
		out[i] = l.hashes[x]
	}
	return out, nil
}

// Append adds a document as the next leaf and returns its index.
func (l *Log) Append(document []byte) (int64, error) {
	more, err := tlog.StoredHashes(l.size, document, l)
	if err != nil {
		return 0, fmt.Errorf("evidence: log: %w", err)
	}
	l.hashes = append(l.hashes, more...)
	l.size++
	return l.size - 1, nil
}

// Checkpoint returns the state of the log under the name origin.
func (l *Log) Checkpoint(origin string) (Checkpoint, error) {
	root, err := tlog.TreeHash(l.size, l)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("evidence: log: %w", err)
	}
	return Checkpoint{Origin: origin, Size: l.size, Root: root}, nil
}

// Prove returns the proof of the leaf index, with a checkpoint signed by the
// log, whose name is the origin, and by witnesses.
func (l *Log) Prove(index int64, signers ...note.Signer) (Proof, error) {
	if index < 0 || index >= l.size || len(signers) == 0 {
		return Proof{}, fmt.Errorf("%w: leaf %d", ErrMalformed, index)
	}
	hashes, err := tlog.ProveRecord(l.size, index, l)
	if err != nil {
		return Proof{}, fmt.Errorf("evidence: log: %w", err)
	}
	c, err := l.Checkpoint(signers[0].Name())
	if err != nil {
		return Proof{}, err
	}
	signed, err := SignCheckpoint(c, signers...)
	return Proof{Index: index, Hashes: hashes, Checkpoint: signed}, err
}

// ProveConsistency proves that the log of size leaves is contained in this one.
func (l *Log) ProveConsistency(size int64) (tlog.TreeProof, error) {
	if size < 0 || size > l.size {
		return nil, fmt.Errorf("%w: size %d", ErrMalformed, size)
	}
	if size == 0 || size == l.size {
		return nil, nil
	}
	p, err := tlog.ProveTree(l.size, size, l)
	if err != nil {
		return nil, fmt.Errorf("evidence: log: %w", err)
	}
	return p, nil
}
