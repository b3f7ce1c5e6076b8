// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"incamera/buildroot/e2e/harness"
	"incamera/buildroot/e2e/powercut"
)

// figures are what the tests measured, in their order. What decides nothing is
// only printed: times are of an emulated processor.
var figures struct {
	sync.Mutex
	rows [][2]string
}

func figure(name, format string, args ...any) {
	figures.Lock()
	defer figures.Unlock()
	figures.rows = append(figures.rows, [2]string{name, fmt.Sprintf(format, args...)})
}

// printFigures writes the table that make e2e shows.
func printFigures(w io.Writer) {
	figures.Lock()
	defer figures.Unlock()
	for _, row := range figures.rows {
		fmt.Fprintf(w, "figure  %-40s %s\n", row[0], row[1])
	}
}

// Codes of commands with which the kernel's resource manager moves sessions and
// keys in and out (TPM 2.0, Part 2, Section 6.5.2).
var moving = map[uint32]bool{0x161: true, 0x162: true, 0x165: true}

// A phase is a part of a start, with all commands from power-on to its end.
type phase struct {
	name     string
	commands []uint32
}

// figureTPM counts the commands of a start by its phases, and in each those that
// ask for something.
func figureTPM(phases []phase) {
	before := 0
	for _, p := range phases {
		asking := 0
		part := p.commands[min(before, len(p.commands)):]
		for _, c := range part {
			if !moving[c] {
				asking++
			}
		}
		before = len(p.commands)
		figure("TPM commands: "+p.name, "%d, and %d by which the kernel moves contexts", asking, len(part)-asking)
	}
}

var panelLine = regexp.MustCompile(`(?m)^\[ *([0-9]+\.[0-9]+)\] roomd\[.*` + regexp.QuoteMeta(panelReady))

// panelAfter reads from the log of a boot how long the kernel had run, by its own
// clock, when roomd served the panel, in seconds.
func panelAfter(t *testing.T, log string) float64 {
	t.Helper()
	m := panelLine.FindSubmatch(readFile(t, log))
	if m == nil {
		t.Fatalf("%s does not say when the panel was ready", log)
	}
	s, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// figureStart starts the same kernel with a program that does nothing, alone like
// the room that took seconds to its panel, and compares.
func figureStart(t *testing.T, b *box, seconds float64) {
	t.Helper()
	probe := os.Getenv("E2E_PROBE")
	if probe == "" {
		t.Fatal("run by make e2e, which says where the probe's disk is")
	}
	m, err := harness.New(t.Context(), t.TempDir(), 0, probe, b.keys)
	if err != nil {
		t.Fatal(err)
	}
	r := (&box{m, b.releases, b.image, b.keys}).boot(t, "probe")
	bare, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(r.expect(t, "probe: ready after ", "Kernel panic")), " s"), 64)
	if err != nil {
		t.Fatal(err)
	}
	figure("kernel start to panel API", "%.1f s in the guest, %.1f with a bare init: %.1f times (target 3)", seconds, bare, seconds/bare)
}

// maxIdle is what a room at rest may use of its memory.
const maxIdle = 200 << 20

// figureMemory takes MemTotal less MemAvailable, in bytes.
func figureMemory(t *testing.T, text string) {
	t.Helper()
	used, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		t.Fatalf("memory in use: %v", err)
	}
	figure("memory in use when idle", "%.1f MB (target 200)", float64(used)/1e6)
	if used > maxIdle {
		t.Errorf("at rest the room uses %d bytes", used)
	}
}

// figureSizes takes the sizes of the release under test. Its root is compressed in
// less time than that of one that ships, and larger.
func figureSizes(t *testing.T, image string) {
	t.Helper()
	for _, f := range []struct {
		name, file string
		limit      int64
	}{{"root", "system.img", 60e6}, {"UKI", "uki.efi", 16 << 20}, {"kernel", "Image", 0}} {
		info, err := os.Stat(filepath.Join(image, f.file))
		if err != nil {
			t.Fatal(err)
		}
		target := ""
		if f.limit > 0 {
			target = fmt.Sprintf(" (target %.1f)", float64(f.limit)/1e6)
		}
		figure("size under test: "+f.name, "%.1f MB%s", float64(info.Size())/1e6, target)
		if f.limit > 0 && info.Size() > f.limit {
			t.Errorf("%s: %d bytes", f.name, info.Size())
		}
	}
}

// entries is how many writes the log of room a's disk has.
func (w *world) entries(t *testing.T) int {
	t.Helper()
	f, err := os.Open(w.log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := powercut.Entries(f)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// noTestOptions compares the options of the shipped kernel with those that only
// tests want.
func (w *world) noTestOptions(t *testing.T) {
	t.Helper()
	config := map[string]bool{}
	for line := range strings.Lines(string(readFile(t, filepath.Join(w.a.image, "kernel.config")))) {
		config[strings.TrimSpace(line)] = true
	}
	if !config["CONFIG_DM_VERITY=y"] {
		t.Fatal("kernel.config is not the kernel's")
	}
	for line := range strings.Lines(string(readFile(t, "../board/common/linux/test.config"))) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "CONFIG_") && config[line] {
			t.Errorf("the shipped kernel has %s", line)
		}
	}
}
