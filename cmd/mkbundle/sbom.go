// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
)

const (
	maxLock   = 1 << 20   // bytes of a lock of Debian packages
	maxBinary = 256 << 20 // bytes of a program, or of another file that is listed
)

// A bom is a bill of materials in the form of CycloneDX 1.6, in JSON. It has
// neither time nor serial number: the same input gives the same bytes, and the
// reference values have its hash.
type bom struct {
	Format       string       `json:"bomFormat"`
	Spec         string       `json:"specVersion"`
	Version      int          `json:"version"` // of this document
	Metadata     bomMetadata  `json:"metadata"`
	Components   []*component `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type bomMetadata struct {
	Component product `json:"component"`
}

// product is what the bill is of. Its hash cannot be in it: the image has the
// bill's in its reference values.
type product struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	Hashes     []bomHash  `json:"hashes"`
	PURL       string     `json:"purl"`
	Properties []property `json:"properties,omitempty"`

	files int // in the root
}

type bomHash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

func setSBOM(c *call) func() error {
	version := c.need("version", "`version` of the release")
	lock := c.String("packages", "", "`file` with a Debian package in a line: name, version, SHA-256")
	distro := c.String("distro", "debian-12", "`name` of the distribution that the packages are of")
	var binaries, files several
	c.Var(&binaries, "binary", "`file` of a Go program that ships; may be repeated")
	c.Var(&files, "file", "another file that ships, as `name@version=file`; may be repeated")
	var k contents
	c.StringVar(&k.root, "root", "", "`folder` with the image's root, each file of which must belong to what is listed")
	c.StringVar(&k.unpacked, "unpacked", "", "`folder` with a folder for each package, of its name and its files")
	c.StringVar(&k.generated, "generated", "", "`file` with the paths that the build itself makes in the root")
	c.Var((*several)(&k.ours), "ours", "`folder` that was copied into the root; may be repeated")
	out := c.need("out", "`file` to write")
	return func() error {
		if all := k.unpacked != "" && k.generated != "" && *lock != ""; k.root != "" && !all {
			return usageError{errors.New("-root goes with -packages, -unpacked and -generated")}
		}
		if len(binaries) == 0 && *lock == "" && len(files) == 0 {
			return usageError{errors.New("sbom needs -binary, -packages or -file: a bill of nothing says nothing")}
		}
		b := newBOM(*version)
		for _, path := range binaries {
			if err := b.addBinary(path); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		if *lock != "" {
			text, err := read(*lock, maxLock)
			if err != nil {
				return err
			}
			if err := b.addPackages(string(text), *distro); err != nil {
				return fmt.Errorf("%s: %w", *lock, err)
			}
		}
		for _, f := range files {
			if err := b.addFile(f); err != nil {
				return err
			}
		}
		if k.root != "" {
			if err := b.addContents(k); err != nil {
				return fmt.Errorf("%s: %w", k.root, err)
			}
		}
		text, err := b.marshal()
		if err != nil {
			return err
		}
		if err := write(*out, text); err != nil {
			return err
		}
		return c.print(map[string]any{"file": *out, "version": *version, "components": len(b.Components)},
			fmt.Sprintf("%s: %d components of %s\n", *out, len(b.Components), *version))
	}
}

func newBOM(version string) *bom {
	p := product{"firmware", "in-camera@" + version, "in-camera", version}
	return &bom{Format: "CycloneDX", Spec: "1.6", Version: 1, Metadata: bomMetadata{p}}
}

// add adds a component once. Two that claim to be the same and differ are
// refused: one of them is not what it says.
func (b *bom) add(c *component) error {
	i := slices.IndexFunc(b.Components, func(o *component) bool { return o.Ref == c.Ref })
	switch {
	case i < 0:
		b.Components = append(b.Components, c)
	case b.Components[i].Hashes[0] != c.Hashes[0]:
		return fmt.Errorf("%s comes twice, with two hashes", c.PURL)
	}
	return nil
}

// newComponent makes one; its purl names it in the bill.
func newComponent(kind, name, version, sum, purl string) *component {
	return &component{Type: kind, Ref: purl, Name: name, Version: version, Hashes: []bomHash{{"SHA-256", sum}}, PURL: purl}
}

// addBinary adds a program and the modules that the linker wrote into it.
func (b *bom) addBinary(file string) error {
	p, err := part(file, maxBinary)
	if err != nil {
		return err
	}
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return err
	}
	if info.Path == "" {
		return errors.New("does not say which package it was built of")
	}
	sum := p.SHA256.String()
	// A program of the release has the release's version, whatever the linker
	// could see of the source's history.
	version := b.Metadata.Component.Version
	program := newComponent("application", path.Base(info.Path), version, sum, golang(info.Path, version))
	program.Properties = []property{
		{"in-camera:go", info.GoVersion},
		{"in-camera:file", filepath.Base(file)},
	}
	if err := b.add(program); err != nil {
		return err
	}
	depends := dependency{Ref: program.Ref}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c, err := module(m)
		if err != nil {
			return err
		}
		if err := b.add(c); err != nil {
			return err
		}
		depends.DependsOn = append(depends.DependsOn, c.Ref)
	}
	slices.Sort(depends.DependsOn)
	b.Dependencies = append(b.Dependencies, depends)
	return nil
}

// module is a Go module. Its hash is that of go.sum, which is a SHA-256 of the
// list of the module's files and their hashes, not of an archive; a property
// says so.
func module(m *debug.Module) (*component, error) {
	encoded, ok := strings.CutPrefix(m.Sum, "h1:")
	sum, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(sum) != 32 || m.Version == "" {
		return nil, fmt.Errorf("module %.128q %.64q has no hash: replaced by a folder, or built without go.sum", m.Path, m.Version)
	}
	c := newComponent("library", m.Path, m.Version, hex.EncodeToString(sum), golang(m.Path, m.Version))
	c.Properties = []property{{"in-camera:go.sum", m.Sum}}
	return c, nil
}

var (
	packageNames    = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{1,127}$`)
	packageVersions = regexp.MustCompile(`^[0-9A-Za-z.+:~-]{1,128}$`)
	sums            = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// addPackages reads a lock: name, version and SHA-256 of a Debian package in
