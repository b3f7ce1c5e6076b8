// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"errors"
	"io"
	"os"
)

// directory is a disk of the operating system. Its errors have the names of
// files in them already; Store adds the package.
type directory struct{ root *os.Root }

func (d directory) Names() ([]string, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(1024) // a store has about a dozen
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

// Read reads one byte more than a blob can have, so that a longer one is
// refused where it is parsed.
func (d directory) Read(name string) ([]byte, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxBlob+1))
}

func (d directory) Write(name string, b []byte) error {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

func (d directory) Sync(name string) error {
	f, err := d.root.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Overwrite writes to the blocks that the file has: it is not cut short first.
// Flash may keep the old ones, which is why nothing rests on it alone.
func (d directory) Overwrite(name string) error {
	f, err := d.root.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = io.CopyN(f, zeros{}, info.Size())
	}
	return errors.Join(err, f.Close())
}

// zeros is an endless source of them.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func (d directory) Rename(from, to string) error { return d.root.Rename(from, to) }
func (d directory) Remove(name string) error     { return d.root.Remove(name) }
func (d directory) SyncNames() error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
