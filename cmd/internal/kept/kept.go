// SPDX-License-Identifier: Apache-2.0

// Package kept keeps small state in files of JSON. After a power cut a file is
// as it was before or as it was to be, and never anything else.
package kept

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxFile bounds a file: a directory of some hundred rooms.
const maxFile = 256 << 10

// A File is state at a path. What is in it only this user may read.
type File string

// Load reads the file into v, or returns an error that is [fs.ErrNotExist].
// Members that v has not are skipped: after the way back to an older release
// they are what a newer one wrote.
func (f File) Load(v any) error {
	in, err := os.Open(string(f))
	if err != nil {
		return err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return err
	}
	if len(b) > maxFile {
		return fmt.Errorf("%s: larger than %d bytes", f, maxFile)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", f, err)
	}
	return nil
}

// Save replaces the file, and makes its folder if there is none.
func (f File) Save(v any) (err error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(string(f))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	out, err := os.CreateTemp(dir, "."+filepath.Base(string(f))+"-*")
	if err != nil {
		return err
	}
	_, err = out.Write(append(b, '\n'))
	err = errors.Join(err, out.Sync(), out.Close())
	if err == nil {
		err = os.Rename(out.Name(), string(f))
	}
	if err != nil {
		return errors.Join(err, os.Remove(out.Name()))
	}
	return f.sync()
}

// Remove removes the file. That there is none is no error.
func (f File) Remove() error {
	err := os.Remove(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, f.sync())
}

// sync makes the change of the folder itself durable.
func (f File) sync() error {
	dir, err := os.Open(filepath.Dir(string(f)))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
