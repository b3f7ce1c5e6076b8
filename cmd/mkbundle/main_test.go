// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sys/unix"

	"incamera/secureboot/eventlog"
	"incamera/secureboot/evidence"
	"incamera/secureboot/measure"
	"incamera/secureboot/measure/measuretest"
	"incamera/secureboot/seal"
)

// TestMain lets the test's own binary be the program, so that tests see what a
// build script sees: exit status, output and files.
func TestMain(m *testing.M) {
	if os.Getenv("MKBUNDLE_IS_MAIN") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

// mkbundle runs the program in dir.
func mkbundle(t *testing.T, dir string, args ...string) (exit int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "MKBUNDLE_IS_MAIN=1")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
}

// must runs the program and fails the test unless it succeeds.
func must(t *testing.T, dir string, args ...string) string {
	t.Helper()
	exit, stdout, stderr := mkbundle(t, dir, args...)
	if exit != 0 || stderr != "" {
		t.Fatalf("mkbundle %s: exit %d\n%s", strings.Join(args, " "), exit, stderr)
	}
	return stdout
}

func put(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The calls of a build, in order, for a folder made by inputs.
var (
	callKeys     = []string{"keys", "-out", "keys"}
	callUKI      = []string{"uki", "-stub", "stub", "-linux", "linux", "-initrd", "initrd", "-osrel", "osrel", "-cmdline", "cmdline", "-out", "uki.efi"}
	callDelegate = []string{"delegate", "-root-key", "keys/root.key", "-policy", "keys/policy.pub", "-policy-generation", "1", "-first", "-out", "delegations"}
	callPolicies = []string{"policies", "-uki", "uki.efi", "-rollback", "7", "-policy-key", "keys/policy.key", "-policy-generation", "1", "-root", "keys/root.pub", "-delegations", "delegations", "-out", "policies.cbor"}
	callValues   = []string{"reference", "-uki", "uki.efi", "-loader", "loader", "-board", "board.json", "-rollback", "7", "-commit", "0123456789012345678901234567890123456789", "-sbom", "sbom", "-out", "out"}
	callSigned   = with(callValues, "-board-log", "board.log", "-bundle-key", "keys/bundle.key", "-log", "keys/log.hashes", "-log-key", "keys/log.key")
)

// with returns a call with more flags, of which the last counts.
func with(call []string, more ...string) []string { return slices.Concat(call, more) }

// inputs returns a folder with what a build has before mkbundle.
func inputs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "stub", measuretest.Stub())
	put(t, dir, "loader", measuretest.Loader())
	put(t, dir, "linux", measuretest.Kernel("1.5.0"))
	put(t, dir, "initrd", []byte("initrd"))
	put(t, dir, "osrel", []byte("ID=in-camera\nVERSION_ID=\"1.5.0\"\nVARIANT_ID=debian\nIMAGE_ID=qemu-arm64\n"))
	put(t, dir, "cmdline", []byte(measuretest.CommandLine+"\n"))
	put(t, dir, "sbom", []byte("{}"))
	put(t, dir, "board.json", []byte(`{"board": "qemu-arm64/debian", "first_stage": "AAVMF", "verified_by": ""}`))
	l := eventlog.New()
	l.Measure(0, eventlog.CRTMVersion, eventlog.UTF16("2026.01"))
	l.Measure(7, eventlog.VariableConfig, eventlog.Variable(eventlog.GlobalVariable, "SecureBoot", []byte{1}))
	l.Measure(0, eventlog.Separator, measure.SeparatorData)
	put(t, dir, "board.log", l.Encode())
	return dir
}

// built returns a folder in which all of the calls have succeeded.
func built(t *testing.T) string {
	t.Helper()
	dir := inputs(t)
	for _, c := range [][]string{callKeys, callUKI, callDelegate, callPolicies, callSigned} {
		must(t, dir, c...)
	}
	return dir
}

