// SPDX-License-Identifier: Apache-2.0

package eventlog_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"incamera/secureboot/eventlog"
)

// boot returns the two logs of a small start and the PCR values of a TPM that
// saw it, computed without the package's replay.
func boot(tb testing.TB) (firmware, phases []byte, want map[int][32]byte) {
	tb.Helper()
	l := eventlog.New()
	want = map[int][32]byte{}
	extend := func(pcr int, digest [32]byte) {
		v := want[pcr]
		want[pcr] = sha256.Sum256(append(v[:], digest[:]...))
	}
	measure := func(pcr int, t eventlog.Type, data string) {
		l.Measure(pcr, t, []byte(data))
		extend(pcr, sha256.Sum256([]byte(data)))
	}
	measure(0, eventlog.CRTMVersion, "1\x00.\x002\x00\x00\x00")
	measure(7, eventlog.VariableConfig, string(eventlog.Variable(eventlog.GlobalVariable, "SecureBoot", []byte{1})))
	measure(7, eventlog.VariableConfig, string(eventlog.Variable(eventlog.GlobalVariable, "PK", nil)))
	for pcr := range 8 {
		measure(pcr, eventlog.Separator, "\x00\x00\x00\x00")
	}
	image := sha256.Sum256([]byte("the image, hashed as Authenticode does"))
	l.Add(4, eventlog.BootApplication, image, eventlog.ImageLoad(4096, `\EFI\BOOT\BOOTAA64.EFI`))
	extend(4, image)
	l.Measure(0, eventlog.NoAction, []byte("a remark"))
	measure(11, eventlog.IPL, ".linux\x00")
	measure(11, eventlog.IPL, ".osrel\x00")

	phases = eventlog.PhaseHeader()
	for _, word := range []string{"enter-initrd", "leave-initrd", "sysinit", "ready"} {
		record, digest, err := eventlog.PhaseRecord(eventlog.PCRPhases, word)
		if err != nil {
			tb.Fatal(err)
		}
		phases = append(phases, record...)
		extend(eventlog.PCRPhases, digest)
	}
	return l.Encode(), phases, want
}

// check is what a verifier does with two logs.
func check(want map[int][32]byte, firmware, phases []byte) error {
	f, err := eventlog.Parse(firmware)
	if err != nil {
		return err
	}
	p, err := eventlog.ParsePhases(phases)
	if err != nil {
		return err
	}
	return eventlog.Check(want, f, p)
}

func TestReplay(t *testing.T) {
	firmware, phases, want := boot(t)
	if err := check(want, firmware, phases); err != nil {
		t.Error(err)
	}
	if err := check(nil, firmware, phases); !errors.Is(err, eventlog.ErrMismatch) {
		t.Errorf("Check against no PCR = %v; want ErrMismatch", err)
	}
	p, err := eventlog.ParsePhases(phases)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Words(eventlog.PCRPhases); !slices.Equal(got, []string{"enter-initrd", "leave-initrd", "sysinit", "ready"}) {
		t.Errorf("Words = %q", got)
	}
	// A judge that takes one log is given both: the records of the second
	// behind the first. The remark is left out: tpm2_eventlog 5.4 extends
	// EV_NO_ACTION records behind the first, which PFP, Section 10.4.5 forbids.
	f, err := eventlog.Parse(firmware)
	if err != nil {
		t.Fatal(err)
	}
	f.Events = slices.DeleteFunc(f.Events, func(e eventlog.Event) bool { return e.Type == eventlog.NoAction })
	joined := append(f.Encode(), phases[len(eventlog.PhaseHeader()):]...)
	if got := toolReplay(t, joined); !maps.Equal(got, want) {
		t.Errorf("tpm2_eventlog replays to %x; want %x", got, want)
	}
}

func TestPCRDigest(t *testing.T) {
	p := eventlog.Reset()
	p.Extend(7, sha256.Sum256([]byte("a")))
	want := sha256.Sum256(append(p[7][:], p[11][:]...))
	for _, selection := range [][]int{{7, 11}, {11, 7}, {11, 7, 7}} {
		if got := p.Digest(selection...); got != want {
			t.Errorf("Digest(%v) = %x; want %x", selection, got, want)
		}
	}
	if p[17] != [32]byte(bytes.Repeat([]byte{0xff}, 32)) || p[16] != [32]byte{} || p[23] != [32]byte{} {
		t.Error("Reset: PCRs 17 to 22 are ones and no others")
	}
}

