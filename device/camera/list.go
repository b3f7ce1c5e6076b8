// SPDX-License-Identifier: Apache-2.0

package camera

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"incamera/media/frame"
)

// Roots says where the system's files are. The zero value is the system.
type Roots struct {
	Dev string // default /dev
	Sys string // default /sys
}

func (r Roots) dev(name string) string {
	if r.Dev == "" {
		return filepath.Join("/dev", name)
	}
	return filepath.Join(r.Dev, name)
}

func (r Roots) class() string {
	root := r.Sys
	if root == "" {
		root = "/sys"
	}
	return filepath.Join(root, "class/video4linux")
}

// An Info tells one camera from others.
type Info struct {
	// Label is the stable name: what the camera calls itself, and where it is
	// plugged in. It is the same after a restart and after plugging in again
	// at the same socket, whatever number the kernel gives.
	Label string
	Path  string // of the device node, as it is now
}

// Bounds on what a device may tell about itself.
const (
	maxDevices   = 64
	maxSysFile   = 256
	maxNameRunes = 64
)

// List finds the cameras that sysfs knows, by name. What only passes on
// metadata or puts out pictures has no name here that opens: see [Video].
func List(roots Roots) ([]Info, error) {
	entries, err := os.ReadDir(roots.class())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // no camera was ever plugged in
	}
	if err != nil {
		return nil, fmt.Errorf("camera: list: %w", err)
	}
	var all []Info
	for _, e := range entries {
		if number, ok := strings.CutPrefix(e.Name(), "video"); !ok || !decimal(number) {
			continue
		}
		if len(all) == maxDevices {
			break
		}
		dir := filepath.Join(roots.class(), e.Name())
		// A USB camera has a second node of the same name, for metadata.
		if index := sysFile(dir, "index"); index != "" && index != "0" {
			continue
		}
		label := sysFile(dir, "name")
		if label == "" {
			label = "Camera"
		}
		if where := place(dir); where != "" {
			label += " at " + where
		}
		all = append(all, Info{label, roots.dev(e.Name())})
	}
	slices.SortFunc(all, func(a, b Info) int { return strings.Compare(a.Label, b.Label) })
	return all, nil
}

func decimal(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// sysFile reads one line of text, which a USB device may have chosen.
func sysFile(dir, name string) string {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSysFile))
	if err != nil {
		return ""
	}
	return clean(string(b))
}

// clean leaves printable text of bounded length.
func clean(s string) string {
	var runes []rune
	for _, r := range s {
		if r >= ' ' && r != 0x7f && r != 0xfffd && len(runes) < maxNameRunes {
			runes = append(runes, r)
		}
	}
	return strings.TrimSpace(string(runes))
}

// place is the name of the bus device, such as 1-2:1.0 of a USB socket.
func place(dir string) string {
	target, err := os.Readlink(filepath.Join(dir, "device"))
	if err != nil {
		return ""
	}
	return clean(filepath.Base(target))
}

// A Mode is what a camera can do.
type Mode struct {
	Format        string // four letters
	Width, Height int
	Rate          int // the highest, pictures a second; 0: the camera does not tell
}

// Bounds on enumerations, so that a broken driver cannot keep us for ever.
const (
	maxFormats   = 64
	maxSizes     = 128
	maxIntervals = 64
)

// modes asks for all that is understood.
func modes(n node) []Mode {
	var all []Mode
	for i := range uint32(maxFormats) {
		d := formatDesc{Index: i, Type: typeVideoCapture}
		if ask(n, reqEnumFormat, &d) != nil {
			break
		}
		if decoders[d.PixelFormat] == nil {
			continue
		}
		for j := range uint32(maxSizes) {
			s := frameSizeEnum{Index: j, PixelFormat: d.PixelFormat}
			if ask(n, reqEnumSizes, &s) != nil {
				break
			}
			width, height := s.Values[0], s.Values[1]
			if s.Type != discrete { // a range: the largest stands for it
				width, height = s.Values[1], s.Values[4]
			}
			if width > frame.MaxSide || height > frame.MaxSide || frame.CheckSize(int(width), int(height)) != nil {
				continue
			}
			all = append(all, Mode{fourccName(d.PixelFormat), int(width), int(height), fastest(n, d.PixelFormat, width, height)})
			if s.Type != discrete {
				break
			}
		}
	}
	return all
}

// fastest is the highest rate at a size.
func fastest(n node, pixelFormat, width, height uint32) int {
	best := 0
	for i := range uint32(maxIntervals) {
		v := frameIntervalEnum{Index: i, PixelFormat: pixelFormat, Width: width, Height: height}
		if ask(n, reqEnumIntervals, &v) != nil {
			break
		}
		if v.Values[0] > 0 { // of a range, the shortest interval comes first
			best = max(best, int(min(v.Values[1]/v.Values[0], 1000)))
		}
		if v.Type != discrete {
			break
		}
	}
	return best
}
