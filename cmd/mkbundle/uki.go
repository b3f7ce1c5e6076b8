// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"incamera/secureboot/measure"
)

// maxText bounds command line and release file, in bytes.
const maxText = 4 << 10

func setUKI(c *call) func() error {
	stub := c.need("stub", "`file` of systemd's stub")
	linux := c.need("linux", "`file` of the kernel, signed where firmware asks for it")
	initrd := c.need("initrd", "`file` of the initial file system")
	osrel := c.need("osrel", "`file` like /etc/os-release, with VERSION_ID")
	cmdline := c.need("cmdline", "`file` with the kernel's command line")
	dtb := c.String("dtb", "", "`file` of a device tree (none)")
	out := c.need("out", "`file` to write")
	return func() error {
		stubBytes, err := read(*stub, measure.MaxImage)
		if err != nil {
			return err
		}
		var sections []measure.Section
		for _, s := range []struct{ name, path string }{
			{".osrel", *osrel},
			{".cmdline", *cmdline},
			{".initrd", *initrd},
			{".dtb", *dtb},
			{".linux", *linux},
		} {
			if s.path == "" {
				continue
			}
			b, err := read(s.path, measure.MaxImage)
			if err != nil {
				return err
			}
			if s.name == ".cmdline" {
				if b, err = commandLine(b); err != nil {
					return fmt.Errorf("%s: %w", s.path, err)
				}
			}
			sections = append(sections, measure.Section{Name: s.name, Data: b})
		}
		uki, err := measure.WriteUKI(stubBytes, sections...)
		if err != nil {
			return err
		}
		m, err := predict(uki)
		if err != nil {
			return err
		}
		if err := write(*out, uki); err != nil {
			return err
		}
		return c.print(m, m.String())
	}
}

func setMeasure(c *call) func() error {
	uki := c.need("uki", "`file` of the unified kernel image")
	return func() error {
		b, err := read(*uki, measure.MaxImage)
		if err != nil {
			return err
		}
		m, err := predict(b)
		if err != nil {
			return fmt.Errorf("%s: %w", *uki, err)
		}
		return c.print(m, m.String())
	}
}

// commandLine takes the end of the line off, as editors leave one. Anything else
// that is not plain text would be measured in one way and shown in another.
func commandLine(b []byte) ([]byte, error) {
	line := strings.TrimSuffix(string(b), "\n")
	if len(line) == 0 || len(line) > maxText {
		return nil, fmt.Errorf("command line of %d bytes; it has 1 to %d", len(line), maxText)
	}
	for i, r := range line {
		if r < ' ' || r > '~' {
			return nil, fmt.Errorf("command line has %q at byte %d; it is one line of ASCII", r, i)
		}
	}
	return []byte(line), nil
}

// A prediction is what an image will measure.
type prediction struct {
	Version     string         `json:"version"`
	Image       string         `json:"authenticode_sha256"` // as firmware measures it into PCR 4
	CommandLine string         `json:"command_line"`
	PCR11       []phaseValue   `json:"pcr11"`
	PCR12       string         `json:"pcr12"`
	Sections    []sectionValue `json:"sections"`

	verityRoot [32]byte
	board      string // "" if the release file does not say
}

type phaseValue struct {
	Phase string `json:"phase"`
	Value string `json:"sha256"`
	value [32]byte
}

type sectionValue struct {
	Name  string `json:"name"`
	Size  int    `json:"size"`
	Value string `json:"sha256"`
}

// predict reads a UKI of ours: one with release file and command line.
func predict(uki []byte) (*prediction, error) {
	sections, err := measure.Sections(uki)
	if err != nil {
		return nil, err
	}
	image, err := measure.Authenticode(uki)
	if err != nil {
		return nil, err
	}
	p := &prediction{Image: hex.EncodeToString(image[:])}
	cmdline := measure.Content(sections, ".cmdline")
	if plain, err := commandLine(cmdline); err != nil {
		return nil, err
	} else if len(plain) != len(cmdline) {
		return nil, errors.New("command line ends with a new line")
	}
	p.CommandLine = string(cmdline)
	osrel := string(measure.Content(sections, ".osrel"))
	if p.Version, err = assignment(osrel, "\n", "VERSION_ID"); err != nil {
		return nil, fmt.Errorf("release file: %w", err)
	}
	if strings.Contains("\n"+osrel, "\nIMAGE_ID=") {
		image, err := assignment(osrel, "\n", "IMAGE_ID")
		if err != nil {
			return nil, fmt.Errorf("release file: %w", err)
		}
		variant, err := assignment(osrel, "\n", "VARIANT_ID")
		if err != nil {
			return nil, fmt.Errorf("release file: %w", err)
		}
		p.board = image + "/" + variant
	}
	root, err := assignment(p.CommandLine, " ", "incamera.roothash")
	if err != nil {
		return nil, fmt.Errorf("command line: %w", err)
	}
	if b, err := hex.DecodeString(root); err != nil || len(b) != len(p.verityRoot) || strings.ToLower(root) != root {
		return nil, fmt.Errorf("command line: incamera.roothash=%.80q is no SHA-256", root)
	}
	_, _ = hex.Decode(p.verityRoot[:], []byte(root)) // checked above
	pcr12 := measure.PCR12(p.CommandLine)
	p.PCR12 = hex.EncodeToString(pcr12[:])
	for n := range len(measure.Phases()) + 1 {
		v := phaseValue{value: measure.PCR11(sections, measure.Phases()[:n]...)}
		if n > 0 {
			v.Phase = measure.Phases()[n-1]
		}
		v.Value = hex.EncodeToString(v.value[:])
		p.PCR11 = append(p.PCR11, v)
	}
	for _, s := range measure.Measured(sections) {
		sum := sha256.Sum256(s.Data)
		p.Sections = append(p.Sections, sectionValue{s.Name, len(s.Data), hex.EncodeToString(sum[:])})
	}
	return p, nil
}

// phase returns PCR 11 in the phase called name.
func (p *prediction) phase(name string) [32]byte {
	for _, v := range p.PCR11 {
		if v.Phase == name {
			return v.value
		}
	}
	return [32]byte{} // which no policy may be made for
}

// assignment returns the value that a text gives a name, once, as NAME=VALUE.
func assignment(text, separator, name string) (string, error) {
	var found []string
	for field := range strings.SplitSeq(text, separator) {
		if v, ok := strings.CutPrefix(field, name+"="); ok {
			found = append(found, strings.Trim(v, `"'`))
		}
	}
	if len(found) != 1 || found[0] == "" {
		return "", fmt.Errorf("%s is given %d times; want one value", name, len(found))
	}
	return found[0], nil
}

// String is the prediction for people.
func (p *prediction) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version       %s\ncommand line  %s\nimage         %s\n", p.Version, p.CommandLine, p.Image)
	for _, s := range p.Sections {
		fmt.Fprintf(&b, "%-13s %s  %d bytes\n", s.Name, s.Value, s.Size)
	}
	for _, v := range p.PCR11 {
		phase := v.Phase
		if phase == "" {
			phase = "before init"
		}
		fmt.Fprintf(&b, "PCR 11        %s  %s\n", v.Value, phase)
	}
	fmt.Fprintf(&b, "PCR 12        %s\n", p.PCR12)
	return b.String()
}