// The locality of TPM2_Startup is PCR 0's first value; the replay of a
// published log with one is in TestVectors.
func TestStartupLocality(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(l *eventlog.Log)
		want error
	}{
		{"at the start", func(l *eventlog.Log) { l.Measure(0, eventlog.NoAction, []byte("StartupLocality\x00\x03")) }, nil},
		{"in PCR 1", func(l *eventlog.Log) { l.Measure(1, eventlog.NoAction, []byte("StartupLocality\x00\x03")) }, eventlog.ErrMalformed},
		{"locality 1", func(l *eventlog.Log) { l.Measure(0, eventlog.NoAction, []byte("StartupLocality\x00\x01")) }, eventlog.ErrMalformed},
		{"too long", func(l *eventlog.Log) { l.Measure(0, eventlog.NoAction, []byte("StartupLocality\x00\x03\x00")) }, eventlog.ErrMalformed},
		{"twice", func(l *eventlog.Log) {
			l.Measure(0, eventlog.NoAction, []byte("StartupLocality\x00\x03"))
			l.Measure(0, eventlog.NoAction, []byte("StartupLocality\x00\x03"))
		}, eventlog.ErrMalformed},
		{"after an event", func(l *eventlog.Log) {
			l.Measure(0, eventlog.Action, []byte("x"))
			l.Measure(0, eventlog.NoAction, []byte("StartupLocality\x00\x03"))
		}, eventlog.ErrMalformed},
	} {
		l := eventlog.New()
		c.make(l)
		pcrs, err := eventlog.Replay(l)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v; want %v", c.name, err, c.want)
		}
		if err == nil && pcrs[0] != [32]byte{31: 3} {
			t.Errorf("%s: PCR 0 = %x", c.name, pcrs[0])
		}
		if _, err := eventlog.Replay(eventlog.New(), l); !errors.Is(err, eventlog.ErrMalformed) {
			t.Errorf("%s in a second log: %v; want ErrMalformed", c.name, err)
		}
	}
}

func TestReplayRefuses(t *testing.T) {
	l := eventlog.New()
	l.Measure(17, eventlog.Action, []byte("x"))
	if _, err := eventlog.Replay(l); !errors.Is(err, eventlog.ErrMalformed) {
		t.Errorf("PCR 17: %v; want ErrMalformed", err)
	}
	sha1Form, err := eventlog.Parse(append([]byte{0, 0, 0, 0, 3, 0, 0, 0}, make([]byte, 24)...)) // a remark alone
	if err != nil {
		t.Fatal(err)
	}
	if _, err := eventlog.Replay(sha1Form); !errors.Is(err, eventlog.ErrBank) {
		t.Errorf("log of SHA-1 form: %v; want ErrBank", err)
	}
	l = eventlog.New()
	l.Measure(3, eventlog.NoAction, []byte("x"))
	if l.Events[0].Authentic() {
		t.Error("a remark passes for bound by the replay")
	}
	l = eventlog.New()
	l.Measure(3, eventlog.Action, []byte("x"))
	l.Events[0].Digests = nil
	if _, err := eventlog.Replay(l); !errors.Is(err, eventlog.ErrBank) {
		t.Errorf("event without digest: %v; want ErrBank", err)
	}
}

