// SPDX-License-Identifier: Apache-2.0

// Package attest makes a room's evidence: a quote of its TPM over the measured
// start, tied to a nonce and to a key, with the logs, signed by the room's
// LDevID. It also serves the evidence to whoever challenges the room, so that
// no verifier need stand between.
//
// It judges nothing: package verify does.
package attest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"incamera/secureboot/evidence"
	"incamera/secureboot/tpm"
)

// ErrMoving means that the registers changed while they were read, several
// times in a row. The room is still starting; the caller asks again later.
var ErrMoving = errors.New("attest: registers do not hold still")

// A Key is a key in the room's TPM that evidence can be about.
// [incamera/secureboot/seal.SigningKey] is one.
type Key interface {
	// Public returns the key in the form of package crypto.
	Public() crypto.PublicKey
	// Loaded calls f while the key is in the TPM at a handle, and leaves no
	// object there. It returns what f does, or why the key does not load.
	Loaded(ctx context.Context, f func(t transport.TPM, key tpm.Key) error) error
}

// A Room is the box that evidence is about. Its fields are set before its
// methods are called; the methods may be called by several goroutines.
type Room struct {
	TPM    transport.TPM
	EK, AK tpm.Key
	LDevID crypto.Signer // TLS, and signs evidence
	PCRs   []int         // the profile's registers, ascending

	Board     string // hwmodel, as the reference values name it
	OEMBoot   bool   // the boot chain was verified
	Debug     evidence.DebugStatus
	BootCount uint64
	Name      string // of the software
	Version   string

	// Logs returns the firmware's event log and that of user space. They are
	// read again for each evidence: both grow while the room starts.
	Logs func() (firmware, phases []byte, err error)

	mu        sync.Mutex
	certified [sha256.Size]byte // the name of the key below, hashed with that of the AK
	certify   *evidence.Certify
}

// A Statement says what evidence is to show.
type Statement struct {
	Nonce []byte // of the challenge, 32 bytes
	Key   Key    // that the evidence is about; nil for the LDevID
	// Compact leaves the logs out and their hash in: for MLS leaves. Who judges
	// it has the logs from elsewhere, or trusts the register values alone.
	Compact bool
}

// Evidence returns a CMW record. The TPM makes one quote and, for a key that it
// has not certified before, one TPM2_Certify; the LDevID signs once. It takes
// as long as the TPM does and no longer than ctx.
func (r *Room) Evidence(ctx context.Context, s Statement) ([]byte, error) {
	if len(s.Nonce) != NonceSize {
		return nil, fmt.Errorf("attest: nonce of %d bytes, want %d", len(s.Nonce), NonceSize)
	}
	about := r.LDevID.Public()
	if s.Key != nil {
		about = s.Key.Public()
	}
	spki, err := x509.MarshalPKIXPublicKey(about)
	if err != nil {
		return nil, fmt.Errorf("attest: %w", err)
	}
	c := evidence.Claims{
		Nonce: s.Nonce, UEID: evidence.UEID(r.EK.Name.Buffer), Board: r.Board, OEMBoot: r.OEMBoot, Debug: r.Debug,
		BootCount: r.BootCount, Name: r.Name, Version: r.Version,
	}
	data, err := evidence.QualifyingData(s.Nonce, spki, c)
	if err != nil {
		return nil, err
	}
	var values []byte
	c.Quote, values, err = r.quote(ctx, data[:])
	if err != nil {
		return nil, err
	}
	if s.Key != nil {
		if c.Quote.Certify, err = r.certifyOnce(ctx, s.Key); err != nil {
			return nil, err
		}
	}
	if s.Compact {
		c.Quote = c.Quote.Compact(values)
	}
	return evidence.Sign(c, digestSigner{r.LDevID})
}

// digestSigner names the hash, which COSE leaves out: a key in a TPM signs
// digests of its own hash alone and wants to be told.
type digestSigner struct{ crypto.Signer }

func (s digestSigner) Sign(rand io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return s.Signer.Sign(rand, digest, crypto.SHA256)
}

// maxQuotes bounds how often a quote is made anew because the registers moved.
const maxQuotes = 5