// each line.
func (b *bom) addPackages(lock, distro string) error {
	if !packageNames.MatchString(distro) {
		return usageError{fmt.Errorf("-distro %.64q", distro)}
	}
	seen := map[string]bool{}
	for n, line := range strings.Split(strings.TrimSuffix(lock, "\n"), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, " ")
		if len(f) != 3 || !packageNames.MatchString(f[0]) || !packageVersions.MatchString(f[1]) || !sums.MatchString(f[2]) {
			return fmt.Errorf("line %d: %.128q is no name, version and SHA-256", n+1, line)
		}
		if seen[f[0]] {
			return fmt.Errorf("line %d: %s comes twice", n+1, f[0])
		}
		seen[f[0]] = true
		purl := "pkg:deb/debian/" + escape(f[0]) + "@" + escape(f[1]) + "?distro=" + distro
		if err := b.add(newComponent("library", f[0], f[1], f[2], purl)); err != nil {
			return err
		}
	}
	return nil
}

// addFile adds what neither is: NAME@VERSION=FILE, such as the kernel.
func (b *bom) addFile(spec string) error {
	named, file, ok := strings.Cut(spec, "=")
	name, version, both := strings.Cut(named, "@")
	if !ok || !both || !packageNames.MatchString(name) || !packageVersions.MatchString(version) {
		return usageError{fmt.Errorf("-file %.128q is not name@version=file", spec)}
	}
	p, err := part(file, maxBinary)
	if err != nil {
		return err
	}
	sum := p.SHA256.String()
	return b.add(newComponent("file", name, version, sum,
		"pkg:generic/"+escape(name)+"@"+escape(version)+"?checksum=sha256:"+sum))
}

func (b *bom) marshal() ([]byte, error) {
	slices.SortFunc(b.Components, func(x, y *component) int { return cmp.Compare(x.Ref, y.Ref) })
	all := dependency{Ref: b.Metadata.Component.Ref}
	for _, c := range b.Components {
		all.DependsOn = append(all.DependsOn, c.Ref)
	}
	slices.SortFunc(b.Dependencies, func(x, y dependency) int { return cmp.Compare(x.Ref, y.Ref) })
	b.Dependencies = append([]dependency{all}, b.Dependencies...)
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}

// golang is the purl of a module or package, whose type has lower case only.
func golang(path, version string) string {
	segments := strings.Split(strings.ToLower(path), "/")
	for i, s := range segments {
		segments[i] = escape(s)
	}
	return "pkg:golang/" + strings.Join(segments, "/") + "@" + escape(version)
}

// escape writes a segment or a version of a purl (package-url specification,
// "Character encoding"): a colon stays.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(".-_~:", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
