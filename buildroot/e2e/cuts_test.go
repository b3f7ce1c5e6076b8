// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"incamera/buildroot/e2e/harness"
	"incamera/buildroot/e2e/powercut"
)

const (
	cuts   = 200
	booted = 5 // of them, one of each outcome at least
)

// powerCuts: the power goes at random instants of the update of room a, from the
// first byte to the floor. Whatever the disk may have kept, the room comes back
// with one whole system. CUT_SEED repeats the choices.
func (w *world) powerCuts(t *testing.T) {
	w.a.panel.Close()
	w.a.on.Stop() // so that the log is whole
	seed := uint64(os.Getpid())<<32 | uint64(w.entries(t))
	if text := os.Getenv("CUT_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("CUT_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	logFile, err := os.Open(w.log)
	if err != nil {
		t.Fatal(err)
	}
	defer logFile.Close()
	info, err := logFile.Stat()
	if err != nil {
		t.Fatal(err)
	}
	log, err := powercut.ReadLog(logFile, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	final := w.a.TPM() // after the floor rose
	disk, err := os.OpenFile(w.before.Disk(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	info, err = disk.Stat()
	if err != nil {
		t.Fatal(err)
	}
	judge, err := powercut.NewJudge(disk, info.Size(), w.release(t, "A", versionA), w.release(t, "B", versionB))
	if err != nil {
		t.Fatal(err)
	}
	parts, err := powercut.Partitions(disk, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	esp := parts["esp"]
	if n := len(slices.DeleteFunc(log.Within(esp.Offset, esp.Offset+esp.Size), func(i int) bool { return i >= w.updated })); n != 0 {
		t.Errorf("a start and a call without an update wrote to the ESP %d times", n)
	}
	replay, err := powercut.NewReplay(log, disk, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]int{}
	chosen := map[string][]string{} // disks to boot, by outcome
	for _, n := range instants(log, w.updated, esp, random) {
		if err := replay.Cut(n, random); err != nil {
			t.Fatal(err)
		}
		o, err := judge.Judge(disk)
		if err != nil {
			t.Errorf("cut after %d of %d writes: %v", n, log.Len(), err)
			continue
		}
		what := outcomeName(o)
		outcomes[what]++
		if len(chosen[what]) < 2 && random.IntN(4) == 0 || outcomes[what] == 1 {
			dir := filepath.Join(w.a.Dir, fmt.Sprintf("cut%d", n))
			if err := os.Mkdir(dir, 0o700); err != nil {
				continue // cut there already
			}
			m, err := w.before.Clone(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			if o.Version == versionB && !o.Trial {
				// Committed: by then the floor rose, or will with this start.
				if err := m.TakeTPM(final); err != nil {
					t.Fatal(err)
				}
			}
			chosen[what] = append(chosen[what], dir)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(outcomes)) {
		figure("power cuts: starts "+what, "%d of %d", outcomes[what], cuts)
	}
	if len(outcomes) < 3 {
		t.Errorf("the cuts had the outcomes %v only", outcomes)
	}
	n := 0
	for _, what := range slices.Sorted(maps.Keys(chosen)) {
		for _, dir := range chosen[what] {
			if n == booted {
				return
			}
			n++
			t.Run(fmt.Sprintf("Booted%d", n), func(t *testing.T) { w.bootCut(t, dir, what) })
		}
	}
}

func outcomeName(o powercut.Outcome) string {
	if o.Trial {
		return o.Version + " on trial"
	}
	return o.Version
}

// instants are where to cut, in order: half of them anywhere in the update, half
// around writes to the ESP, which are few and decide.
func instants(log *powercut.Log, from int, esp powercut.Partition, random *rand.Rand) []int {
	var at []int
	deciding := slices.DeleteFunc(log.Within(esp.Offset, esp.Offset+esp.Size), func(i int) bool { return i < from })
	for i := range cuts {
		if i%2 == 0 || len(deciding) == 0 {
			at = append(at, from+random.IntN(log.Len()-from+1))
		} else {
			at = append(at, min(deciding[random.IntN(len(deciding))]+random.IntN(3), log.Len()))
		}
	}
	slices.Sort(at)
	return at
}

// bootCut starts a box with a disk that a cut left: it starts the system that the
// judge said, and opens its data without anybody.
func (w *world) bootCut(t *testing.T, dir, what string) {
	b := &box{&harness.Machine{Dir: dir, MAC: w.a.MAC}, w.a.releases, w.a.image, w.a.keys}
	r := b.boot(t, "cut")
	version, trial := strings.CutSuffix(what, " on trial")
	r.expect(t, "in-camera: release "+version+",", stopped...)
	if trial {
		r.expect(t, "in-camera: on trial: read all ", attended...)
	}
	r.expect(t, "in-camera: unlocked the data by the TPM", attended...)
	r.expect(t, "in-camera: starting the system", stopped...)
	t.Logf("%s: %s", filepath.Base(dir), what)
	if !w.timed && !trial {
		w.timed = true
		r.expect(t, panelReady, stopped...)
		figureStart(t, b, panelAfter(t, b.Dir+"/cut.log"))
	}
}

// release describes a release by what the build made of it.
func (w *world) release(t *testing.T, letter, version string) powercut.Release {
	t.Helper()
	dir := filepath.Join(w.a.releases, letter)
	r, err := powercut.NewRelease(version, readFile(t, filepath.Join(dir, "uki.efi")), readFile(t, filepath.Join(dir, "policies.cbor")),
		strings.TrimSpace(string(readFile(t, filepath.Join(dir, "cmdline")))))
	if err != nil {
		t.Fatal(err)
	}
	return r
}
