// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// contents says whose the files of a root are: of a package, unchanged, as it was
// unpacked; of a program that is listed; or ours, from a folder or made by the
// build at a place that a list names. Nothing else may be in a root, and nothing
// may be listed that is not there.
type contents struct {
	root      string
	unpacked  string   // folder in which each package lies in a folder of its name
	ours      []string // folders that were copied into the root
	generated string   // file: paths that the build makes, or folders, with a slash at the end
}

// A content is what a path holds: the hash of a file, or where a link leads.
type content struct {
	sum  [32]byte
	link string
}

func contentOf(path string, d fs.DirEntry) (content, error) {
	if d.Type() == fs.ModeSymlink {
		to, err := os.Readlink(path)
		return content{link: to}, err
	}
	if !d.Type().IsRegular() {
		return content{}, fmt.Errorf("%s is neither file, link nor folder", path)
	}
	b, err := os.ReadFile(path) // of the build's own folders
	return content{sum: sha256.Sum256(b)}, err
}

// walkFiles calls f for each file and link below root, with its path there.
func walkFiles(root string, f func(name string, c content) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		c, err := contentOf(path, d)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return f(name, c)
	})
}

// merged is the path of a package's file in a root in which usr has been merged.
func merged(name string) string {
	for _, dir := range []string{"bin/", "sbin/", "lib/"} {
		if strings.HasPrefix(name, dir) {
			return "usr/" + name
		}
	}
	return name
}

// addContents checks the root against the components that are listed, and adds
// one for the files that are ours.
func (b *bom) addContents(k contents) error {
	places, sums, err := b.owners(k)
	if err != nil {
		return err
	}
	generated, err := readList(k.generated)
	if err != nil {
		return err
	}
	var stray []string
	n, list := 0, sha256.New()
	err = walkFiles(k.root, func(name string, c content) error {
		if owner := places[name][c]; owner != nil {
			owner.files++
		} else if owner := sums[c.sum]; owner != nil && c.link == "" {
			owner.files++
		} else if _, ours := places[name][c]; ours || made(name, generated) {
			n++
			line(list, name, c)
		} else {
			stray = append(stray, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if stray != nil {
		return fmt.Errorf("%d files of the root belong to nothing that is listed: %.400q", len(stray), stray)
	}
	sum := hex.EncodeToString(list.Sum(nil))
	version := b.Metadata.Component.Version
	rest := newComponent("file", "in-camera-files", version, sum, "pkg:generic/in-camera-files@"+escape(version)+"?checksum=sha256:"+sum)
	rest.Properties = []property{{"in-camera:hash", "SHA-256 of a line for each file: its SHA-256 or the link's target, two blanks, its path"}}
	rest.files = n
	if err := b.add(rest); err != nil {
		return err
	}
	return b.countFiles()
}

// line adds a file of ours to the hash of the list. Walks are in lexical order.
func line(list hash.Hash, name string, c content) {
	what := hex.EncodeToString(c.sum[:])
	if c.link != "" {
		what = "-> " + c.link
	}
	list.Write([]byte(what + "  " + name + "\n")) // a hash takes all
}

// owners returns who may have what at which path, nil being us, and the components
// that are one file, by its hash.
func (b *bom) owners(k contents) (places map[string]map[content]*component, sums map[[32]byte]*component, err error) {
	places, sums = map[string]map[content]*component{}, map[[32]byte]*component{}
	have := func(name string, c content, owner *component) {
		if places[name] == nil {
			places[name] = map[content]*component{}
		}
		places[name][c] = owner
	}
	for _, dir := range k.ours {
		if err := walkFiles(dir, func(name string, c content) error { have(name, c, nil); return nil }); err != nil {
			return nil, nil, err
		}
	}
	for _, c := range b.Components {
		if c.Type == "application" || c.Type == "file" {
			sum, err := hex.DecodeString(c.Hashes[0].Content)
			if err != nil {
				return nil, nil, err
			}
			sums[[32]byte(sum)] = c
		}
	}
	for _, owner := range b.Components {
		if !strings.HasPrefix(owner.Ref, "pkg:deb/") {
			continue
		}
		err := walkFiles(filepath.Join(k.unpacked, owner.Name), func(name string, c content) error {
			have(merged(name), c, owner)
			if sums[c.sum] != nil && c.link == "" { // a file beside the root, such as the loader
				owner.files++
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return places, sums, nil
}

// countFiles notes how many files a component has, and refuses one without:
// it was listed and does not ship. Modules are in their programs, and what was
// given as a file lies beside the root.
func (b *bom) countFiles() error {
	for _, c := range b.Components {
		switch {
		case strings.HasPrefix(c.Ref, "pkg:golang/") && c.Type == "library", c.Type == "file" && c.files == 0:
			continue
		case c.files == 0:
			return fmt.Errorf("%s %s has no file in the root", c.Name, c.Version)
		}
		c.Properties = append(c.Properties, property{"in-camera:files", strconv.Itoa(c.files)})
	}
	return nil
}

// made says whether the list has a path or a folder that it is in.
func made(name string, list []string) bool {
	return slices.ContainsFunc(list, func(l string) bool {
		return l == name || strings.HasSuffix(l, "/") && strings.HasPrefix(name, l)
	})
}

// readList returns the lines of a file that are neither empty nor a comment.
func readList(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []string
	s := bufio.NewScanner(f)
	for s.Scan() {
		if l := strings.TrimSpace(s.Text()); l != "" && l[0] != '#' {
			list = append(list, l)
		}
	}
	if s.Err() == nil && list == nil {
		return nil, errors.New(path + " says nothing")
	}
	return list, s.Err()
}
