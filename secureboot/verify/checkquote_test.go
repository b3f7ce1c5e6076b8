// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package verify

import (
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/evidence"
)

// checkquote is the judgement of tpm2_checkquote on a quote: whether the tool of
// the TPM software stack takes it. It knows neither our claims nor our rules.
type checkquote struct {
	key       []byte // PEM
	nonce     []byte // qualifyingData
	attest    []byte
	signature []byte
	pcrs      []byte // in the tool's own layout
	log       []byte // nil: none
}

func (c checkquote) run(t *testing.T) (bool, string) {
	t.Helper()
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	args := []string{
		"-u", file("key.pem", c.key), "-m", file("message", c.attest), "-s", file("signature", c.signature),
		"-f", file("pcrs", c.pcrs), "-q", hex.EncodeToString(c.nonce), "-g", "sha256",
	}
	if c.log != nil {
		args = append(args, "-e", file("log", c.log))
	}
	cmd := exec.CommandContext(t.Context(), "tpm2_checkquote", args...)
	cmd.Env = append(os.Environ(), "TPM2TOOLS_TCTI=none") // it must not look for a TPM
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatalf("tpm2_checkquote, of the package tpm2-tools: %v", err)
	}
	return err == nil, string(out)
}

// pcrFile lays values out as tpm2-tools do: the structures of its C library,
// little endian, padding and all.
//
//	TPML_PCR_SELECTION  u32 count, 16 x { u16 hash, u8 size, 4 bytes, 1 padding }   132 bytes
//	u32                 number of lists
//	TPML_DIGEST         u32 count, 8 x { u16 size, 64 bytes }                       532 bytes each
func pcrFile(pcrs []int, values []byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, 132)
	le.PutUint32(b, 1)
	le.PutUint16(b[4:], uint16(tpm2.TPMAlgSHA256))
	b[6] = 3
	for _, p := range pcrs {
		b[7+p/8] |= 1 << (p % 8)
	}
	lists := (len(pcrs) + 7) / 8
	b = le.AppendUint32(b, uint32(lists))
	for i := range lists {
		list := make([]byte, 532)
		n := min(8, len(pcrs)-8*i)
		le.PutUint32(list, uint32(n))
		for j := range n {
			at := list[4+66*j:]
			le.PutUint16(at, 32)
			copy(at[2:], values[32*(8*i+j):][:32])
		}
		b = append(b, list...)
	}
	return b
}

// TestCheckquote puts our quotes before tpm2_checkquote: it takes what we take
// and refuses what we refuse. The PCR file is what the quote's digest is
// compared with, and only with -e does it compare the log with that file.
func TestCheckquote(t *testing.T) {
	r := newRig(t)
	s := r.statement()
	result := r.appraise(s)
	wantOnly(t, result, evidence.Affirming)
	key, _, err := parseAK(r.device.AK)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := evidence.QualifyingData(s.claims.Nonce, s.challenge.SPKI, s.claims)
	if err != nil {
		t.Fatal(err)
	}
	values := r.pcrValues(allPCRs...)
	// The tool takes one log; the phases are in the same form, so they go behind
	// the firmware's as one.
	both := *r.firmware
	both.Events = append(both.Events[:len(both.Events):len(both.Events)], parsePhases(t, r.phases).Events...)
	good := checkquote{
		key:    pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		nonce:  data[:],
		attest: s.claims.Quote.Attest, signature: s.claims.Quote.Signature, pcrs: pcrFile(allPCRs, values),
	}
	withLog := good
	withLog.log = both.Encode()
	for name, c := range map[string]checkquote{"quote": good, "quote with log": withLog} {
		if ok, out := c.run(t); !ok {
			t.Errorf("%s: tpm2_checkquote refuses:\n%s", name, out)
		}
	}
	foreign, err := x509.MarshalPKIXPublicKey(&newKey(t).PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	cut := both
	cut.Events = cut.Events[:len(cut.Events)-1]
	for name, change := range map[string]func(*checkquote){
		"wrong nonce":     func(c *checkquote) { c.nonce = flip(c.nonce, 0) },
		"wrong PCR":       func(c *checkquote) { c.pcrs = pcrFile(allPCRs, flip(values, 8*32)) },
		"wrong signature": func(c *checkquote) { c.signature = flip(c.signature, len(c.signature)-1) },
		"altered quote":   func(c *checkquote) { c.attest = flip(c.attest, len(c.attest)-1) },
		"another key":     func(c *checkquote) { c.key = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: foreign}) },
		"cut log":         func(c *checkquote) { c.log = cut.Encode() },
	} {
		c := good
		change(&c)
		if ok, out := c.run(t); ok {
			t.Errorf("%s: tpm2_checkquote accepts:\n%s", name, out)
		}
	}
}
