// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"incamera/buildroot/e2e/harness"
	"incamera/buildroot/e2e/panel"
)

// TestSite is the life of two rooms of one site, from new boxes to the factory
// again: what a booted system must show, with a real verifier beside it. Each step
// needs those before, so the first that fails ends it.
func TestSite(t *testing.T) {
	w := newWorld(t)
	w.step(t, "SetUp", w.setUp)
	w.step(t, "Reboot", w.reboot)
	w.step(t, "TestDriversAbsent", w.idle)
	w.step(t, "Attested", w.attested)
	w.step(t, "Meeting", w.meeting)
	w.step(t, "UpdateInCall", w.updateInCall)
	w.step(t, "OlderRefused", w.olderRefused)
	w.step(t, "BadBundles", w.badBundles)
	w.step(t, "Cancelled", w.cancelled)
	w.step(t, "FailedHealth", w.failedHealth)
	w.step(t, "USBImport", w.usbImport)
	w.step(t, "PairedDoor", w.pairedDoor)
	w.step(t, "FactoryReset", w.factoryReset)
	w.step(t, "PowerCuts", w.powerCuts)
}

// A world is a site, a network and two rooms.
type world struct {
	site    *site
	network *harness.Network
	a, b    *room

	before  *harness.Machine // the box of room a, as it was before its update
	log     string           // what was written to its disk from then on
	updated int              // entries of the log when the update began
	stick   string           // image
	timed   bool             // a start alone was timed
}

func newWorld(t *testing.T) *world {
	w := &world{}
	keys := os.Getenv("E2E_KEYS")
	w.site = newSite(t, keys)
	var err error
	w.network, err = harness.NewNetwork(t.Context(), t.TempDir(), 2, map[int]string{verifierPort: w.site.listen})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.network.Close)
	w.a = &room{box: newBoxNumber(t, 0), id: "vauban", name: "Vauban", number: 0, site: w.site, network: w.network, life: t}
	w.b = &room{box: newBoxNumber(t, 1), id: "curie", name: "Curie", number: 1, site: w.site, network: w.network, life: t}
	w.log = filepath.Join(w.a.Dir, "writes.log")
	return w
}

func (w *world) step(t *testing.T, name string, f func(*testing.T)) {
	if !t.Run(name, f) {
		t.FailNow()
	}
}

// setUp: two new boxes are set up on their panels, by invitations of the site, and
// admitted by its staff.
func (w *world) setUp(t *testing.T) {
	for _, release := range []string{"A", "B", "C"} { // in the order of the log
		w.site.do(t, nil, "bundle", "add", w.a.bundle(release))
	}
	for _, version := range []string{versionA, versionB} {
		w.site.do(t, nil, "bundle", "approve", "-board", board, version)
	}
	for _, r := range []*room{w.a, w.b} {
		r.switchOn(t, "set-up", harness.Options{})
	}
	for _, r := range []*room{w.a, w.b} {
		r.setUpSystem(t)
	}
	for _, r := range []*room{w.a, w.b} {
		r.join(t)
	}
}

// board is what bundles call the board of the image.
const board = "qemu-arm64/debian"

