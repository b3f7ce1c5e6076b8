// SPDX-License-Identifier: Apache-2.0

package update

import (
	"bytes"
	"crypto"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"golang.org/x/mod/sumdb/note"
)

// atSite reads a bundle as a site's verifier does.
func atSite(bundle io.Reader, keys []crypto.PublicKey, log ...note.Verifier) error {
	m, _, err := OpenForSite(bundle, keys, log...)
	if err != nil {
		return err
	}
	return m.ReadParts(bundle)
}

func TestOpenForSite(t *testing.T) {
	v, other := newVendor(t), newVendor(t)
	b := v.build("1.5.0", 8, 0)
	bundle := v.pack(b)
	head := len(bundle) - len(b.system) - len(b.uki)
	own := v.bundle.Public()

	r := bytes.NewReader(bundle)
	m, now, err := OpenForSite(r, []crypto.PublicKey{other.bundle.Public(), own}, v.logVerifier)
	if err != nil || m.Version != "1.5.0" || now.Size != 1 {
		t.Fatalf("OpenForSite = %+v, %+v, %v", m, now, err)
	}
	if r.Len() != len(bundle)-head {
		t.Errorf("%d bytes behind the head, want %d", r.Len(), len(bundle)-head)
	}
	if err := m.ReadParts(r); err != nil {
		t.Error(err)
	}

	altered := func(at int) []byte {
		b := bytes.Clone(bundle)
		b[at] ^= 1
		return b
	}
	elsewhere := v.build("1.6.0", 8, 0)
	elsewhere.References = b.References // of another release
	contradicting := v.build("1.7.0", 8, 0)
	contradicting.History = bytes.Repeat([]byte{1}, len(contradicting.History))
	for name, test := range map[string]struct {
		bundle []byte
		keys   []crypto.PublicKey
		log    note.Verifier
		want   Reason
	}{
		"no key":                    {bundle, nil, v.logVerifier, SigInvalid},
		"other keys":                {bundle, []crypto.PublicKey{other.bundle.Public(), other.root.Public()}, v.logVerifier, SigInvalid},
		"other log":                 {bundle, []crypto.PublicKey{own}, other.logVerifier, Unlogged},
		"not a bundle":              {bytes.Repeat([]byte{1}, 4096), []crypto.PublicKey{own}, v.logVerifier, Malformed},
		"manifest altered":          {altered(head - 1), []crypto.PublicKey{own}, v.logVerifier, SigInvalid},
		"system altered":            {altered(head), []crypto.PublicKey{own}, v.logVerifier, Tampered},
		"UKI altered":               {altered(len(bundle) - 1), []crypto.PublicKey{own}, v.logVerifier, Tampered},
		"nothing behind the head":   {bundle[:head], []crypto.PublicKey{own}, v.logVerifier, Truncated},
		"a byte short":              {bundle[:len(bundle)-1], []crypto.PublicKey{own}, v.logVerifier, Truncated},
		"a byte more":               {append(bytes.Clone(bundle), 0), []crypto.PublicKey{own}, v.logVerifier, Malformed},
		"another release's values":  {v.pack(elsewhere), []crypto.PublicKey{own}, v.logVerifier, Malformed},
		"log and proof contradict":  {v.pack(contradicting), []crypto.PublicKey{own}, v.logVerifier, Unlogged},
		"signed by a stranger, too": {other.pack(other.build("1.5.0", 8, 0)), []crypto.PublicKey{own}, v.logVerifier, SigInvalid},
	} {
		err := atSite(bytes.NewReader(test.bundle), test.keys, test.log)
		if e, ok := errors.AsType[*Error](err); !ok || e.Reason != test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
	broken := errors.New("broken")
	if err := atSite(io.MultiReader(bytes.NewReader(bundle[:head+7]), iotest.ErrReader(broken)), []crypto.PublicKey{own}, v.logVerifier); !errors.Is(err, broken) {
		t.Errorf("a source that fails: %v", err)
	}
}
