// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"incamera/secureboot/internal/vectortest"
)

// TestEATExamples reads the examples of RFC 9711. None is of our profile, so
// they meet the general rules alone.
func TestEATExamples(t *testing.T) {
	const payloads = "attest/ietf-rats-eat/cddl/Example-Payloads/"
	for name, refused := range map[string]string{
		"minimal": "", "simple": "", "valid_hw_block": "", "valid_hw_block2": "", "valid_iot": "", "valid_key_store": "",
		"valid_submods": "", "valid_tee": "",
		// It calls 271 swname; the RFC gave that label to swversion, an array.
		"submods": "claim 271",
	} {
		t.Run(name, func(t *testing.T) {
			b := fromDiagnostic(t, vectortest.Load(t, payloads+name+".diag"))
			err := checkEAT(b)
			if refused == "" && err != nil || refused != "" && (err == nil || !strings.Contains(err.Error(), refused)) {
				t.Errorf("checkEAT = %v; want %q", err, refused)
			}
			var w wireClaims
			if err := decode(decoder, b, MaxCMW, &w); !errors.Is(err, ErrMalformed) {
				t.Errorf("taken for a room's claims: %v", err)
			}
		})
	}
	const tokens = "attest/ietf-rats-eat/cddl/Example-Tokens/"
	t.Run("valid_cwt", func(t *testing.T) {
		checkToken(t, fromDiagnostic(t, vectortest.Load(t, tokens+"valid_cwt.diag")))
	})
	t.Run("valid_deb", func(t *testing.T) { // a bundle; its first part is a token, the other a claims set by name
		b := fromDiagnostic(t, vectortest.Load(t, tokens+"valid_deb.diag"))
		var tag cbor.RawTag
		if err := cbor.Unmarshal(b, &tag); err != nil || tag.Number != 602 {
			t.Fatal(tag.Number, err)
		}
		var bundle struct {
			_      struct{} `cbor:",toarray"`
			Token  []byte
			Claims map[string][]byte
		}
		if err := cbor.Unmarshal(tag.Content, &bundle); err != nil {
			t.Fatal(err)
		}
		checkToken(t, bundle.Token)
		if err := checkEAT(bundle.Claims["TEE"]); err != nil {
			t.Error(err)
		}
	})
}

// checkToken takes the CWT tag off a token and reads the rest.
func checkToken(t *testing.T, b []byte) {
	t.Helper()
	b, ok := bytes.CutPrefix(b, []byte{0xd8, 61})
	if !ok {
		t.Fatal("no CWT")
	}
	s, err := parseSign1(b, MaxCMW)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkEAT(s.message.Payload); err != nil {
		t.Error(err)
	}
}

// TestCoRIMVectors decodes documents of others and writes them again, to the
// same bytes.
func TestCoRIMVectors(t *testing.T) {
	const dir = "attest/veraison-corim/"
	for _, name := range []string{
		"corim-1", "corim-2", "corim-design-cd", "corim-firmware-cd", "corim-roles",
		"unsigned-good-corim", "unsigned-example-corim", "unsigned-corim-with-extensions",
		"signed-good-corim", "signed-example-corim", "signed-corim-with-extensions",
	} {
		t.Run(name, func(t *testing.T) {
			b := vectortest.Load(t, dir+"corim/testcases/"+name+".cbor")
			if strings.HasPrefix(name, "signed-") {
				s, err := parseSign1(b, MaxReferences)
				if err != nil {
					t.Fatal(err)
				}
				again, err := s.message.MarshalCBOR()
				if err != nil || !bytes.Equal(again, b) {
					t.Errorf("signature written again: %v\n%x\n%x", err, again, b)
				}
				b = s.message.Payload
			}
			sameManifest(t, b)
		})
	}
	for _, name := range []string{
		"comid/testcases/comid-1", "comid/testcases/comid-1a", "comid/testcases/comid-2", "comid/testcases/comid-2b",
		"comid/testcases/comid-3", "comid/testcases/comid-4", "comid/testcases/comid-5", "comid/testcases/comid-6",
		"comid/testcases/comid-7", "comid/testcases/comid-cend", "comid/testcases/comid-cond-endorse-series",
		"comid/testcases/comid-design-cd", "comid/testcases/comid-domain-dep", "comid/testcases/comid-domain-mem",
		"comid/testcases/comid-firmware-cd", "comid/testcases/comid-flags", "comid/testcases/comid-integrity-registers",
		"comid/testcases/comid-opaque-instance-id", "comid/testcases/comid-raw-value", "comid/testcases/comid-series",
		"profiles/tdx/testcases/comid_pce_refval", "profiles/tdx/testcases/comid_qe_refval",
		"profiles/tdx/testcases/comid_seam_refval",
		"profiles/psa/testcases/psa-valid", "profiles/psa/testcases/no-profile",
		"profiles/cca/testcases/cca-platform-valid", "profiles/cca/testcases/cca-realm-valid", "profiles/cca/testcases/no-profile",
	} {
		t.Run(name, func(t *testing.T) {
			b := vectortest.Load(t, dir+name+".cbor")
			if bytes.HasPrefix(b, []byte{0xd9, 0x01, 0xf5}) { // 501
				sameManifest(t, b)
			} else {
				sameCoMID(t, b)
			}
		})
	}
}

