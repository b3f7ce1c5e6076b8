// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"incamera/secureboot/evidence"
	"incamera/secureboot/seal"
	"incamera/secureboot/update"
)

// maxLog bounds the file of the log's hashes, in bytes.
const maxLog = 64 << 20

func setBundle(c *call) func() error {
	uki := c.need("uki", "`file` of the unified kernel image, signed for the firmware")
	system := c.need("system", "`file` of the system image with its hash tree")
	policies := c.need("policies", "`file` that mkbundle policies wrote")
	references := c.need("reference", "`folder` that mkbundle reference wrote")
	log := c.need("log", "`file` with the hashes of the log of reference values")
	logPub := c.need("log-public", "`file` of the public half of the log's key")
	bundleKey := c.need("bundle-key", "`file` of the bundle key")
	root := c.need("root", "`file` of the root key's public half")
	generation := c.Uint64("root-generation", 1, "`number` of the root, 1 to 8")
	db := c.need("db", "`file` of the certificate in the firmware's db")
	out := c.need("out", "`file` to write")
	return func() error {
		g, err := rootGeneration(*generation)
		if err != nil {
			return err
		}
		key, err := signer(*bundleKey)
		if err != nil {
			return err
		}
		t := update.Trust{BundleKey: key.Public()}
		rootKey, err := public(*root)
		if err != nil {
			return err
		}
		t.Root = seal.RootKey{Generation: g, Key: rootKey}
		verifier, err := noteVerifier(*logPub)
		if err != nil {
			return err
		}
		t.Log = []note.Verifier{verifier}
		cert, err := readCertificate(*db)
		if err != nil {
			return err
		}
		t.DB = []*x509.Certificate{cert}
		m, err := manifest(*references, *policies, *log, t)
		if err != nil {
			return err
		}
		t.Board = m.Board
		if m.System, err = part(*system, update.MaxSystem); err != nil {
			return err
		}
		if m.UKI, err = part(*uki, update.MaxUKI); err != nil {
			return err
		}
		var size int64
		err = place(*out, func(f *os.File) error {
			s, err := os.Open(*system)
			if err != nil {
				return err
			}
			defer s.Close()
			u, err := os.Open(*uki)
			if err != nil {
				return err
			}
			defer u.Close()
			if err := update.Write(f, m, key, s, u); err != nil {
				return err
			}
			if size, err = f.Seek(0, io.SeekCurrent); err != nil {
				return err
			}
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				return err
			}
			// A room would refuse it only once it has it.
			_, err = update.Inspect(f, t)
			return err
		})
		if err != nil {
			return err
		}
		return c.print(map[string]any{
			"file": *out, "size": size, "board": m.Board, "version": m.Version, "rollback": m.Rollback, "floor": m.FloorRaise,
			"system_sha256": m.System.SHA256, "uki_sha256": m.UKI.SHA256,
		}, fmt.Sprintf("%s: %d bytes, %s for %s, rollback number %d, raises the floor to %d (0: does not)\n",
			*out, size, m.Version, m.Board, m.Rollback, m.FloorRaise))
	}
}

// manifest joins what earlier steps wrote. Board, version and numbers are those
// of the signed reference values: nothing is said twice on the command line.
func manifest(folder, policies, log string, t update.Trust) (*update.Manifest, error) {
	m := new(update.Manifest)
	var err error
	if m.References, err = read(folder+"/reference.cbor", evidence.MaxReferences); err != nil {
		return nil, err
	}
	r, err := evidence.ParseReferences(m.References, t.BundleKey)
	if err != nil {
		return nil, err
	}
	m.Board, m.Version, m.Rollback, m.VerityRoot = r.Board, r.Version, r.Rollback, r.VerityRoot
	if m.LogProof, err = read(folder+"/reference.proof", evidence.MaxProof); err != nil {
		return nil, err
	}
	proof, err := evidence.ParseProof(m.LogProof)
	if err != nil {
		return nil, err
	}
	checkpoint, err := proof.Verify(m.References, t.Log...)
	if err != nil {
		return nil, err
	}
	hashes, err := read(log, maxLog)
	if err != nil {
		return nil, err
	}
	// The log as it stood at the checkpoint; it may have grown since.
	end := tlog.StoredHashCount(checkpoint.Size) * tlog.HashSize
	if int64(len(hashes)) < end {
		return nil, fmt.Errorf("%s: shorter than the checkpoint says", log)
	}
	m.History = hashes[:end]
	if m.Policies, err = read(policies, maxPolicies); err != nil {
		return nil, err
	}
	p, err := seal.ParsePolicies(m.Policies)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", policies, err)
	}
	for _, w := range p.Writes {
		if w.Root == t.Root.Generation && w.Use == seal.Floor && !w.First {
			m.FloorRaise = max(m.FloorRaise, w.Value)
		}
	}
	return m, nil
}

// part hashes a file of at most limit bytes.
func part(path string, limit int64) (update.Part, error) {
	f, err := os.Open(path)
	if err != nil {
		return update.Part{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return update.Part{}, err
	case n == 0:
		return update.Part{}, fmt.Errorf("%s: empty", path)
	case n > limit:
		return update.Part{}, fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return update.Part{Size: n, SHA256: evidence.Digest(h.Sum(nil))}, nil
}

// noteVerifier reads the public half of the log's key: a line in the form of
// package note.
func noteVerifier(path string) (note.Verifier, error) {
	b, err := read(path, maxKey)
	if err != nil {
		return nil, err
	}
	v, err := note.NewVerifier(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, fmt.Errorf("%s: not the public key of a log", path)
	}
	return v, nil
}

// readCertificate reads one certificate in PEM.
func readCertificate(path string) (*x509.Certificate, error) {
	b, err := read(path, maxKey)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" || len(strings.TrimSpace(string(rest))) != 0 {
		return nil, fmt.Errorf("%s: not one CERTIFICATE in PEM", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: not a certificate", path)
	}
	return cert, nil
}
