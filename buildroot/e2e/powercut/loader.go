// SPDX-License-Identifier: Apache-2.0

package powercut

import (
	"cmp"
	"encoding/binary"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A bootEntry is a UKI as systemd-boot sees it: by its name.
type bootEntry struct {
	name       string
	version    string
	counted    bool
	left, done int
}

var bootNames = regexp.MustCompile(`^in-camera_([0-9][0-9A-Za-z.-]*?)(?:\+([0-9]{1,9})(?:-([0-9]{1,9}))?)?\.efi$`)

// isUKI reports whether a file is what the loader lists: a PE image with a section
// that says which system it is (systemd 254, config_entry_add_unified). A name that
// Linux gave a file, and the cut kept from getting its content, has no bytes.
func isUKI(b []byte) bool {
	le := binary.LittleEndian
	if len(b) < 64 || b[0] != 'M' || b[1] != 'Z' {
		return false
	}
	at := int64(le.Uint32(b[60:]))
	if at+24 > int64(len(b)) || string(b[at:at+4]) != "PE\x00\x00" {
		return false
	}
	sections := b[min(at+24+int64(le.Uint16(b[at+20:])), int64(len(b))):]
	for range le.Uint16(b[at+6:]) {
		if len(sections) < 40 {
			return false
		}
		if string(sections[:8]) == ".osrel\x00\x00" {
			return true
		}
		sections = sections[40:]
	}
	return false
}

// bootEntries reads the names of the UKIs among the names of a folder. Others it
// leaves out, as the loader does: it takes files that end in .efi.
func bootEntries(names []string) []bootEntry {
	var found []bootEntry
	for _, name := range names {
		m := bootNames.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		e := bootEntry{name: name, version: m[1], counted: m[2] != ""}
		e.left, _ = strconv.Atoi("0" + m[2]) // digits, by the pattern
		e.done, _ = strconv.Atoi("0" + m[3])
		found = append(found, e)
	}
	return found
}

// chosen returns the entries that the loader would start, of the names of a
// folder: the first of its order (systemd 254, boot_entry_compare), and those
// that are no worse, of which its list has either first.
func chosen(names []string) []bootEntry {
	all := bootEntries(names)
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, compareEntries)
	n := 1
	for n < len(all) && compareEntries(all[0], all[n]) == 0 {
		n++
	}
	return all[:n]
}

// compareEntries puts what has no tries left last, then the newer version first,
// then more tries left, then fewer done. All of ours have one sort key.
func compareEntries(a, b bootEntry) int {
	if a.spent() != b.spent() {
		if a.spent() {
			return 1
		}
		return -1
	}
	if c := compareVersions(b.version, a.version); c != 0 {
		return c
	}
	if !a.counted || !b.counted {
		return 0
	}
	return cmp.Or(cmp.Compare(b.left, a.left), cmp.Compare(a.done, b.done))
}

func (e bootEntry) spent() bool { return e.counted && e.left == 0 }

// compareVersions is strverscmp_improved of systemd (UAPI version format): parts
// of digits by value, parts of letters by spelling, "~" below the end, "-" below
// "^" below "." below either.
func compareVersions(a, b string) int {
	for {
		a, b = strings.TrimLeftFunc(a, ignored), strings.TrimLeftFunc(b, ignored)
		done, c := compareMark(&a, &b, "~")
		if c != 0 {
			return c
		}
		if done {
			continue
		}
		if a == "" || b == "" {
			return cmp.Compare(len(a), len(b))
		}
		for _, mark := range []string{"-", "^", "."} {
			if done, c = compareMark(&a, &b, mark); c != 0 {
				return c
			}
			if done {
				break
			}
		}
		if done {
			continue
		}
		if digit(rune(a[0])) || digit(rune(b[0])) {
			c = compareParts(&a, &b, digit, func(x, y string) int {
				x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
				return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
			})
		} else {
			c = compareParts(&a, &b, letter, cmp.Compare[string])
		}
		if c != 0 {
			return c
		}
	}
}

// compareMark takes a mark from the front of both; if only one has it, that one
// is lower.
func compareMark(a, b *string, mark string) (done bool, c int) {
	x, inA := strings.CutPrefix(*a, mark)
	y, inB := strings.CutPrefix(*b, mark)
	switch {
	case inA && inB:
		*a, *b = x, y
		return true, 0
	case inA:
		return false, -1
	case inB:
		return false, 1
	}
	return false, 0
}

// compareParts takes the leading part of a kind from both and compares them. An
// empty one is lower.
func compareParts(a, b *string, kind func(rune) bool, compare func(x, y string) int) int {
	x, restA := span(*a, kind)
	y, restB := span(*b, kind)
	*a, *b = restA, restB
	if (x == "") != (y == "") {
		return cmp.Compare(len(x), len(y))
	}
	return compare(x, y)
}

func span(s string, kind func(rune) bool) (part, rest string) {
	rest = strings.TrimLeftFunc(s, kind)
	return s[:len(s)-len(rest)], rest
}

func digit(r rune) bool   { return r >= '0' && r <= '9' }
func letter(r rune) bool  { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
func ignored(r rune) bool { return !digit(r) && !letter(r) && !strings.ContainsRune("~-^.", r) }
