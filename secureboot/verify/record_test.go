// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package verify

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"incamera/secureboot/evidence"
)

var record = flag.Bool("record", false, "write the fixture of this version, where there is none")

// TestSizes prints what goes over the wire, and holds the limits of others: 16
// KiB for an MLS leaf's evidence.
func TestSizes(t *testing.T) {
	r := newRig(t)
	s := r.statement()
	full := r.sign(s)
	compact := r.statement()
	compact.afterQuote = func(q *evidence.Quote) { *q = q.Compact(r.pcrValues(allPCRs...)) }
	short := r.sign(compact)
	bare := r.statement()
	bare.claims.Quote.Certify = nil
	bare.challenge.SPKI = r.device.LDevID
	bare.afterQuote = compact.afterQuote
	ldevidOnly := r.sign(bare)

	result := r.appraise(s)
	key := newKey(t)
	signed, err := evidence.SignResult(result, key)
	if err != nil {
		t.Fatal(err)
	}
	signedReference, err := evidence.SignReferences(s.values, r.bundle)
	if err != nil {
		t.Fatal(err)
	}
	twin, err := s.values.JSON()
	if err != nil {
		t.Fatal(err)
	}
	size := func(cmw []byte) int {
		e, err := evidence.Extension(cmw)
		if err != nil {
			t.Fatal(err)
		}
		return len(e.Value)
	}
	t.Logf("event log %d bytes (%d events), phases %d", len(s.claims.Quote.Log), len(r.firmware.Events), len(r.phases))
	t.Logf("evidence %d bytes; with the log's hash %d, without certify %d; result %d", len(full), len(short), len(ldevidOnly), len(signed))
	t.Logf("certificate extension with evidence %d bytes, with the result %d", size(short), size(signed))
	t.Logf("reference values %d bytes, JSON twin %d, log proof %d", len(signedReference), len(twin), len(r.prove(signedReference)))
	if len(short) > 16<<10 || len(signed) > 16<<10 {
		t.Error("too large for an MLS leaf")
	}
	if !*record {
		return
	}
	if _, err := os.Stat(fixturePath); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("the fixture exists; it is never made anew")
	}
	b, err := json.MarshalIndent(fixture{
		Now: s.now, Nonce: s.challenge.Nonce, SPKI: s.challenge.SPKI, Evidence: full, Device: r.device,
		Signer: spki(t, &r.bundle.PublicKey), Log: r.logText, Reference: signedReference, Proof: r.prove(signedReference),
		Result: signed, ResultKey: spki(t, &key.PublicKey),
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(fixturePath), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(fixturePath, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
