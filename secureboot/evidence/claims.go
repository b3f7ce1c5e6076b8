// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// wireClaims is the claims set of our profile. None of the claims but the quote
// may be missing: what is absent would come back when it is encoded again.
type wireClaims struct {
	Nonce     []byte      `cbor:"10,keyasint"`
	UEID      []byte      `cbor:"256,keyasint"`
	OEMID     []byte      `cbor:"258,keyasint"`
	Board     []byte      `cbor:"259,keyasint"`
	OEMBoot   bool        `cbor:"262,keyasint"`
	Debug     DebugStatus `cbor:"263,keyasint"`
	Profile   string      `cbor:"265,keyasint"`
	BootCount uint64      `cbor:"267,keyasint"`
	Name      string      `cbor:"270,keyasint"`
	Version   wireVersion `cbor:"271,keyasint"`
	Quote     *wireQuote  `cbor:"-70001,keyasint,omitempty"`
}

// wireVersion is sw-version-type (RFC 9711, Section 4.2.7).
type wireVersion struct {
	_       struct{} `cbor:",toarray"`
	Version string
	Scheme  int
}

type wireQuote struct {
	Attest    []byte   `cbor:"1,keyasint"`
	Signature []byte   `cbor:"2,keyasint"`
	AKName    []byte   `cbor:"3,keyasint"`
	Log       []byte   `cbor:"4,keyasint"`
	Phases    []byte   `cbor:"5,keyasint,omitempty"`
	Certify   *Certify `cbor:"6,keyasint,omitempty"`
	PCRs      []byte   `cbor:"7,keyasint,omitempty"`
}

func (c *Claims) wire(q *Quote) wireClaims {
	w := wireClaims{
		Nonce: c.Nonce, UEID: c.UEID, OEMID: oemID, Board: []byte(c.Board), OEMBoot: c.OEMBoot, Debug: c.Debug,
		Profile: Profile, BootCount: c.BootCount, Name: c.Name,
		Version: wireVersion{Version: c.Version, Scheme: schemeSemver},
	}
	if q != nil {
		w.Quote = &wireQuote{
			Attest: q.Attest, Signature: q.Signature, AKName: q.AKName, Log: q.Log, Phases: q.Phases,
			Certify: q.Certify, PCRs: q.PCRs,
		}
	}
	return w
}

func (w *wireClaims) claims() (Claims, error) {
	switch {
	case w.Profile != Profile:
		return Claims{}, fmt.Errorf("%w: profile %.64q", ErrMalformed, w.Profile)
	case !bytes.Equal(w.OEMID, oemID):
		return Claims{}, fmt.Errorf("%w: oemid of another maker", ErrMalformed)
	case w.Version.Scheme != schemeSemver:
		return Claims{}, fmt.Errorf("%w: version scheme", ErrMalformed)
	case w.Quote == nil:
		return Claims{}, fmt.Errorf("%w: no quote", ErrMalformed)
	}
	q := w.Quote
	c := Claims{
		Nonce: w.Nonce, UEID: w.UEID, Board: string(w.Board), OEMBoot: w.OEMBoot, Debug: w.Debug,
		BootCount: w.BootCount, Name: w.Name, Version: w.Version.Version,
		Quote: Quote{
			Attest: q.Attest, Signature: q.Signature, AKName: q.AKName, Log: q.Log, Phases: q.Phases,
			PCRs: q.PCRs, Certify: q.Certify,
		},
	}
	return c, c.check()
}

// check holds the bounds of RFC 9711, Section 4, and of our profile. Sign and
// Parse share it, so that we never send what we would refuse.
func (c *Claims) check() error {
	q := &c.Quote
	switch {
	case len(c.Nonce) < 8 || len(c.Nonce) > 64:
		return fmt.Errorf("%w: nonce of %d bytes", ErrMalformed, len(c.Nonce))
	case len(c.UEID) != 1+sha256.Size || c.UEID[0] != 0x01:
		return fmt.Errorf("%w: ueid", ErrMalformed)
	case len(c.Board) > 32 || !plain(c.Board):
		return fmt.Errorf("%w: hwmodel", ErrMalformed)
	case c.Debug > DebugDisabledFully:
		return fmt.Errorf("%w: dbgstat %d", ErrMalformed, c.Debug)
	case c.BootCount > maxBoots:
		return fmt.Errorf("%w: bootcount", ErrMalformed)
	case !plain(c.Name) || !plain(c.Version):
		return fmt.Errorf("%w: swname or swversion", ErrMalformed)
	case len(q.Log) > maxLog || len(q.Phases) > maxPhases:
		return fmt.Errorf("%w: event log", ErrTooLarge)
	case !tpmSized(q.Attest, q.Signature, q.AKName):
		return fmt.Errorf("%w: quote", ErrMalformed)
	case q.Certify != nil && !tpmSized(q.Certify.Attest, q.Certify.Signature, q.Certify.Public):
		return fmt.Errorf("%w: certify", ErrMalformed)
	case q.LogOnlyHashed() != (len(q.PCRs) > 0), len(q.PCRs)%32 != 0, len(q.PCRs) > 24*32:
		return fmt.Errorf("%w: register values go with the log's hash", ErrMalformed)
	case q.LogOnlyHashed() && len(q.Phases) > 0:
		return fmt.Errorf("%w: half a log", ErrMalformed)
	}
	return nil
}

func tpmSized(structures ...[]byte) bool {
	for _, s := range structures {
		if len(s) == 0 || len(s) > maxTPM {
			return false
		}
	}
	return true
}

// plain reports whether s is a name that can be shown: not empty, not long, no
// control or other invisible characters.
func plain(s string) bool {
	if s == "" || len(s) > maxText || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
