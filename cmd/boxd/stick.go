// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"incamera/cmd/internal/boxlink"
	"incamera/secureboot/update"
)

// bundleNames are the files that are offered. The version in the name is for
// people: what counts is in the signed manifest.
var bundleNames = regexp.MustCompile(`^in-camera-[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}(-[0-9a-z][0-9a-z.]{0,15})?\.bundle$`)

// Limits of what a stick may make of itself.
const (
	maxSticks  = 16   // file systems that are tried
	maxFiles   = 4096 // names in the top folder of one
	maxBundles = 64   // files offered
	maxBundle  = update.MaxManifest + update.MaxSystem + update.MaxUKI + 12
)

// sticks are the USB sticks in the box. One is mounted read-only for as long as
// it is listed or read from, and nothing on it runs or is believed.
type sticks struct {
	sys, dev, folder string
	own              slots // the box's disks, which are none of them
	mount            mounter
	log              *slog.Logger
	turn             chan struct{} // of one; taken while something is mounted at folder
}

// kinds are the file systems that a stick may have, as the kernel names them.
var kinds = []string{"vfat", "exfat"}

// usb is in the path of every device behind a USB host controller.
var usb = regexp.MustCompile(`/usb[0-9]+/`)

// devices finds the block devices that may hold a file system of a stick: each
// partition of a USB disk, or the disk itself if it has none.
func (s *sticks) devices() ([]string, error) {
	disks, err := os.ReadDir(filepath.Join(s.sys, "block"))
	if err != nil {
		return nil, fmt.Errorf("stick: %w", err)
	}
	var found []string
	for _, d := range disks { // sorted by name
		path, err := filepath.EvalSymlinks(filepath.Join(s.sys, "block", d.Name()))
		if err != nil || !usb.MatchString(path) {
			continue // gone, or no stick
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			continue
		}
		parts := []string{}
		for _, e := range entries {
			if _, err := os.Stat(filepath.Join(path, e.Name(), "partition")); err == nil {
				parts = append(parts, e.Name())
			}
		}
		if len(parts) == 0 {
			parts = []string{d.Name()}
		}
		if slices.ContainsFunc(parts, s.isOwn) {
			continue // a box that starts from USB
		}
		found = append(found, parts...)
	}
	return found[:min(len(found), maxSticks)], nil
}

func (s *sticks) isOwn(name string) bool {
	return slices.Contains([]string{s.own.ESP, s.own.Idle, s.own.Data}, "/dev/"+name)
}

// each mounts one file system after the other, until f has what it wants.
func (s *sticks) each(ctx context.Context, f func(*os.Root) (enough bool, err error)) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-time.After(busyTime):
		return &boxlink.Refusal{Reason: boxlink.Busy, Detail: "a stick is being read"}
	}
	names, err := s.devices()
	if err != nil {
		return err
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if enough, err := s.visit(filepath.Join(s.dev, name), f); enough || err != nil {
			return err
		}
	}
	return nil
}

// visit mounts one file system. That it cannot be mounted is no error: a stick may
// hold anything.
func (s *sticks) visit(device string, f func(*os.Root) (bool, error)) (enough bool, err error) {
	var unmount func() error
	for _, kind := range kinds {
		if unmount, err = s.mount(device, s.folder, kind, false); err == nil {
			break
		}
	}
	if err != nil {
		s.log.Debug("stick not read", "err", err)
		return false, nil
	}
	defer func() { err = errors.Join(err, unmount()) }()
	root, err := os.OpenRoot(s.folder)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return f(root)
}

// list lists the bundles in the top folders. Of a name that is there twice the
// first counts, as it does for open.
func (s *sticks) list(ctx context.Context) ([]boxlink.Bundle, error) {
	var list []boxlink.Bundle
	err := s.each(ctx, func(root *os.Root) (bool, error) {
		top, err := root.Open(".")
		if err != nil {
			return false, err
		}
		defer top.Close()
		names, err := top.Readdirnames(maxFiles)
		if err != nil && !errors.Is(err, io.EOF) {
			s.log.Warn("stick not read", "err", err)
			return false, nil
		}
		slices.Sort(names)
		for _, name := range names {
			info, err := root.Lstat(name)
			if err != nil || !offered(name, info) || slices.ContainsFunc(list, func(b boxlink.Bundle) bool { return b.Name == name }) {
				continue
			}
			list = append(list, boxlink.Bundle{Name: name, Size: info.Size()})
		}
		return len(list) >= maxBundles, nil
	})
	return list[:min(len(list), maxBundles)], err
}

func offered(name string, info os.FileInfo) bool {
	return bundleNames.MatchString(name) && info.Mode().IsRegular() && info.Size() > 0 && info.Size() <= maxBundle
}

// open opens a bundle that list would list, for as long as f runs.
func (s *sticks) open(ctx context.Context, name string, f func(io.Reader) error) error {
	absent := &boxlink.Refusal{Reason: boxlink.Absent, Detail: "no such bundle on a stick"}
	if !bundleNames.MatchString(name) {
		return absent
	}
	found := false
	err := s.each(ctx, func(root *os.Root) (bool, error) {
		info, err := root.Lstat(name)
		if err != nil || !offered(name, info) {
			return false, nil // another stick may have it
		}
		found = true
		file, err := root.Open(name)
		if err != nil {
			return true, err
		}
		defer file.Close()
		return true, f(pulled{file})
	})
	if err == nil && !found {
		return absent
	}
	return err
}

// pulled is a file of a stick: who pulls that out while it is read learns so.
type pulled struct{ file *os.File }

func (p pulled) Read(b []byte) (int, error) {
	n, err := p.file.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, errors.Join(&boxlink.Refusal{Reason: boxlink.Absent, Detail: "the stick is gone or damaged"}, err)
	}
	return n, err
}