// reboot: switched off and on again, both rooms open their data without anybody,
// and serve. What room a writes to its disk from here on is kept.
func (w *world) reboot(t *testing.T) {
	for _, r := range []*room{w.a, w.b} {
		r.panel.Close()
		r.on.Stop()
	}
	var err error
	dir := filepath.Join(w.a.Dir, "before")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if w.before, err = w.a.Clone(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	w.a.switchOn(t, "reboot", harness.Options{WriteLog: w.log})
	w.b.switchOn(t, "reboot", harness.Options{})
	phases := []phase{w.a.phase(t, "firmware and loader", "in-camera: release "), w.a.phase(t, "init", "in-camera: starting the system")}
	w.a.connect(t, w.a.id)
	phases = append(phases, w.a.asked(t, "system and room, to the panel"))
	w.b.on.expect(t, "in-camera: unlocked the data by the TPM", attended...)
	w.b.connect(t, w.b.id)
	figureTPM(phases)
}

// phase waits for a word of a start that goes without a person, and takes what the
// TPM was asked until then.
func (r *room) phase(t *testing.T, name, word string) phase {
	t.Helper()
	r.on.expect(t, word, attended...)
	return r.asked(t, name)
}

func (r *room) asked(t *testing.T, name string) phase {
	t.Helper()
	commands, err := r.on.Asked()
	if err != nil {
		t.Fatal(err)
	}
	return phase{name, commands}
}

// attended is what no start may say that goes without a person.
var attended = append([]string{"RECOVERY KEY", "being set up"}, stopped...)

// attested: each room answers a challenge, and the verifier finds that it runs
// what the build's reference values say. The TPMs are programs: the site accepts
// that, and its verdict says so.
func (w *world) attested(t *testing.T) {
	for _, r := range []*room{w.a, w.b} {
		r.verify(t, versionA)
	}
}

// meeting: the rooms meet; both panels show both rooms verified, and one security
// code.
func (w *world) meeting(t *testing.T) {
	call(t, w.a, w.b, map[string]string{w.a.name: versionA, w.b.name: versionA})
	t.Logf("security code %s on both panels, suite %s", w.a.panel.Text("Call/SecurityCode/Code"), w.a.panel.Text("Call/Suite"))
}

// idle: at rest the booted system has no driver that only tests use, and the
// shipped kernel has none built in.
func (w *world) idle(t *testing.T) {
	w.noTestOptions(t)
	figureSizes(t, w.a.image)
	r := w.b
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", w.network.Reach(r.number, harness.PortReport))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r.on.expect(t, "Finished test-drivers.service", "Assertion failed for No driver", "Dependency failed for Report")
	figureMemory(t, r.on.expect(t, "MemoryCurrent="))
}

// offered has the panel look until it offers a release or a file: a stick that was
// just plugged in takes a moment.
func (r *room) offered(t *testing.T, id string) {
	t.Helper()
	ctx := within(t, stepFor)
	for {
		r.do(t, "Updates/Check", nil)
		one, cancel := context.WithTimeout(ctx, lookStep)
		err := r.panel.Await(one, "an offer of "+id, func() bool { return r.panel.Value("Updates/Offered/"+id) != nil }, "Updates")
		cancel()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: %v", r.name, err)
		}
	}
}

// lookStep is how long to wait for an offer before the panel looks again.
const lookStep = 2 * time.Second

// updateInCall: B is installed while the call runs, which goes on; the restart
// waits for its end and comes by itself. B proves itself and raises the floor, the
// data opens without anybody, and the room is verified in the next meeting.
func (w *world) updateInCall(t *testing.T) {
	w.updated = w.entries(t)
	wrote, began := w.written(t), time.Now()
	w.a.offered(t, "site-"+versionB)
	w.a.do(t, "Updates/Download", map[string]any{"Version": versionB})
	w.a.await(t, updateFor, "B to wait for the end of the call", func() bool {
		return w.a.panel.Text("Updates/State") == "Waiting" && w.a.panel.Text("Updates/BlockedBy") == "Call"
	}, "Updates", "Call/State")
	installed := time.Since(began)
	figure("update: bundle to armed, in a call", "%.0f s, %.1f MB written", installed.Seconds(), float64(w.written(t)-wrote)/1e6)
	for _, r := range []*room{w.a, w.b} {
		if state := r.panel.Text("Call/State"); state != "Connected" || !verified(r, map[string]string{w.a.name: versionA, w.b.name: versionA}) {
			t.Fatalf("%s: after the installation the call is %s: %v", r.name, state, r.panel.Value("Roster"))
		}
		for _, e := range r.panel.Events() {
			if e.Path == "Call/Left" {
				t.Fatalf("%s: the call did not last: %v", r.name, e)
			}
		}
	}
	hangUp(t, w.a, w.b)
	restarted := time.Now()
	if err := w.a.panel.Ended(within(t, stepFor)); err != nil {
		t.Fatal(err)
	}
	w.a.committed(t, versionB)
	figure("update: hang-up to committed", "%.0f s, %.1f MB written in all", time.Since(restarted).Seconds(), float64(w.written(t)-wrote)/1e6)
	w.a.await(t, stepFor, "the floor to rise", func() bool { return numberIs(w.a.panel.Value("Updates/Floor"), 2) }, "Updates")
	w.a.verify(t, versionB)
	call(t, w.a, w.b, map[string]string{w.a.name: versionB, w.b.name: versionA})
	hangUp(t, w.b, w.a)
}

// committed waits for the trial of a release, which starts without anybody, and
// for its end.
func (r *room) committed(t *testing.T, version string) {
	t.Helper()
	r.on.expect(t, "in-camera: on trial: read all ", attended...)
	r.on.expect(t, "in-camera: unlocked the data by the TPM", attended...)
	r.connect(t, r.id)
	r.await(t, updateFor, version+" to be committed", func() bool {
		return r.panel.Text("Updates/Running") == version && r.panel.Text("Updates/State") == "Committed"
	}, "Updates")
}

func numberIs(v any, want float64) bool {
	n, ok := v.(float64)
	return ok && n == want
}

