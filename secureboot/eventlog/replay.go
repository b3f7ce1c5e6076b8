// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
)

// PCRs are the values of the SHA-256 bank.
type PCRs [NumPCRs][sha256.Size]byte

// Reset returns the values after TPM2_Startup(CLEAR) at locality 0: zeros, and
// ones in the PCRs of a dynamic launch (PC Client Platform TPM Profile,
// Section 4.6).
func Reset() PCRs {
	var p PCRs
	for i := dynamicFirst; i <= dynamicLast; i++ {
		copy(p[i][:], bytes.Repeat([]byte{0xff}, sha256.Size))
	}
	return p
}

const (
	dynamicFirst = 17
	dynamicLast  = 22
)

// Extend does to a PCR what TPM2_PCR_Extend does.
func (p *PCRs) Extend(pcr int, digest [sha256.Size]byte) {
	p[pcr] = sha256.Sum256(append(p[pcr][:], digest[:]...))
}

// Digest returns what TPMS_QUOTE_INFO has as pcrDigest for these PCRs, in
// ascending order whatever the order of selection (TPM 2.0 Part 1, Section
// 17.5). Numbers outside 0 to 23 are the caller's fault and panic.
func (p *PCRs) Digest(selection ...int) [sha256.Size]byte {
	h := sha256.New()
	selection = slices.Clone(selection)
	slices.Sort(selection)
	for _, i := range slices.Compact(selection) {
		h.Write(p[i][:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// localitySignature begins the data of the EV_NO_ACTION that gives the
// locality of TPM2_Startup, which is the last byte of PCR 0's first value
// (PFP, Section 10.4.5.3).
const localitySignature = "StartupLocality\x00"

// Replay returns the PCR values that the logs lead to, one after the other,
// from a TPM that was just reset. The firmware's log comes first: only it may
// give a startup locality. Errors wrap [ErrBank] or [ErrMalformed].
func Replay(logs ...*Log) (PCRs, error) {
	p := Reset()
	touched := false // PCR 0 is past its first value
	for i, l := range logs {
		if l.spec == nil {
			return PCRs{}, fmt.Errorf("%w: log %d has SHA-1 form", ErrBank, i)
		}
		for _, e := range l.Events {
			if e.Type == NoAction {
				locality, ok := bytes.CutPrefix(e.Data, []byte(localitySignature))
				if !ok {
					continue
				}
				// Locality 4 is a core root of trust that measured before
				// Startup, 3 one that started the TPM itself.
				if i != 0 || touched || e.PCR != 0 || len(locality) != 1 || locality[0] != 0 && locality[0] != 3 && locality[0] != 4 {
					return PCRs{}, fmt.Errorf("%w: %v: startup locality out of place", ErrMalformed, e)
				}
				p[0][sha256.Size-1], touched = locality[0], true
				continue
			}
			sum, ok := e.SHA256()
			if !ok {
				return PCRs{}, fmt.Errorf("%w: log %d, %v", ErrBank, i, e)
			}
			if e.PCR < 0 || e.PCR >= dynamicFirst && e.PCR <= dynamicLast {
				return PCRs{}, fmt.Errorf("%w: %v: not a PCR of a static start", ErrMalformed, e)
			}
			p.Extend(e.PCR, sum)
			touched = touched || e.PCR == 0
		}
	}
	return p, nil
}

// Check replays the logs and compares with PCR values that are known to be
// true, of a quote or of the TPM itself. It returns nil only if all those in
// want are reached; otherwise an error that wraps [ErrMismatch] and names the
// PCRs, or an error of [Replay]. An empty want is refused: it proves nothing.
func Check(want map[int][sha256.Size]byte, logs ...*Log) error {
	if len(want) == 0 {
		return fmt.Errorf("%w: no PCR to compare with", ErrMismatch)
	}
	got, err := Replay(logs...)
	if err != nil {
		return err
	}
	var wrong []int
	for _, i := range slices.Sorted(maps.Keys(want)) {
		if i < 0 || i >= NumPCRs || got[i] != want[i] {
			wrong = append(wrong, i)
		}
	}
	if wrong != nil {
		return fmt.Errorf("%w: %v", ErrMismatch, wrong)
	}
	return nil
}
