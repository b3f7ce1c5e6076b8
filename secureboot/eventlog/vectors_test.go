// SPDX-License-Identifier: Apache-2.0

package eventlog_test

import (
	"bufio"
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-attestation/attest"

	"incamera/secureboot/eventlog"
	"incamera/secureboot/internal/vectortest"
)

// vector is a line of attest/expected-eventlog.txt: a published log and what
// three independent parsers say.
type vector struct {
	name   string
	path   string // below attest
	log    []byte
	events int // without the Spec ID record, as the judges count
	ok     map[string]bool
}

var line = regexp.MustCompile(`^(\S+) +(\d+)B ev=(\d+) +go-attestation=(.+?) +go-eventlog=(.+?) +tpm2_eventlog=(\S+)$`)

func vectors(tb testing.TB) []vector {
	tb.Helper()
	var vs []vector
	lines := bufio.NewScanner(bytes.NewReader(vectortest.Load(tb, "attest/expected-eventlog.txt")))
	for lines.Scan() {
		m := line.FindStringSubmatch(lines.Text())
		if m == nil {
			tb.Fatalf("expected-eventlog.txt: %q", lines.Text())
		}
		v := vector{name: m[1], ok: map[string]bool{"go-attestation": m[4] == "ok", "go-eventlog": m[5] == "ok", "tpm2_eventlog": m[6] == "ok"}}
		switch {
		case strings.HasSuffix(v.name, "_eventlog"):
			v.path = "go-attestation/" + v.name
		case strings.HasPrefix(v.name, "event") || strings.HasPrefix(v.name, "specid") || strings.HasPrefix(v.name, "ek-") || strings.HasPrefix(v.name, "get-"):
			v.path = "tpm2-tools/test/integration/fixtures/" + v.name
		default:
			v.path = "go-eventlog/tpm/" + v.name
		}
		v.log = vectortest.Load(tb, "attest/"+v.path)
		if size, _ := strconv.Atoi(m[2]); size != len(v.log) {
			tb.Fatalf("%s has %d bytes; expected-eventlog.txt says %d", v.name, len(v.log), size)
		}
		v.events, _ = strconv.Atoi(m[3])
		vs = append(vs, v)
	}
	if len(vs) != 32 {
		tb.Fatalf("%d logs in expected-eventlog.txt; want 32", len(vs))
	}
	return vs
}

// choices are our verdicts where the judges disagree.
var choices = map[string]struct {
	accept bool
	why    string
}{
	"option_rom_eventlog":      {true, "well-formed; tpm2_eventlog 5.4 crashes on its last event, an EV_NO_ACTION in no PCR"},
	"short_no_action_eventlog": {true, "a well-formed log of SHA-1 form; replay refuses it, as it has no SHA-256"},
	"specid-vendordata.bin":    {false, "the vendor info lies beyond the end of the record that it belongs to"},
}

func TestVectors(t *testing.T) {
	var table strings.Builder
	row := func(name, verdict, judges, events, replay, why string) {
		fmt.Fprintf(&table, "%-48s %-9s %-9s %6s  %-15s %s\n", name, verdict, judges, events, replay, why)
	}
	row("log", "verdict", "judges", "events", "replay", "")
	var accepted, refused, disputed int
	for _, v := range vectors(t) {
		judges := map[int]string{0: "refused", 3: "accepted"}[v.accepting()]
		want, why := judges == "accepted", ""
		if judges == "" {
			c, known := choices[v.name]
			if !known {
				t.Errorf("%s: the judges disagree and no choice is made", v.name)
			}
			judges, want, why = "disagree", c.accept, c.why
			disputed++
		}
		l, err := eventlog.Parse(v.log)
		if got := err == nil; got != want {
			t.Errorf("Parse(%s): %v; want accepted %v, as the judges %s", v.name, err, want, judges)
			continue
		}
		if err != nil {
			refused++
			row(v.name, "refused", judges, "-", "-", why)
			continue
		}
		accepted++
		if !bytes.Equal(l.Encode(), v.log) {
			t.Errorf("%s: encoding it again gives other bytes", v.name)
		}
		if len(l.Events) != v.events {
			t.Errorf("%s: %d events; want %d", v.name, len(l.Events), v.events)
		}
		second, err := attest.ParseEventLog(v.log)
		if err != nil {
			t.Errorf("%s: go-attestation: %v", v.name, err)
			continue
		}
		compareEvents(t, v.name, l, second)
		row(v.name, "accepted", judges, strconv.Itoa(len(l.Events)), compareReplay(t, v.name, l, second), why)
	}
	fmt.Fprintf(&table, "%d accepted, %d refused; the judges disagree on %d\n", accepted, refused, disputed)
	vectortest.Print(t, "attest/eventlog", table.String())
}

// accepting counts the judges that accept the log.
func (v vector) accepting() int {
	n := 0
	for _, ok := range v.ok {
		if ok {
			n++
		}
	}
	return n
}

