// SPDX-License-Identifier: Apache-2.0

package eventlog_test

import (
	"bytes"
	"errors"
	"testing"

	"incamera/secureboot/eventlog"
)

// FuzzParse holds for any bytes: what is accepted has one encoding and stays
// inside the limits; a refusal is ErrMalformed; and a replay either gives a
// value or says that it cannot.
func FuzzParse(f *testing.F) {
	firmware, phases, _ := boot(f)
	f.Add(firmware)
	f.Add(phases)
	for _, v := range vectors(f) {
		f.Add(v.log)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := eventlog.Parse(b)
		if err != nil {
			if !errors.Is(err, eventlog.ErrMalformed) || l != nil {
				t.Fatalf("Parse = %v, %v; want nil and ErrMalformed", l, err)
			}
			return
		}
		if !bytes.Equal(l.Encode(), b) {
			t.Fatal("a second encoding of one log")
		}
		if len(b) > eventlog.MaxLog || len(l.Events) > eventlog.MaxEvents {
			t.Fatalf("%d bytes, %d events", len(b), len(l.Events))
		}
		for _, e := range l.Events {
			if e.PCR < -1 || e.PCR >= eventlog.NumPCRs || len(e.Data) > eventlog.MaxData {
				t.Fatalf("%v with %d bytes", e, len(e.Data))
			}
		}
		if _, err := eventlog.Replay(l); err != nil && !errors.Is(err, eventlog.ErrBank) && !errors.Is(err, eventlog.ErrMalformed) {
			t.Fatal(err)
		}
		if p, err := eventlog.ParsePhases(b); err == nil {
			for _, e := range p.Events {
				if !e.Authentic() {
					t.Fatalf("%v: the digest is not of the word", e)
				}
			}
		}
	})
}
