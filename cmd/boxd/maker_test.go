// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"incamera/secureboot/eventlog"
	"incamera/secureboot/measure"
	"incamera/secureboot/measure/measuretest"
)

const testBoard = "qemu-arm64/debian"

// A maker makes releases with the programs that make real ones: mkbundle and
// sbsign.
type maker struct {
	t    *testing.T
	dir  string // keys, and the log, which grows
	tool string
}

// A made release, and what it is made of.
type made struct {
	version          string
	rollback         uint64
	system, uki      []byte
	policies, bundle []byte
}

func newMaker(t *testing.T) *maker {
	t.Helper()
	m := &maker{t: t, dir: t.TempDir(), tool: filepath.Join(t.TempDir(), "mkbundle")}
	m.do("", "go", "build", "-o", m.tool, "incamera/cmd/mkbundle")
	m.do(m.dir, m.tool, "keys", "-out", "keys")
	m.put("stub", measuretest.Stub())
	m.put("loader", measuretest.Loader())
	m.put("initrd", []byte("initrd"))
	m.put("cmdline", []byte(measuretest.CommandLine+"\n"))
	m.put("sbom", []byte("{}"))
	l := eventlog.New()
	l.Measure(0, eventlog.CRTMVersion, eventlog.UTF16("2026.01"))
	l.Measure(7, eventlog.VariableConfig, eventlog.Variable(eventlog.GlobalVariable, "SecureBoot", []byte{1}))
	l.Measure(0, eventlog.Separator, measure.SeparatorData)
	m.put("board.log", l.Encode())
	return m
}

func (m *maker) do(dir, name string, args ...string) {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), name, args...)
	if cmd.Dir = dir; dir == "" {
		cmd.Dir = "."
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("%s %v: %v\n%s", filepath.Base(name), args, err, out)
	}
}

func (m *maker) put(name string, content []byte) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), content, 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *maker) get(name string) []byte {
	m.t.Helper()
	b, err := os.ReadFile(filepath.Join(m.dir, name))
	if err != nil {
		m.t.Fatal(err)
	}
	return b
}

const systemSize = 2<<20 + 4321 // bytes: two pieces and some

// release makes a release for a board. A floor that is not 0 is the one that it
// asks for.
func (m *maker) release(board, version string, rollback, floor uint64) *made {
	m.t.Helper()
	r := &made{version: version, rollback: rollback}
	r.system = bytes.Repeat([]byte(version+" "), systemSize/len(version+" ")+1)[:systemSize]
	m.put("system", r.system)
	m.put("linux", measuretest.Kernel(version))
	m.put("osrel", fmt.Appendf(nil, "ID=in-camera\nVERSION_ID=%q\nVARIANT_ID=%s\nIMAGE_ID=%s\n", version, filepath.Base(board), filepath.Dir(board)))
	m.put("board.json", fmt.Appendf(nil, `{"board": %q, "first_stage": "AAVMF", "verified_by": ""}`, board))
	n := strconv.FormatUint(rollback, 10)
	m.do(m.dir, m.tool, "uki", "-stub", "stub", "-linux", "linux", "-initrd", "initrd", "-osrel", "osrel", "-cmdline", "cmdline", "-out", "uki.efi")
	delegate := []string{"delegate", "-root-key", "keys/root.key", "-policy", "keys/policy.pub", "-policy-generation", "1", "-first", "-out", "delegations"}
	if floor != 0 {
		delegate = append(delegate, "-floor", strconv.FormatUint(floor, 10))
	}
	m.do(m.dir, m.tool, delegate...)
	m.do(m.dir, m.tool, "policies", "-uki", "uki.efi", "-rollback", n, "-policy-key", "keys/policy.key", "-policy-generation", "1",
		"-root", "keys/root.pub", "-delegations", "delegations", "-out", "policies.cbor")
	m.do(m.dir, "sbsign", "--key", "keys/db.key", "--cert", "keys/db.crt", "--output", "signed.efi", "uki.efi")
	reference := "reference-" + version + "-" + filepath.Base(board)
	m.do(m.dir, m.tool, "reference", "-uki", "signed.efi", "-loader", "loader", "-board", "board.json", "-rollback", n,
		"-commit", "0123456789012345678901234567890123456789", "-sbom", "sbom", "-board-log", "board.log",
		"-bundle-key", "keys/bundle.key", "-log", "keys/log.hashes", "-log-key", "keys/log.key", "-out", reference)
	m.do(m.dir, m.tool, "bundle", "-uki", "signed.efi", "-system", "system", "-policies", "policies.cbor", "-reference", reference,
		"-log", "keys/log.hashes", "-log-public", "keys/log.pub", "-bundle-key", "keys/bundle.key", "-root", "keys/root.pub",
		"-db", "keys/db.crt", "-out", "bundle")
	r.uki, r.policies, r.bundle = m.get("signed.efi"), m.get("policies.cbor"), m.get("bundle")
	return r
}
