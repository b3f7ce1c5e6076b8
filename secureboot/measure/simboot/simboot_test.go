// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package simboot_test

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-attestation/attest"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/eventlog"
	"incamera/secureboot/measure"
	"incamera/secureboot/measure/measuretest"
	"incamera/secureboot/measure/simboot"
	"incamera/secureboot/tpm/tpmtest"
)

func firmware() simboot.Firmware {
	return simboot.Firmware{
		Version:    "2026.01",
		SecureBoot: true,
		PK:         []byte("pk"), KEK: []byte("kek"), DB: []byte("db"), DBX: nil,
		DBEntry:    []byte("entry of db"),
		Loader:     measuretest.Loader(),
		UKI:        measuretest.UKI("1.5.0"),
		BootOption: `\EFI\BOOT\BOOTAA64.EFI`, UKIOption: `\EFI\Linux\in-camera_1.5.0.efi`,
	}
}

// pcrs reads the SHA-256 bank of a TPM.
func pcrs(t *testing.T, chip transport.TPM) map[int][32]byte {
	t.Helper()
	values := map[int][32]byte{}
	for i := range uint(eventlog.NumPCRs) {
		r, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
			{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(i)},
		}}}.Execute(chip)
		if err != nil || len(r.PCRValues.Digests) != 1 {
			t.Fatalf("PCR %d: %v", i, err)
		}
		values[int(i)] = [32]byte(r.PCRValues.Digests[0].Buffer)
	}
	return values
}

// agree checks that the logs replay to all 24 PCRs of the TPM, and that
// tpm2_eventlog and go-attestation say the same of those that were extended.
func agree(t *testing.T, chip transport.TPM, log, phases []byte) {
	t.Helper()
	true24 := pcrs(t, chip)
	l, err := eventlog.Parse(log)
	if err != nil {
		t.Fatal(err)
	}
	p, err := eventlog.ParsePhases(phases)
	if err != nil {
		t.Fatal(err)
	}
	if err := eventlog.Check(true24, l, p); err != nil {
		t.Errorf("%v", err)
	}

	joined, err := attest.AppendEvents(log, phases)
	if err != nil {
		t.Fatalf("go-attestation: %v", err)
	}
	second, err := attest.ParseEventLog(joined)
	if err != nil {
		t.Fatalf("go-attestation: %v", err)
	}
	var claims []attest.PCR
	for i, v := range true24 {
		claims = append(claims, attest.PCR{Index: i, Digest: bytes.Clone(v[:]), DigestAlg: crypto.SHA256})
	}
	if _, err := second.Verify(claims); err != nil {
		t.Errorf("go-attestation: %v", err)
	}

	tool := toolReplay(t, joined)
	for i, v := range tool {
		if v != true24[i] && (i != 0 || !bytes.Contains(log, []byte("StartupLocality"))) { // of which tpm2_eventlog 5.4 knows nothing
			t.Errorf("tpm2_eventlog replays PCR %d to %x; the TPM has %x", i, v, true24[i])
		}
	}
	if len(tool) < 11 {
		t.Errorf("tpm2_eventlog saw %d PCRs", len(tool))
	}
	t.Logf("%d + %d events, %d + %d bytes: 24 PCRs equal, %d of them to tpm2_eventlog", len(l.Events), len(p.Events), len(log), len(phases), len(tool))
}

var pcrLine = regexp.MustCompile(`(?m)^ {4}(\d+) *: 0x([0-9a-f]{64})$`)

// toolReplay returns the PCR values that tpm2_eventlog replays a log to. It
// warns of EV_IPL in PCR 11, so its exit status says nothing.
func toolReplay(t *testing.T, log []byte) map[int][32]byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, log, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "tpm2_eventlog", path).Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatal("needs tpm2_eventlog: make deps")
	}
	_, tail, _ := strings.Cut(string(out), "\npcrs:")
	values := map[int][32]byte{}
	for _, m := range pcrLine.FindAllStringSubmatch(tail, -1) {
		i, _ := strconv.Atoi(m[1])
		b, _ := hex.DecodeString(m[2])
		values[i] = [32]byte(b)
	}
	return values
}

