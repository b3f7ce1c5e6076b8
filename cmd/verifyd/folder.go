// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A folder holds bundles, each under the SHA-256 of its bytes. Which of them
// count, the database says; several verifiers on one database share a folder.
type folder string

const (
	bundleSuffix = ".bundle"
	arriving     = ".arriving-*" // the name of a file that is not whole yet
	// orphanAge is how old a file must be that no row of the database names:
	// older than any transfer that is under way.
	orphanAge = 24 * time.Hour
)

// create makes a file to write a bundle to. The caller closes it and removes
// it, unless keep gave it its name.
func (d folder) create() (*os.File, error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, fmt.Errorf("bundles: %w", err)
	}
	f, err := os.CreateTemp(string(d), arriving)
	if err != nil {
		return nil, fmt.Errorf("bundles: %w", err)
	}
	return f, nil
}

// keep gives a file, whose bytes have reached the disk, its name.
func (d folder) keep(f *os.File, hash string) error {
	if err := os.Rename(f.Name(), d.path(hash)); err != nil {
		return fmt.Errorf("bundles: %w", err)
	}
	return d.sync()
}

// open opens a bundle. The error is [fs.ErrNotExist] if it is not here.
func (d folder) open(hash string) (*os.File, error) {
	f, err := os.Open(d.path(hash))
	if err != nil {
		return nil, fmt.Errorf("bundles: %w", err)
	}
	return f, nil
}

// remove removes a bundle, which need not be there.
func (d folder) remove(hash string) error {
	err := os.Remove(d.path(hash))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("bundles: %w", err)
	}
	return d.sync()
}

// sweep removes what a power cut left: files that are not whole, and those that
// nobody names.
func (d folder) sweep(named map[string]bool, now time.Time) error {
	entries, err := os.ReadDir(string(d))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("bundles: %w", err)
	}
	for _, e := range entries {
		hash, ok := strings.CutSuffix(e.Name(), bundleSuffix)
		ours := ok && isHash(hash) || strings.HasPrefix(e.Name(), strings.TrimSuffix(arriving, "*"))
		if !ours || named[hash] {
			continue
		}
		info, err := e.Info()
		if err != nil || now.Sub(info.ModTime()) < orphanAge {
			continue
		}
		if err := os.Remove(filepath.Join(string(d), e.Name())); err != nil {
			return fmt.Errorf("bundles: %w", err)
		}
	}
	return nil
}

func (d folder) path(hash string) string { return filepath.Join(string(d), hash+bundleSuffix) }

// sync has the names of files reach the disk.
func (d folder) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return fmt.Errorf("bundles: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("bundles: %w", err)
	}
	return nil
}
