// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package enroltest

import (
	"bytes"
	"crypto/sha256"

	"incamera/secureboot/update"
)

// Bundle packs a release with the system image system. Its UKI is a few bytes:
// no verifier looks into it.
func (v *Vendor) Bundle(r *Release, system []byte) []byte {
	v.t.Helper()
	return v.Pack(v.Manifest(r, system), system)
}

// bundleUKI stands for the image that starts a release.
var bundleUKI = []byte("unified kernel image")

// Manifest is that of a bundle of a release, with the log as it stands now.
func (v *Vendor) Manifest(r *Release, system []byte) *update.Manifest {
	v.t.Helper()
	policies, err := r.Policies.Marshal()
	if err != nil {
		v.t.Fatal(err)
	}
	return &update.Manifest{
		Board: r.Values.Board, Version: r.Version, Rollback: r.Values.Rollback, VerityRoot: r.Values.VerityRoot,
		Policies: policies, References: r.Document, LogProof: v.Proof(r), History: v.Log.Marshal(),
		System: update.Part{Size: int64(len(system)), SHA256: sha256.Sum256(system)},
		UKI:    update.Part{Size: int64(len(bundleUKI)), SHA256: sha256.Sum256(bundleUKI)},
	}
}

// Pack signs a manifest.
func (v *Vendor) Pack(m *update.Manifest, system []byte) []byte {
	v.t.Helper()
	var out bytes.Buffer
	if err := update.Write(&out, m, v.bundle, bytes.NewReader(system), bytes.NewReader(bundleUKI)); err != nil {
		v.t.Fatal(err)
	}
	return out.Bytes()
}
