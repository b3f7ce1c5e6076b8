// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/tpm"
)

// A Store keeps blobs in a directory outside the encrypted disk, one file for
// each name and generation of roots: "state.1". A power cut leaves a file as it
// was or as it was to be. One process uses a directory at a time.
//
// A change of roots is [Define], [Advance], and [Store.Fill] for the new root in
// a healthy, committed room; then, once the new blobs have opened at a boot,
// [Store.Drop] of the old. In between both open, whichever root signed.
type Store struct{ disk disk }

// A disk is a directory. What is not synced may be lost, or half there, after a
// power cut; a name may then be the old one or the new.
type disk interface {
	Names() ([]string, error)
	Read(name string) ([]byte, error) // fs.ErrNotExist if there is none
	Write(name string, b []byte) error
	Sync(name string) error
	Rename(from, to string) error
	// Overwrite puts zeros where the file is, as many as it has bytes.
	Overwrite(name string) error
	Remove(name string) error
	SyncNames() error
}

// OpenStore opens the store in an existing directory. The caller closes it.
func OpenStore(dir string) (*Store, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("seal: store: %w", err)
	}
	return &Store{directory{root}}, nil
}

// Close releases the directory.
func (s *Store) Close() error {
	if d, ok := s.disk.(directory); ok {
		if err := d.root.Close(); err != nil {
			return fmt.Errorf("seal: store: %w", err)
		}
	}
	return nil
}

// unfinished is the suffix of a file that is being written.
const unfinished = ".new"

func file(name string, generation uint8) (string, error) {
	if name == "" || len(name) > 32 || strings.ContainsFunc(name, func(c rune) bool { return c != '-' && (c < 'a' || c > 'z') }) {
		return "", fmt.Errorf("seal: store: name %q", name)
	}
	if generation < 1 || generation > MaxRoots {
		return "", fmt.Errorf("seal: store: generation %d", generation)
	}
	return name + "." + strconv.Itoa(int(generation)), nil
}

// Generations lists the generations that there is a file of name for, the
// newest first.
func (s *Store) Generations(name string) ([]uint8, error) {
	names, err := s.disk.Names()
	if err != nil {
		return nil, fmt.Errorf("seal: store: %w", err)
	}
	var found []uint8
	for g := uint8(MaxRoots); g > 0; g-- {
		f, err := file(name, g)
		if err != nil {
			return nil, err
		}
		if slices.Contains(names, f) {
			found = append(found, g)
		}
	}
	return found, nil
}

// Read returns the blob of name, at most some KiB. It returns fs.ErrNotExist if
// there is none.
func (s *Store) Read(name string, generation uint8) ([]byte, error) {
	f, err := file(name, generation)
	if err != nil {
		return nil, err
	}
	b, err := s.disk.Read(f)
	if err != nil {
		return nil, fmt.Errorf("seal: store: %w", err)
	}
	return b, nil
}

// Put stores a blob, whole or not at all.
func (s *Store) Put(name string, generation uint8, b []byte) error {
	f, err := file(name, generation)
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return s.disk.Write(f+unfinished, b) },
		func() error { return s.disk.Sync(f + unfinished) },
		func() error { return s.disk.Rename(f+unfinished, f) },
		s.disk.SyncNames,
	} {
		if err := step(); err != nil {
			return fmt.Errorf("seal: store: %w", err)
		}
	}
	return nil
}

// Drop removes all that belongs to generations before the given one. Only what
// has opened under the new root makes the old one superfluous: that is for the
// caller to know.
func (s *Store) Drop(before uint8) error {
	names, err := s.disk.Names()
	if err != nil {
		return fmt.Errorf("seal: store: %w", err)
	}
	for _, f := range names {
		_, suffix, _ := strings.Cut(strings.TrimSuffix(f, unfinished), ".")
		g, err := strconv.ParseUint(suffix, 10, 8)
		if err != nil || g >= uint64(before) {
			continue
		}
		if err := s.disk.Remove(f); err != nil {
			return fmt.Errorf("seal: store: %w", err)
		}
	}
	if err := s.disk.SyncNames(); err != nil {
		return fmt.Errorf("seal: store: %w", err)
	}
	return nil
}