// written is what room a has written to its disk since it was switched on.
func (w *world) written(t *testing.T) int64 {
	t.Helper()
	n, err := w.a.on.Written(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// refused imports a file of the stick and wants the room to refuse it with a
// reason, and to go on as it is.
func (r *room) refused(t *testing.T, file string, older bool, reason string) {
	t.Helper()
	running := r.panel.Text("Updates/Running")
	r.do(t, "Updates/Import", map[string]any{"Name": file, "Older": older})
	r.await(t, stepFor, "a refusal of "+file, func() bool {
		return r.panel.Text("Updates/State") == "Idle" && r.panel.Text("Updates/Failure/Reason") != ""
	}, "Updates")
	if got := r.panel.Text("Updates/Failure/Reason"); got != reason || r.panel.Text("Updates/Running") != running {
		t.Errorf("%s is refused as %q, want %q: %v", file, got, reason, r.panel.Value("Updates"))
	}
	t.Logf("%s: %s: %s", file, reason, r.panel.Text("Updates/Failure/Detail"))
}

// olderRefused: below the floor there is no way back, whoever asks.
func (w *world) olderRefused(t *testing.T) {
	w.plug(t, w.a)
	file := filepath.Base(w.a.bundle("A"))
	w.a.offered(t, file)
	w.a.refused(t, file, false, "below_floor")
	w.a.refused(t, file, true, "below_floor")
	w.a.verify(t, versionB)
}

// cancelled: a person stops an installation; the room goes on as it is, and
// nothing is armed.
func (w *world) cancelled(t *testing.T) {
	r := w.b
	r.offered(t, "site-"+versionB)
	r.do(t, "Updates/Download", map[string]any{"Version": versionB})
	r.awaitText(t, "Updates/State", "Writing")
	r.do(t, "Updates/Cancel", nil)
	r.awaitText(t, "Updates/State", "Idle")
	if f := r.panel.Value("Updates/Failure"); f != nil {
		t.Errorf("a cancelled release left %v", f)
	}
	r.verify(t, versionA)
}

// failedHealth: C starts but its room does not work; the box goes back to what ran
// before, by itself, and the panel says why.
func (w *world) failedHealth(t *testing.T) {
	r := w.b
	file := filepath.Base(r.bundle("C"))
	r.offered(t, file)
	r.do(t, "Updates/Import", map[string]any{"Name": file})
	began := time.Now()
	if err := r.panel.Ended(within(t, updateFor)); err != nil {
		t.Fatal(err)
	}
	r.on.expect(t, "in-camera: on trial: read all ", attended...)
	r.on.expect(t, "in-camera: unlocked the data by the TPM", attended...)
	// The next start is of what ran before.
	ctx, cancel := context.WithTimeout(r.on.ctx, updateFor)
	defer cancel()
	if _, err := r.on.Expect(ctx, "in-camera: release "+versionA+",", stopped...); err != nil {
		t.Fatal(err)
	}
	r.on.expect(t, "in-camera: unlocked the data by the TPM", attended...)
	r.connect(t, r.id)
	r.awaitText(t, "Updates/State", "RolledBack")
	if r.panel.Text("Updates/Running") != versionA || r.panel.Text("Updates/Failure/Version") != versionC || r.panel.Text("Updates/Failure/Reason") != "unhealthy" {
		t.Errorf("after C the panel says %v", r.panel.Value("Updates"))
	}
	t.Logf("back after %.0f s: %v", time.Since(began).Seconds(), r.panel.Value("Updates/Failure"))
	r.verify(t, versionA)
}

// usbImport: B comes from a stick, with no site.
func (w *world) usbImport(t *testing.T) {
	r := w.b
	file := filepath.Base(r.bundle("B"))
	r.offered(t, file)
	r.do(t, "Updates/Import", map[string]any{"Name": file})
	if err := r.panel.Ended(within(t, updateFor)); err != nil {
		t.Fatal(err)
	}
	r.committed(t, versionB)
	r.verify(t, versionB)
}

// factoryReset: the panel has the box destroy its keys, by the serial number on
// its plate; it comes back as a new box.
func (w *world) factoryReset(t *testing.T) {
	r := w.b
	if err := r.panel.Do(within(t, stepFor), "System/FactoryReset", map[string]any{"Serial": "another"}); err == nil {
		t.Fatal("a factory reset with another box's serial number")
	}
	err := r.panel.Do(within(t, stepFor), "System/FactoryReset", map[string]any{"Serial": r.panel.Text("System/Serial")})
	if refusal, ok := errors.AsType[*panel.Refusal](err); ok { // other errors are of a room that restarts at once
		t.Fatal(refusal)
	}
	r.on.expect(t, "in-camera: RESET: begun by the system")
	r.on.expect(t, "in-camera: factory state")
	r.on.expect(t, "in-camera: a new room: it is being set up", stopped...)
	r.setUpSystem(t)
	r.connect(t, "")
	r.awaitText(t, "Setup/State", "Needed")
}