// quote quotes the registers and returns their values beside. Logs, quote and
// values come from different moments: they belong together only if the logs are
// the same before and after, and the values have the digest that was quoted.
func (r *Room) quote(ctx context.Context, data []byte) (evidence.Quote, []byte, error) {
	for range maxQuotes {
		firmware, phases, err := r.Logs()
		if err != nil {
			return evidence.Quote{}, nil, fmt.Errorf("attest: event log: %w", err)
		}
		var q evidence.Quote
		var values, quoted []byte
		err = tpm.Exclusive(ctx, r.TPM, func(t transport.TPM) error {
			rsp, err := tpm2.Quote{
				SignHandle:     r.AK.Auth(),
				QualifyingData: tpm2.TPM2BData{Buffer: data},
				InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
				PCRSelect:      selection(r.PCRs),
			}.Execute(t)
			if err != nil {
				return fmt.Errorf("attest: quote: %w", err)
			}
			attest, err := rsp.Quoted.Contents()
			if err != nil {
				return fmt.Errorf("attest: quote: %w", err)
			}
			info, err := attest.Attested.Quote()
			if err != nil {
				return fmt.Errorf("attest: quote: %w", err)
			}
			quoted = info.PCRDigest.Buffer
			q = evidence.Quote{
				Attest: rsp.Quoted.Bytes(), Signature: tpm2.Marshal(rsp.Signature), AKName: r.AK.Name.Buffer,
				Log: firmware, Phases: phases,
			}
			values, err = readPCRs(t, r.PCRs)
			return err
		})
		if err != nil {
			return evidence.Quote{}, nil, err
		}
		firmwareAfter, phasesAfter, err := r.Logs()
		if err != nil {
			return evidence.Quote{}, nil, fmt.Errorf("attest: event log: %w", err)
		}
		sum := sha256.Sum256(values)
		if bytes.Equal(sum[:], quoted) && bytes.Equal(firmware, firmwareAfter) && bytes.Equal(phases, phasesAfter) {
			return q, values, nil
		}
	}
	return evidence.Quote{}, nil, ErrMoving
}

// readPCRs returns the SHA-256 values of the registers in ascending order. A
// TPM returns at most eight in one answer (TPM 2.0 Part 3, 22.4).
func readPCRs(t transport.TPM, pcrs []int) ([]byte, error) {
	var values []byte
	for _, p := range pcrs {
		rsp, err := tpm2.PCRRead{PCRSelectionIn: selection([]int{p})}.Execute(t)
		if err != nil {
			return nil, fmt.Errorf("attest: read register %d: %w", p, err)
		}
		if len(rsp.PCRValues.Digests) != 1 || len(rsp.PCRValues.Digests[0].Buffer) != sha256.Size {
			return nil, fmt.Errorf("attest: register %d has no SHA-256 bank", p)
		}
		values = append(values, rsp.PCRValues.Digests[0].Buffer...)
	}
	return values, nil
}

func selection(pcrs []int) tpm2.TPMLPCRSelection {
	bits := make([]byte, 3)
	for _, p := range pcrs {
		bits[p/8] |= 1 << (p % 8)
	}
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: bits}}}
}

// certifyOnce returns the AK's word for a key. It is kept: the key's attributes
// do not change, and the quote, not the certify, carries the nonce.
func (r *Room) certifyOnce(ctx context.Context, key Key) (*evidence.Certify, error) {
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("attest: %w", err)
	}
	id := sha256.Sum256(append(bytes.Clone(r.AK.Name.Buffer), spki...))
	r.mu.Lock()
	kept, same := r.certify, r.certified == id
	r.mu.Unlock()
	if kept != nil && same {
		return kept, nil
	}
	made, err := Certify(ctx, r.AK, key, nil)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.certify, r.certified = made, id
	r.mu.Unlock()
	return made, nil
}

// Certify has the AK certify a key, with data of at most 32 bytes as
// qualifying data.
func Certify(ctx context.Context, ak tpm.Key, key Key, data []byte) (*evidence.Certify, error) {
	var c evidence.Certify
	err := key.Loaded(ctx, func(t transport.TPM, loaded tpm.Key) error {
		rsp, err := tpm2.Certify{
			ObjectHandle:   loaded.Auth(),
			SignHandle:     ak.Auth(),
			QualifyingData: tpm2.TPM2BData{Buffer: data},
			InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		}.Execute(t)
		if err != nil {
			return fmt.Errorf("attest: certify: %w", err)
		}
		c = evidence.Certify{Attest: rsp.CertifyInfo.Bytes(), Signature: tpm2.Marshal(rsp.Signature), Public: tpm2.Marshal(loaded.Public)}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &c, nil
}