// Wipe destroys what the store holds, of every generation, but for what belongs to
// the names to keep: each file is overwritten before it is removed. That is for a
// room whose TPM was cleared, or the end of it. After a power cut it may be
// repeated.
func (s *Store) Wipe(keep ...string) error {
	names, err := s.disk.Names()
	if err != nil {
		return fmt.Errorf("seal: store: %w", err)
	}
	for _, f := range names {
		name, suffix, _ := strings.Cut(f, ".")
		if _, err := strconv.ParseUint(strings.TrimSuffix(suffix, unfinished), 10, 8); err != nil {
			continue // no file of a store
		}
		if slices.Contains(keep, name) && !strings.HasSuffix(f, unfinished) {
			continue
		}
		for _, step := range []func(string) error{s.disk.Overwrite, s.disk.Sync, s.disk.Remove} {
			if err := step(f); err != nil {
				return fmt.Errorf("seal: store: %w", err)
			}
		}
	}
	if err := s.disk.SyncNames(); err != nil {
		return fmt.Errorf("seal: store: %w", err)
	}
	return nil
}

// A Content is what a room keeps: a secret to seal, or, without one, a signing
// key to make.
type Content struct {
	Name   string
	Use    Use
	Secret Secret
}

// Fill seals or makes, under root, whatever of contents is not there yet, and
// stores it. It may be repeated after a power cut; what is there stays.
func (s *Store) Fill(ctx context.Context, t transport.TPM, srk tpm.Key, root RootKey, contents ...Content) error {
	for _, c := range contents {
		b, err := s.Read(c.Name, root.Generation)
		if err == nil {
			err = c.sound(b)
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errMalformed) {
			return err
		}
		if b, err = c.seal(ctx, t, srk, root); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		if err := s.Put(c.Name, root.Generation, b); err != nil {
			return err
		}
	}
	return nil
}

func (c Content) sound(b []byte) (err error) {
	if c.Secret == nil {
		_, err = ParseKeyBlob(b)
	} else {
		_, err = ParseBlob(b)
	}
	return err
}

func (c Content) seal(ctx context.Context, t transport.TPM, srk tpm.Key, root RootKey) ([]byte, error) {
	if c.Secret == nil {
		k, err := NewKey(ctx, t, srk, root, c.Use)
		if err != nil {
			return nil, err
		}
		return k.Marshal()
	}
	b, err := Seal(ctx, t, srk, root, c.Use, c.Secret)
	if err != nil {
		return nil, err
	}
	return b.Marshal()
}

// Unseal returns the secret of name, and the generation of the root under which
// it opened: the newest that opens. If none does, the error holds each reason.
func (s *Store) Unseal(ctx context.Context, t transport.TPM, srk tpm.Key, name string, p *Policies) (Secret, uint8, error) {
	generations, err := s.Generations(name)
	if err != nil {
		return nil, 0, err
	}
	if len(generations) == 0 {
		return nil, 0, fmt.Errorf("%w: no blob %q: %w", ErrForeign, name, fs.ErrNotExist)
	}
	var refusals []error
	for _, g := range generations {
		secret, err := s.unseal(ctx, t, srk, name, g, p)
		if err == nil {
			return secret, g, nil
		}
		refusals = append(refusals, fmt.Errorf("%s.%d: %w", name, g, err))
	}
	return nil, 0, errors.Join(refusals...)
}

func (s *Store) unseal(ctx context.Context, t transport.TPM, srk tpm.Key, name string, g uint8, p *Policies) (Secret, error) {
	b, err := s.Read(name, g)
	if err != nil {
		return nil, err
	}
	blob, err := ParseBlob(b)
	if err != nil {
		return nil, damaged(err)
	}
	return Unseal(ctx, t, srk, blob, p)
}

// damaged gives a file that is no blob the remedy of one that is not ours.
func damaged(err error) error {
	if errors.Is(err, errMalformed) {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	return err
}

// Key returns the signer of name under the newest root that p speaks for, and
// that root's generation.
func (s *Store) Key(t transport.TPM, srk tpm.Key, name string, p *Policies) (*SigningKey, uint8, error) {
	generations, err := s.Generations(name)
	if err != nil {
		return nil, 0, err
	}
	if len(generations) == 0 {
		return nil, 0, fmt.Errorf("%w: no key %q: %w", ErrForeign, name, fs.ErrNotExist)
	}
	var refusals []error
	for _, g := range generations {
		b, err := s.Read(name, g)
		if err != nil {
			return nil, 0, err
		}
		blob, err := ParseKeyBlob(b)
		if err == nil {
			var k *SigningKey
			if k, err = OpenKey(t, srk, blob, p); err == nil {
				return k, g, nil
			}
		}
		refusals = append(refusals, fmt.Errorf("%s.%d: %w", name, g, damaged(err)))
	}
	return nil, 0, errors.Join(refusals...)
}