func TestBoot(t *testing.T) {
	chip := tpmtest.Simulator(t)
	f := firmware()
	log, phases, err := simboot.Boot(chip, f, measure.Phases()...)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, chip, log, phases)

	// What the build predicts is what the TPM has.
	sections, err := measure.Sections(f.UKI)
	if err != nil {
		t.Fatal(err)
	}
	boot, err := measure.BootEvents(f.Loader, f.UKI)
	if err != nil {
		t.Fatal(err)
	}
	var want eventlog.PCRs
	for _, e := range boot {
		want.Extend(e.PCR, e.Digest)
	}
	want[11] = measure.PCR11(sections, measure.Phases()...)
	want[12] = measure.PCR12(measuretest.CommandLine)
	got := pcrs(t, chip)
	for _, i := range []int{4, 11, 12} {
		if got[i] != want[i] {
			t.Errorf("PCR %d = %x; predicted %x", i, got[i], want[i])
		}
	}

	if _, err := simboot.Start(chip, f); err == nil || !strings.Contains(err.Error(), "reset the TPM first") {
		t.Errorf("Start on a TPM that has started = %v", err)
	}
	chip.Reset()
	f.UKI = measuretest.UKI("1.6.0")
	if _, _, err := simboot.Boot(chip, f, measure.Phases()...); err != nil {
		t.Fatal(err)
	}
	if after := pcrs(t, chip); after[11] == got[11] || after[4] == got[4] || after[12] != got[12] || after[7] != got[7] {
		t.Error("another UKI: PCRs 4 and 11 differ, 7 and 12 do not")
	}
}

// TestPhases follows PCR 11 through a start, as init and its units go.
func TestPhases(t *testing.T) {
	chip := tpmtest.Simulator(t)
	f := firmware()
	f.SecureBoot = false // the stub measures the command line as well
	m, err := simboot.Start(chip, f)
	if err != nil {
		t.Fatal(err)
	}
	sections, err := measure.Sections(f.UKI)
	if err != nil {
		t.Fatal(err)
	}
	for i, word := range measure.Phases() {
		if err := m.Extend(eventlog.PCRPhases, word); err != nil {
			t.Fatal(err)
		}
		if got, want := pcrs(t, chip)[11], measure.PCR11(sections, measure.Phases()[:i+1]...); got != want {
			t.Errorf("after %s PCR 11 = %x; want %x", word, got, want)
		}
	}
	if err := m.Extend(simboot.PCRIdentity, "machine:0123"); err != nil {
		t.Fatal(err)
	}
	if err := m.Extend(7, "ready"); err == nil {
		t.Error("Extend took a PCR of the firmware")
	}
	log, phases := m.Logs()
	agree(t, chip, log, phases)
	if pcrs(t, chip)[12] == measure.PCR12(measuretest.CommandLine) {
		t.Error("with Secure Boot off PCR 12 has one event; the stub adds another")
	}
}

// TestStartupLocality starts a swtpm from locality 3: its PCR 0 begins with 3.
func TestStartupLocality(t *testing.T) {
	chip := tpmtest.Swtpm(t)
	chip.Locality(3)
	chip.Reset()
	if got := pcrs(t, chip)[0]; got != [32]byte{31: 3} {
		t.Fatalf("PCR 0 = %x; want 3", got)
	}
	f := firmware()
	if _, err := simboot.Start(chip, f); err == nil {
		t.Error("Start took a TPM started from another locality")
	}
	f.StartupLocality = 3
	log, phases, err := simboot.Boot(chip, f, measure.Phases()...)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, chip, log, phases)
}

// TestMutatedLog shows that a log of which an event was taken away does not
// replay to the PCRs of the TPM that saw them all.
func TestMutatedLog(t *testing.T) {
	chip := tpmtest.Simulator(t)
	log, phases, err := simboot.Boot(chip, firmware(), measure.Phases()...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := eventlog.ParsePhases(phases)
	if err != nil {
		t.Fatal(err)
	}
	want := pcrs(t, chip)
	n := 0
	for i := 0; ; i++ {
		l, err := eventlog.Parse(log)
		if err != nil {
			t.Fatal(err)
		}
		if i == len(l.Events) {
			break
		}
		l.Events = append(l.Events[:i], l.Events[i+1:]...)
		if err := eventlog.Check(want, l, p); !errors.Is(err, eventlog.ErrMismatch) {
			t.Errorf("without event %d: %v; want ErrMismatch", i+1, err)
		}
		n++
	}
	t.Logf("%d logs refused", n)
}
