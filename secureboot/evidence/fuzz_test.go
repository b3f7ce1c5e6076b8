// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"testing"

	"incamera/secureboot/internal/vectortest"
)

// FuzzClaims: what is accepted has one encoding, and can be signed again.
func FuzzClaims(f *testing.F) {
	key := newKey(f)
	full := sampleClaims()
	compact := full
	compact.Quote = full.Quote.Compact(make([]byte, 32))
	for _, c := range []Claims{full, compact} {
		b, err := encode(c.wire(&c.Quote))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) == 0 {
			return // go-cose signs no empty payload
		}
		signed, err := sign(payload, nil, key)
		if err != nil {
			t.Fatal(err)
		}
		cmw, err := wrap(signed, cmwEvidence)
		if err != nil {
			t.Fatal(err)
		}
		e, err := Parse(cmw)
		if err != nil {
			return
		}
		if again, err := encode(e.wire(&e.Quote)); err != nil || !bytes.Equal(again, payload) {
			t.Errorf("%x was read as %x, %v", payload, again, err)
		}
		if err := e.Verify(key.Public()); err != nil {
			t.Error(err)
		}
		if _, err := Sign(e.Claims, key); err != nil {
			t.Error(err)
		}
	})
}

// FuzzCMW: the frame around statements. What is accepted has one encoding.
func FuzzCMW(f *testing.F) {
	key := newKey(f)
	e, err := Sign(sampleClaims(), key)
	if err != nil {
		f.Fatal(err)
	}
	r, err := SignResult(sampleResult(), key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(e)
	f.Add(r)
	f.Fuzz(func(t *testing.T, cmw []byte) {
		for _, indicator := range []uint{cmwEvidence, cmwResults} {
			s, err := unwrap(cmw, indicator)
			if err != nil {
				continue
			}
			signed, err := s.message.MarshalCBOR()
			if err != nil {
				t.Fatal(err)
			}
			if again, err := wrap(signed, indicator); err != nil || !bytes.Equal(again, cmw) {
				t.Errorf("%x was read as %x, %v", cmw, again, err)
			}
		}
	})
}

// FuzzResult: what is accepted has one encoding.
func FuzzResult(f *testing.F) {
	result := sampleResult()
	b, err := encode(result.wire())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, payload []byte) {
		s := &sign1{}
		s.message.Payload = payload
		s.message.Headers.Protected = map[any]any{int64(1): int64(-7)}
		r, err := decodeResult(s)
		if err != nil {
			return
		}
		if again, err := encode(r.wire()); err != nil || !bytes.Equal(again, payload) {
			t.Errorf("%x was read as %x, %v", payload, again, err)
		}
	})
}

// FuzzReferences: what is accepted has one encoding, and its twin as well.
func FuzzReferences(f *testing.F) {
	references := sampleReferences()
	b, err := references.corim()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, err := parseCoRIM(payload)
		if err != nil {
			return
		}
		twin, err := r.JSON()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseReferencesJSON(twin)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := back.corim(); err != nil || !bytes.Equal(again, payload) {
			t.Errorf("%x came back as %x, %v", payload, again, err)
		}
	})
}

// FuzzReferencesJSON: what is accepted has one form.
func FuzzReferencesJSON(f *testing.F) {
	references := sampleReferences()
	b, err := references.JSON()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, twin []byte) {
		r, err := ParseReferencesJSON(twin)
		if err != nil {
			return
		}
		if _, err := r.corim(); err != nil {
			t.Errorf("%s has no CoRIM: %v", twin, err)
		}
	})
}

// FuzzCoRIM: documents of others come out as they went in.
func FuzzCoRIM(f *testing.F) {
	for _, name := range []string{"unsigned-good-corim", "unsigned-corim-with-extensions", "corim-2"} {
		f.Add(vectortest.Load(f, "attest/veraison-corim/corim/testcases/"+name+".cbor"))
	}
	for _, name := range []string{"comid-5", "comid-2b", "comid-cond-endorse-series"} {
		f.Add(vectortest.Load(f, "attest/veraison-corim/comid/testcases/"+name+".cbor"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseManifest(b); err == nil {
			if again, err := m.encode(); err != nil || !bytes.Equal(again, b) {
				t.Errorf("manifest %x came out as %x, %v", b, again, err)
			}
		}
		if c, err := parseCoMID(b); err == nil {
			if again, err := c.encode(); err != nil || !bytes.Equal(again, b) {
				t.Errorf("CoMID %x came out as %x, %v", b, again, err)
			}
		}
	})
}

// FuzzProof: what is accepted has one encoding, and proves nothing by itself.
func FuzzProof(f *testing.F) {
	signer, verifier := newLogKey(f, "log.example")
	var l Log
	for i := range 5 {
		if _, err := l.Append(document(i)); err != nil {
			f.Fatal(err)
		}
	}
	p, err := l.Prove(3, signer)
	if err != nil {
		f.Fatal(err)
	}
	b, err := p.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(p.Checkpoint)
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := readCheckpoint(string(b)); err == nil && c.text() != string(b) {
			t.Errorf("checkpoint %q was read as %q", b, c.text())
		}
		p, err := ParseProof(b)
		if err != nil {
			return
		}
		if again, err := p.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x was read as %x, %v", b, again, err)
		}
		if _, err := p.Verify([]byte("a document that nobody logged"), verifier); err == nil {
			t.Errorf("%x proves what was never logged", b)
		}
	})
}

// FuzzEAT: the general rules hold for whatever they accept when it is one
// submodule of another claims set.
func FuzzEAT(f *testing.F) {
	claims := sampleClaims()
	b, err := encode(claims.wire(&claims.Quote))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0xa1, 0x19, 0x01, 0x0a, 0xa1, 0x61, 'a', 0xa0}) // {266: {"a": {}}}
	f.Fuzz(func(t *testing.T, b []byte) {
		if checkEAT(b) != nil || len(b) == 0 || b[0]>>5 != 5 {
			return
		}
		outer := append([]byte{0xa1, 0x19, 0x01, 0x0a, 0xa1, 0x61, 'a'}, b...)
		if err := checkEAT(outer); err != nil && decoder.Wellformed(outer) == nil {
			t.Errorf("%x is refused as a submodule: %v", b, err)
		}
	})
}