func sameManifest(t *testing.T, b []byte) {
	t.Helper()
	m, err := parseManifest(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.encode()
	if err != nil || !bytes.Equal(again, b) {
		t.Errorf("manifest written again: %v\n%x\n%x", err, again, b)
	}
	for _, tag := range m.tags {
		var inner []byte
		if err := decode(deepDecoder, tag.Content, MaxReferences, &inner); err != nil {
			t.Fatal(err)
		}
		if tag.Number == tagCoMID {
			sameCoMID(t, inner)
		}
	}
	if _, err := parseCoRIM(b); !errors.Is(err, ErrMalformed) {
		t.Errorf("taken for our reference values: %v", err)
	}
}

func sameCoMID(t *testing.T, b []byte) {
	t.Helper()
	c, err := parseCoMID(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.encode()
	if err != nil || !bytes.Equal(again, b) {
		t.Errorf("CoMID written again: %v\n%x\n%x", err, again, b)
	}
}

// fromDiagnostic turns the diagnostic notation of the examples (RFC 8949,
// Section 8) into CBOR, keys in the order written.
func fromDiagnostic(t *testing.T, text []byte) []byte {
	t.Helper()
	d := &diagnostic{s: string(text)}
	b, err := d.value()
	if err == nil && d.skip() != 0 {
		err = fmt.Errorf("trailing text at %d", d.i)
	}
	if err != nil {
		t.Fatalf("diagnostic notation: %v", err)
	}
	return b
}

type diagnostic struct {
	s string
	i int
}

// skip passes blanks and comments and returns the next character, 0 at the end.
func (d *diagnostic) skip() byte {
	for ; d.i < len(d.s); d.i++ {
		switch c := d.s[d.i]; {
		case strings.IndexByte(" \t\r\n", c) >= 0:
		case c == '/':
			d.i += 1 + strings.IndexByte(d.s[d.i+1:], '/')
		default:
			return c
		}
		if d.i >= len(d.s) {
			break
		}
	}
	return 0
}

func (d *diagnostic) value() ([]byte, error) {
	switch c := d.skip(); {
	case c == '{':
		return d.items('}', 5)
	case c == '[':
		return d.items(']', 4)
	case c == '"':
		q, err := strconv.QuotedPrefix(d.s[d.i:])
		if err != nil {
			return nil, err
		}
		d.i += len(q)
		text, err := strconv.Unquote(q)
		if err != nil {
			return nil, err
		}
		return append(head(3, uint64(len(text))), text...), nil
	case strings.HasPrefix(d.s[d.i:], "h'"):
		digits, rest, _ := strings.Cut(d.s[d.i+2:], "'")
		d.i = len(d.s) - len(rest)
		b, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
		return append(head(2, uint64(len(b))), b...), err
	case strings.HasPrefix(d.s[d.i:], "true"):
		d.i += 4
		return []byte{0xf5}, nil
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	default:
		return nil, fmt.Errorf("%q at %d", c, d.i)
	}
}

// number reads an integer, or a tag with its content.
func (d *diagnostic) number() ([]byte, error) {
	end := d.i + 1
	for end < len(d.s) && d.s[end] >= '0' && d.s[end] <= '9' {
		end++
	}
	n, err := strconv.ParseInt(d.s[d.i:end], 10, 64)
	d.i = end
	if err != nil {
		return nil, err
	}
	if n < 0 {
		return head(1, uint64(-1-n)), nil
	}
	if d.skip() != '(' {
		return head(0, uint64(n)), nil
	}
	d.i++
	content, err := d.value()
	if err != nil || d.skip() != ')' {
		return nil, fmt.Errorf("tag at %d: %w", d.i, err)
	}
	d.i++
	return append(head(6, uint64(n)), content...), nil
}

// items reads the members of an array or map.
func (d *diagnostic) items(closing byte, major byte) ([]byte, error) {
	d.i++
	var all []byte
	var n uint64
	for d.skip() != closing {
		b, err := d.value()
		if err != nil {
			return nil, err
		}
		all = append(all, b...)
		n++
		if c := d.skip(); c == ',' || c == ':' {
			d.i++
		} else if c != closing {
			return nil, fmt.Errorf("%q at %d", c, d.i)
		}
	}
	d.i++
	if major == 5 {
		n /= 2
	}
	return append(head(major, n), all...), nil
}

func head(major byte, n uint64) []byte {
	switch {
	case n < 24:
		return []byte{major<<5 | byte(n)}
	case n < 1<<8:
		return []byte{major<<5 | 24, byte(n)}
	case n < 1<<16:
		return []byte{major<<5 | 25, byte(n >> 8), byte(n)}
	}
	return []byte{major<<5 | 26, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}