// compareReplay has go-attestation verify the PCR values that we replay to. It
// returns the result in words.
func compareReplay(t *testing.T, name string, l *eventlog.Log, second *attest.EventLog) string {
	t.Helper()
	pcrs, err := eventlog.Replay(l)
	if errors.Is(err, eventlog.ErrBank) {
		return "no SHA-256 bank"
	} else if err != nil {
		t.Errorf("%s: %v", name, err)
		return "not replayed"
	}
	extended := map[int]bool{}
	for _, e := range l.Events {
		extended[e.PCR] = e.Type != eventlog.NoAction || extended[e.PCR]
	}
	var claims []attest.PCR
	for i, yes := range extended {
		if yes {
			claims = append(claims, attest.PCR{Index: i, Digest: pcrs[i][:], DigestAlg: crypto.SHA256})
		}
	}
	if _, err := second.Verify(claims); err != nil {
		t.Errorf("%s: go-attestation: %v", name, err)
	}
	return fmt.Sprintf("%d PCRs", len(claims))
}

// compareEvents compares the SHA-256 digests with those that go-attestation
// reads.
func compareEvents(t *testing.T, name string, l *eventlog.Log, second *attest.EventLog) {
	t.Helper()
	theirs := second.Events(attest.HashSHA256)
	if len(theirs) != len(l.Events) {
		t.Errorf("%s: go-attestation reads %d events, we %d", name, len(theirs), len(l.Events))
		return
	}
	for i, e := range l.Events {
		sum, ok := e.SHA256()
		if !ok {
			sum = [32]byte{}
		}
		if o := theirs[i]; uint32(e.PCR) != uint32(o.Index) || uint32(e.Type) != uint32(o.Type) || !bytes.Equal(e.Data, o.Data) || ok && !bytes.Equal(sum[:], o.Digest) {
			t.Errorf("%s: %v is a %v in PCR %d to go-attestation", name, e, o.Type, o.Index)
		}
	}
}

// TestPublishedPCRs compares the replay of the logs of tpm2-tools with the PCR
// values that lie beside them.
func TestPublishedPCRs(t *testing.T) {
	compared := 0
	for _, name := range []string{
		"event-arch-linux.bin", "event-bootorder.bin", "event-gce-ubuntu-2104-log.bin", "event-postcode.bin",
		"event-sd-boot-fedora37.bin", "event-uefiaction.bin", "event-uefiservices.bin", "event-uefivar.bin",
	} {
		const fixtures = "attest/tpm2-tools/test/integration/fixtures/"
		l, err := eventlog.Parse(vectortest.Load(t, fixtures+name))
		if err != nil {
			t.Error(err)
			continue
		}
		want := pcrsOfYAML(t, vectortest.Load(t, fixtures+"event-raw/"+name+".yaml"))
		if err := eventlog.Check(want, l); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		compared += len(want)
		t.Logf("%-32s %2d PCRs", name, len(want))
	}
	t.Logf("%d PCR values compared", compared)
}

// TestToolReplaysVectors has tpm2_eventlog replay every published log that both
// it and we accept and that has SHA-256 digests.
func TestToolReplaysVectors(t *testing.T) {
	compared, logs := 0, 0
	for _, v := range vectors(t) {
		l, err := eventlog.Parse(v.log)
		if err != nil || !v.ok["tpm2_eventlog"] {
			continue
		}
		if _, err := eventlog.Replay(l); errors.Is(err, eventlog.ErrBank) {
			t.Logf("%s: %v", v.name, err)
			continue
		}
		want := toolReplay(t, v.log)
		if bytes.Contains(v.log, []byte("StartupLocality\x00")) {
			delete(want, 0) // tpm2_eventlog 5.4 extends that remark; go-attestation judges PCR 0 in TestVectors
		}
		if err := eventlog.Check(want, l); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
		compared += len(want)
		logs++
	}
	t.Logf("%d PCR values of %d logs compared", compared, logs)
	if logs < 24 {
		t.Errorf("only %d logs compared", logs)
	}
}

// toolReplay returns the PCR values that tpm2_eventlog replays a log to. Its
// exit status is not looked at: it tells of content that it finds unusual.
func toolReplay(tb testing.TB, log []byte) map[int][32]byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "log")
	if err := os.WriteFile(path, log, 0o600); err != nil {
		tb.Fatal(err)
	}
	out, err := exec.CommandContext(tb.Context(), "tpm2_eventlog", path).Output()
	if errors.Is(err, exec.ErrNotFound) {
		tb.Fatal("needs tpm2_eventlog: make deps")
	}
	return pcrsOfYAML(tb, out)
}

var pcrLine = regexp.MustCompile(`^ {4}(\d+) *: 0x([0-9a-f]+)$`)

// pcrsOfYAML returns the SHA-256 values at the end of what tpm2_eventlog prints.
func pcrsOfYAML(tb testing.TB, yaml []byte) map[int][32]byte {
	tb.Helper()
	pcrs, bank := map[int][32]byte{}, ""
	_, tail, found := strings.Cut(string(yaml), "\npcrs:")
	if !found {
		tb.Fatal("tpm2_eventlog printed no PCRs")
	}
	for l := range strings.Lines(tail) {
		l = strings.TrimRight(l, "\n")
		if m := pcrLine.FindStringSubmatch(l); m != nil && bank == "sha256" {
			v, err := hex.DecodeString(m[2])
			if err != nil || len(v) != 32 {
				tb.Fatalf("tpm2_eventlog printed %q", l)
			}
			i, _ := strconv.Atoi(m[1])
			pcrs[i] = [32]byte(v)
		} else if m == nil {
			bank = strings.Trim(l, " :")
		}
	}
	if len(pcrs) == 0 {
		tb.Fatal("tpm2_eventlog printed no SHA-256 values")
	}
	return pcrs
}