func TestParseRefuses(t *testing.T) {
	firmware, _, _ := boot(t)
	header := len(eventlog.PhaseHeader())
	put32 := func(at int, v uint32) []byte {
		b := slices.Clone(firmware)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	many := eventlog.New()
	for range eventlog.MaxEvents + 1 {
		many.Add(0, eventlog.NoAction, [32]byte{}, nil)
		many.Events[len(many.Events)-1].Digests = nil
	}
	if _, err := eventlog.Parse(many.Encode()[:len(many.Encode())-16]); err != nil {
		t.Errorf("%d events: %v", eventlog.MaxEvents, err)
	}
	big := eventlog.New()
	big.Measure(0, eventlog.Action, make([]byte, eventlog.MaxData))
	if _, err := eventlog.Parse(big.Encode()); err != nil {
		t.Errorf("%d bytes of data: %v", eventlog.MaxData, err)
	}
	tooBig := eventlog.New()
	tooBig.Measure(0, eventlog.Action, make([]byte, eventlog.MaxData+1))

	for _, c := range []struct {
		name, want string
		log        []byte
	}{
		{"nothing", "cut short", nil},
		{"larger than the limit", "more than 196608", make([]byte, eventlog.MaxLog+1)},
		{"more events than the limit", "more than 4096 events", many.Encode()},
		{"more data than the limit", "more than 65536", tooBig.Encode()},
		{"a byte left over", "cut short", append(slices.Clone(firmware), 0)},
		{"PCR 24", "PCR 24", put32(header, 24)},
		{"no PCR, but a digest", "PCR 4294967295", put32(header, 0xffffffff)},
		{"two digests of one algorithm", "2 digests", put32(header+8, 2)},
		{"2^32-1 digests", "4294967295 digests", put32(header+8, 0xffffffff)},
		{"an algorithm that the log does not list", "not in the spec id record", put32(header+12, 0x0004)},
		{"2^32-1 bytes of data", "more than 65536", put32(header+12+2+32, 0xffffffff)},
		{"data past the end", "data cut short", put32(header+12+2+32, 65536)},
		{"a byte too many in the spec id record", "length does not fit", func() []byte {
			b := slices.Insert(slices.Clone(firmware), header, 0)
			b[28]++ // its size
			return b
		}()},
		{"version 1", "version 1", func() []byte { b := slices.Clone(firmware); b[32+16+5] = 1; return b }()},
		{"no algorithms", "0 algorithms", put32(32+16+8, 0)},
		{"2^32-1 algorithms", "4294967295 algorithms", put32(32+16+8, 0xffffffff)},
		{"SHA-256 of 20 bytes", "digests of 20 bytes", put32(32+16+12, 20<<16|0x000b)},
		{"unknown algorithm with digests of 65,535 bytes", "digests of 65535 bytes", put32(32+16+12, 0xffff_7777)},
		{"spec id record in PCR 1", "extends a PCR", put32(0, 1)},
		{"spec id record with a digest", "extends a PCR", put32(8, 1)},
	} {
		_, err := eventlog.Parse(c.log)
		if !errors.Is(err, eventlog.ErrMalformed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Parse(%s) = %v; want ErrMalformed with %q", c.name, err, c.want)
		}
	}
	for n := range firmware {
		// What is left of a log cut between two records is a log, which only
		// a replay refuses: TestMutations.
		if l, err := eventlog.Parse(firmware[:n]); err == nil && !bytes.Equal(l.Encode(), firmware[:n]) {
			t.Errorf("Parse of the first %d bytes read something else", n)
		}
	}
}

func TestPhaseLogRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		pcr  int
		word string
	}{
		{"a PCR of the firmware", 7, "ready"},
		{"a PCR that can be reset", 16, "ready"},
		{"no word", 11, ""},
		{"a long word", 11, strings.Repeat("x", 257)},
		{"two words", 11, "ready ready"},
		{"an escape", 11, "ready\x1b[2J"},
	} {
		if _, _, err := eventlog.PhaseRecord(c.pcr, c.word); err == nil {
			t.Errorf("PhaseRecord took %s", c.name)
		}
		l := eventlog.New()
		l.Measure(c.pcr, eventlog.IPL, []byte(c.word))
		if _, err := eventlog.ParsePhases(l.Encode()); !errors.Is(err, eventlog.ErrMalformed) {
			t.Errorf("ParsePhases(%s) = %v; want ErrMalformed", c.name, err)
		}
	}
	l := eventlog.New()
	l.Add(11, eventlog.IPL, sha256.Sum256([]byte("ready")), []byte("enter-initrd"))
	if _, err := eventlog.ParsePhases(l.Encode()); !errors.Is(err, eventlog.ErrMalformed) {
		t.Errorf("a word with the digest of another: %v", err)
	}
	l = eventlog.New()
	l.Measure(11, eventlog.NoAction, []byte("ready"))
	if _, err := eventlog.ParsePhases(l.Encode()); !errors.Is(err, eventlog.ErrMalformed) {
		t.Errorf("a record that extends nothing: %v", err)
	}
	l = eventlog.New()
	for range 65 {
		l.Measure(11, eventlog.IPL, []byte("x"))
	}
	if _, err := eventlog.ParsePhases(l.Encode()); !errors.Is(err, eventlog.ErrMalformed) {
		t.Errorf("65 records: %v", err)
	}
	// The same record in a log of two banks, of which the phase log fills one.
	both := eventlog.PhaseHeader()
	both[28] += 4     // size of the record
	both[32+16+8] = 2 // algorithms
	both = slices.Insert(both, 32+16+16, 0x04, 0, 20, 0)
	record, _, err := eventlog.PhaseRecord(11, "ready")
	if err != nil {
		t.Fatal(err)
	}
	both = append(both, record...)
	if _, err := eventlog.Parse(both); err != nil {
		t.Fatal(err)
	}
	if _, err := eventlog.ParsePhases(both); !errors.Is(err, eventlog.ErrMalformed) {
		t.Errorf("two banks: %v", err)
	}
	firmware, _, _ := boot(t)
	if _, err := eventlog.ParsePhases(firmware); !errors.Is(err, eventlog.ErrMalformed) {
		t.Errorf("the firmware's log as phase log: %v", err)
	}
}