func publicKey(t *testing.T, dir, name string) *ecdsa.PublicKey {
	t.Helper()
	k, err := public(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestUKI(t *testing.T) {
	dir := inputs(t)
	var m struct {
		Version     string
		CommandLine string `json:"command_line"`
		Image       string `json:"authenticode_sha256"`
		PCR12       string
		PCR11       []struct{ Phase, SHA256 string }
		Sections    []struct {
			Name   string
			Size   int
			SHA256 string
		}
	}
	out := must(t, dir, with(callUKI, "-json")...)
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		t.Fatal(err)
	}
	uki := get(t, dir, "uki.efi")
	sections, err := measure.Sections(uki)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(measure.Content(sections, ".cmdline")); got != measuretest.CommandLine || m.CommandLine != got || m.Version != "1.5.0" {
		t.Errorf("command line %q, said %q; version %q", got, m.CommandLine, m.Version)
	}
	for n, v := range m.PCR11 {
		want := measure.PCR11(sections, measure.Phases()[:n]...)
		if v.SHA256 != evidence.Digest(want).String() {
			t.Errorf("PCR 11 in phase %q: %s; want %x", v.Phase, v.SHA256, want)
		}
	}
	if len(m.PCR11) != 5 || m.PCR11[4].Phase != "ready" || len(m.Sections) != 5 || m.Sections[0].Name != ".linux" {
		t.Errorf("%d phases; sections %v", len(m.PCR11), m.Sections)
	}
	if again := must(t, dir, "measure", "-uki", "uki.efi", "--json"); again != out {
		t.Errorf("measure says\n%s\nuki said\n%s", again, out)
	}
	if text := must(t, dir, "measure", "-uki", "uki.efi"); !strings.Contains(text, m.PCR11[4].SHA256+"  ready\n") {
		t.Errorf("measure prints\n%s", text)
	}
	must(t, dir, with(callUKI, "-out", "again.efi")...)
	if !bytes.Equal(uki, get(t, dir, "again.efi")) {
		t.Error("written twice, the image differs")
	}
}

func TestPolicies(t *testing.T) {
	dir := built(t)
	p, err := seal.ParsePolicies(get(t, dir, "policies.cbor"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Verify(seal.RootKey{Generation: 1, Key: publicKey(t, dir, "keys/root.pub")}); err != nil {
		t.Error(err)
	}
	if len(p.Approvals) != 3 || len(p.Delegations) != 3 || len(p.Writes) != 2 {
		t.Errorf("%d approvals, %d delegations, %d writes", len(p.Approvals), len(p.Delegations), len(p.Writes))
	}
	sections, err := measure.Sections(get(t, dir, "uki.efi"))
	if err != nil {
		t.Fatal(err)
	}
	pcr7 := strings.Repeat("07", 32)
	must(t, dir, with(callPolicies, "-pcr7", pcr7, "-out", "with7.cbor")...)
	with7, err := seal.ParsePolicies(get(t, dir, "with7.cbor"))
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range p.Approvals {
		phases := measure.Phases()
		if a.Use == seal.State {
			phases = phases[:1]
		}
		pcrs := map[int][32]byte{11: measure.PCR11(sections, phases...)}
		if _, want := seal.PCRDigest(pcrs); a.PCRDigest != want || a.Version != 7 {
			t.Errorf("%s: approved for %x, version %d; want %x, 7", a.Use, a.PCRDigest, a.Version, want)
		}
		pcrs[7] = [32]byte(bytes.Repeat([]byte{7}, 32))
		if mask, want := seal.PCRDigest(pcrs); with7.Approvals[i].PCRDigest != want || with7.Approvals[i].PCRs != mask {
			t.Errorf("%s with PCR 7: approved for %x; want %x", a.Use, with7.Approvals[i].PCRDigest, want)
		}
	}
	must(t, dir, with(callDelegate, "-floor", "7", "-keygen", "2", "-out", "raise", "-json")...)
	raise, err := seal.ParsePolicies(get(t, dir, "raise"))
	if err != nil || len(raise.Writes) != 4 || raise.Writes[2].Value != 7 || raise.Writes[2].First {
		t.Errorf("raise: %v, %v", raise, err)
	}
}

func TestReference(t *testing.T) {
	dir := built(t)
	document, proofBytes := get(t, dir, "out/reference.cbor"), get(t, dir, "out/reference.proof")
	r, err := evidence.ParseReferences(document, publicKey(t, dir, "keys/bundle.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if twin, err := r.JSON(); err != nil || !bytes.Equal(twin, get(t, dir, "out/reference.json")) {
		t.Errorf("document and twin differ (%v)", err)
	}
	uki := get(t, dir, "uki.efi")
	sections, err := measure.Sections(uki)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := r.Phase("ready"); !ok || got != evidence.Digest(measure.PCR11(sections, measure.Phases()...)) {
		t.Errorf("PCR 11 in phase ready: %v", got)
	}
	if r.Version != "1.5.0" || r.Rollback != 7 || r.Board != "qemu-arm64/debian" || r.VerityRoot.String() != "f0e1d2c3b4a5968778695a4b3c2d1e0ff0e1d2c3b4a5968778695a4b3c2d1e0f" {
		t.Errorf("values of %s %s, rollback %d, verity root %v", r.Board, r.Version, r.Rollback, r.VerityRoot)
	}
	boot, err := measure.BootEvents(measuretest.Loader(), uki)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[int]int{}
	for _, e := range r.Events {
		listed[e.PCR]++
	}
	if listed[0] != 2 || listed[4] != len(boot) || len(listed) != 2 {
		t.Errorf("events by PCR: %v; want 2 of firmware in 0, %d in 4", listed, len(boot))
	}
	if len(r.Values) != 2 || r.Values[0].PCR != 7 || r.Values[1] != (evidence.PCRValue{PCR: 12, Value: measure.PCR12(measuretest.CommandLine)}) {
		t.Errorf("values: %v", r.Values)
	}

	log, err := note.NewVerifier(strings.TrimSpace(string(get(t, dir, "keys/log.pub"))))
	if err != nil {
		t.Fatal(err)
	}
	proof, err := evidence.ParseProof(proofBytes)
	if err != nil {
		t.Fatal(err)
	}
	first, err := proof.Verify(document, log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := proof.Verify(append(document, 0), log); err == nil {
		t.Error("the proof serves another document")
	}

	// The next release goes behind it, in the same log.
	must(t, dir, with(callSigned, "-agree", "out/reference.json")...)
	proof, err = evidence.ParseProof(get(t, dir, "out/reference.proof"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := proof.Verify(get(t, dir, "out/reference.cbor"), log)
	if err != nil || first.Size != 1 || second.Size != 2 || proof.Index != 1 {
		t.Fatalf("checkpoints of %d and %d leaves, leaf %d: %v", first.Size, second.Size, proof.Index, err)
	}
	tree, err := evidence.ParseLog(get(t, dir, "keys/log.hashes"))
	if err != nil {
		t.Fatal(err)
	}
	consistency, err := tree.ProveConsistency(first.Size)
	if err != nil {
		t.Fatal(err)
	}
	if err := evidence.CheckConsistency(first, second, consistency); err != nil {
		t.Error(err)
	}
}

func TestKeysArePrivate(t *testing.T) {
	dir := inputs(t)
	must(t, dir, callKeys...)
	entries, err := os.ReadDir(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.Name(), ".key") && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", e.Name(), info.Mode().Perm())
		}
	}
	if len(entries) != 15 {
		t.Errorf("%d files", len(entries))
	}
}

func TestRefusals(t *testing.T) {
	dir := built(t)
	put(t, dir, "empty", nil)
	put(t, dir, "text", []byte("no image\n"))
	put(t, dir, "two-lines", []byte(measuretest.CommandLine+"\ninit=/bin/sh\n"))
	put(t, dir, "no-root", []byte("panic=10\n"))
	put(t, dir, "short-root", []byte("incamera.roothash=0123\n"))
	put(t, dir, "two-roots", []byte(measuretest.CommandLine+" incamera.roothash="+strings.Repeat("00", 32)))
	put(t, dir, "escape", []byte("\x1b[2J"))
	put(t, dir, "no-version", []byte("ID=in-camera\n"))
	put(t, dir, "unknown.json", []byte(`{"board": "b", "first_stage": "f", "words": []}`))
	put(t, dir, "pcr24.json", []byte(`{"board": "b", "first_stage": "f", "rules": [{"pcr": 24, "word": "any"}]}`))
	put(t, dir, "pcr-1.json", []byte(`{"board": "b", "first_stage": "f", "rules": [{"pcr": -1, "word": "exact"}]}`))
	put(t, dir, "word.json", []byte(`{"board": "qemu-arm64/debian", "first_stage": "f", "rules": [{"pcr": 0, "word": "all"}, {"pcr": 11, "word": "exact"}]}`))
	put(t, dir, "board2.json", []byte(`{"board": "qemu-arm64/buildroot", "first_stage": "AAVMF", "verified_by": ""}`))
	put(t, dir, "no-variant", []byte("VERSION_ID=1.5.0\nIMAGE_ID=qemu-arm64\n"))
	put(t, dir, "other.json", []byte("{}\n"))
	put(t, dir, "odd.hashes", make([]byte, 33))
	put(t, dir, "readable.key", get(t, dir, "keys/root.key"))
	if err := os.Chmod(filepath.Join(dir, "readable.key"), 0o640); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "rsa.key", get(t, dir, "keys/db.key"))
	snapshot := func() map[string]string {
		files := map[string]string{}
		for _, name := range []string{"uki.efi", "delegations", "policies.cbor", "out/reference.json", "out/reference.cbor", "out/reference.proof", "keys/log.hashes"} {
			files[name] = string(get(t, dir, name))
		}
		return files
	}
	before := snapshot()
	for _, c := range []struct {
		name string
		exit int
		want string
		args []string
	}{
		{"no command", 2, "which command?", nil},
		{"an unknown command", 2, `no command "sign"`, []string{"sign"}},
		{"an unknown flag", 2, "not defined: -color", with(callUKI, "-color")},
		{"an argument", 2, "takes no arguments", with(callUKI, "more")},
		{"no flags", 2, "uki needs -stub, -linux, -initrd, -osrel, -cmdline, -out", []string{"uki"}},
		{"no number", 2, "policies needs -rollback", with(callPolicies, "-rollback", "0")},
		{"a negative number", 2, "invalid value", with(callPolicies, "-rollback", "-1")},
		{"keys in a folder that has some", 1, "keys is not empty", callKeys},
		{"a log's name with a blank", 2, "cannot be the name", []string{"keys", "-out", "keys2", "-log-name", "a b"}},

		{"a file that is not there", 1, "no such file", with(callUKI, "-linux", "none")},
		{"an empty kernel", 1, "empty: empty", with(callUKI, "-linux", "empty")},
		{"text as stub", 1, "no DOS header", with(callUKI, "-stub", "text")},
		{"a UKI as stub", 1, ".osrel twice", with(callUKI, "-stub", "uki.efi")},
		{"two lines of command", 1, `has '\n'`, with(callUKI, "-cmdline", "two-lines")},
		{"an escape sequence in the command", 1, `has '\x1b'`, with(callUKI, "-cmdline", "escape")},
		{"no root hash", 1, "incamera.roothash is given 0 times", with(callUKI, "-cmdline", "no-root")},
		{"a short root hash", 1, "no SHA-256", with(callUKI, "-cmdline", "short-root")},
		{"two root hashes", 1, "given 2 times", with(callUKI, "-cmdline", "two-roots")},
		{"no version", 1, "VERSION_ID is given 0 times", with(callUKI, "-osrel", "no-version")},
		{"a board without variant", 1, "VARIANT_ID is given 0 times", with(callUKI, "-osrel", "no-variant")},
		{"a folder that is not there", 1, "no such file", with(callUKI, "-out", "none/uki.efi")},
		{"text as UKI", 1, "no DOS header", []string{"measure", "-uki", "text"}},
		{"a stub as UKI", 1, "no section .linux", []string{"measure", "-uki", "stub"}},

		{"root 9", 2, "there are 1 to 8", with(callDelegate, "-root-generation", "9")},
		{"a key that others may read", 1, "chmod 600", with(callDelegate, "-root-key", "readable.key")},
		{"an RSA key", 1, "not a key on P-256", with(callDelegate, "-root-key", "rsa.key")},
		{"a public key for a private one", 1, "not one PRIVATE KEY", with(callDelegate, "-root-key", "text")},
		{"a private key for a public one", 1, "not one PUBLIC KEY", with(callDelegate, "-policy", "keys/policy.key")},
		{"a floor nobody can pass", 2, "out of reach", with(callDelegate, "-floor", "18446744073709551615")},

		{"another root", 1, "two keys for root 1", with(callPolicies, "-root", "keys/policy.pub")},
		{"a root that delegated nothing", 1, "opens nothing", with(callPolicies, "-root", "keys/policy.pub", "-root-generation", "2")},
		{"another policy key", 1, "opens nothing", with(callPolicies, "-policy-key", "keys/root.key")},
		{"a policy key without delegation", 1, "opens nothing", with(callPolicies, "-policy-generation", "2")},
		{"text as delegations", 1, "text: seal: malformed", with(callPolicies, "-delegations", "text")},
		{"half a hash", 2, "-pcr7 is no SHA-256", with(callPolicies, "-pcr7", "00ff")},
		{"a stub for policies", 1, "no section .linux", with(callPolicies, "-uki", "stub")},

		{"values without a signature beside signed ones", 1, "has signed values", with(callValues, "-board-log", "board.log")},
		{"a signature without a log", 2, "go together", with(callValues, "-bundle-key", "keys/bundle.key")},
		{"a log that is not there", 1, "no such file", with(callSigned, "-log", "none.hashes")},
		{"a log that was cut", 1, "log of 33 bytes", with(callSigned, "-log", "odd.hashes")},
		{"a bundle key for the log", 1, "not a key of a log", with(callSigned, "-log-key", "keys/bundle.key")},
		{"values of another builder", 1, "builders do not agree", with(callSigned, "-agree", "other.json")},
		{"another version than the other builder", 1, "builders do not agree", with(callSigned, "-rollback", "8", "-agree", "out/reference.json")},
		{"a commit in words", 1, "commit", with(callSigned, "-commit", "main")},
		{"a board with an unknown member", 1, `unknown field "words"`, with(callSigned, "-board", "unknown.json")},
		{"the profile of another board", 1, "for qemu-arm64/buildroot, and the image is of qemu-arm64/debian", with(callSigned, "-board", "board2.json")},
		{"a rule for PCR 24", 1, "rule for PCR 24", with(callSigned, "-board", "pcr24.json")},
		{"a rule for PCR -1", 1, "rule for PCR -1", with(callSigned, "-board", "pcr-1.json")},
		{"an unknown word", 1, `PCR 0 has the word "all"`, with(callSigned, "-board", "word.json")},
		{"text as board log", 1, "malformed log", with(callSigned, "-board-log", "text")},
		{"an image as board log", 1, "malformed log", with(callSigned, "-board-log", "uki.efi")},
		{"no board log", 1, "PCR 0 must be listed", callValues},
	} {
		exit, stdout, stderr := mkbundle(t, dir, c.args...)
		if exit != c.exit || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("%s: exit %d, %q, stdout %q; want %d, %q", c.name, exit, stderr, stdout, c.exit, c.want)
		}
		if strings.Contains(stderr, "PRIVATE KEY-----") || strings.Contains(stderr, "goroutine") {
			t.Errorf("%s: stderr %q", c.name, stderr)
		}
	}
	for name, b := range snapshot() {
		if b != before[name] {
			t.Errorf("after refusals %s is another file", name)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", ".mkbundle-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestOneBuilderAtATime(t *testing.T) {
	dir := built(t)
	d, err := os.Open(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if exit, _, stderr := mkbundle(t, dir, callSigned...); exit != 1 || !strings.Contains(stderr, "another builder is at work") {
		t.Errorf("exit %d, %q", exit, stderr)
	}
}

func TestHelp(t *testing.T) {
	dir := t.TempDir()
	help := must(t, dir, "help")
	for _, c := range commands() {
		if !strings.Contains(help, c.name) {
			t.Errorf("help does not name %s", c.name)
		}
		if exit, _, stderr := mkbundle(t, dir, c.name, "-h"); exit != 0 || !strings.Contains(stderr, "-json") {
			t.Errorf("%s -h: exit %d, %q", c.name, exit, stderr)
		}
	}
	if out := must(t, dir, "-version"); out != "mkbundle dev\n" {
		t.Errorf("version %q", out)
	}
}

// TestTwoBuilders has two builders reach the same bytes before one signs them.
func TestTwoBuilders(t *testing.T) {
	first, second := inputs(t), inputs(t)
	for _, dir := range []string{first, second} {
		must(t, dir, callUKI...)
	}
	must(t, first, with(callValues, "-board-log", "board.log")...)
	twin := get(t, first, "out/reference.json")
	put(t, second, "twin.json", twin)
	must(t, second, callKeys...)
	must(t, second, with(callSigned, "-agree", "twin.json")...)
	if !bytes.Equal(get(t, second, "out/reference.json"), twin) {
		t.Error("two builders wrote different values")
	}
	if _, err := os.Stat(filepath.Join(first, "out", "reference.cbor")); err == nil {
		t.Error("signed without a key")
	}
}
