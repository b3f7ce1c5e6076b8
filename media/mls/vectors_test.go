// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"testing"

	"incamera/media/internal/vectortest"
)

// hexBytes is a byte string in a vector file.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	d, err := hex.DecodeString(s)
	*h = d
	return err
}

// A vectorFile is a published file and how to run one of its cases.
type vectorFile struct {
	name string
	run  func(t *testing.T, s *Suite, raw json.RawMessage)
}

// each makes the runner of a file whose cases are T.
func each[T any](run func(t *testing.T, s *Suite, c T)) func(*testing.T, *Suite, json.RawMessage) {
	return func(t *testing.T, s *Suite, raw json.RawMessage) {
		t.Helper()
		var c T
		if err := json.Unmarshal(raw, &c); err != nil {
			t.Fatal(err)
		}
		run(t, s, c)
	}
}

// TestVectors runs every case of every published file and prints a table. The
// only reason to skip one is a suite that the standard library cannot do.
func TestVectors(t *testing.T) {
	files := []vectorFile{
		{"mls/deserialization.json", each(vectorDeserialization)},
		{"mls/tree-math.json", each(vectorTreeMath)},
		{"mls/crypto-basics.json", each(vectorCryptoBasics)},
		{"mls/secret-tree.json", each(vectorSecretTree)},
		{"mls/message-protection.json", each(vectorMessageProtection)},
		{"mls/key-schedule.json", each(vectorKeySchedule)},
		{"mls/psk_secret.json", each(vectorPSKSecret)},
		{"mls/transcript-hashes.json", each(vectorTranscriptHashes)},
		{"mls/welcome.json", each(vectorWelcome)},
		{"mls/tree-operations.json", each(vectorTreeOperations)},
		{"mls/tree-validation.json", each(vectorTreeValidation)},
		{"mls/treekem.json", each(vectorTreeKEM)},
		{"mls/messages.json", each(vectorMessages)},
		{"mls/passive-client-welcome.json", each(vectorPassiveClient)},
		{"mls/passive-client-handling-commit.json", each(vectorPassiveClient)},
		{"mls-extra/mls-rs-tree_math.json", each(vectorTreeMath)},
		{"mls-extra/mls-rs-key_package_ref.json", each(vectorKeyPackageRef)},
		{"mls-extra/mls-rs-proposal_ref.json", each(vectorProposalRef)},
		{"mls-extra/mls-rs-tree_hash.json", each(vectorTreeHash)},
		{"mls-extra/mls-rs-parent_hash.json", each(vectorParentHash)},
		{"mls-extra/mls-rs-path_secret.json", each(vectorPathSecret)},
		{"mls-extra/mls-rs-reuse_guard.json", each(vectorReuseGuard)},
		{"mls-extra/mls-rs-sender_data_key_test_vector.json", each(vectorSenderData)},
		{"hpke/rfc9180.json", each(vectorHPKE)},
		{"hpke/hpke-pq.json", each(vectorHPKE)},
		{"pq/hpke-pq-test-vectors.json", each(vectorHPKE)},
		{"pq/xwing-test-vectors.json", each(vectorXWing)},
	}
	var table vectortest.Table
	for _, f := range files {
		t.Run(f.name, func(t *testing.T) { runVectors(t, f, &table) })
	}
	table.Print(t, "media/mls")
}

func runVectors(t *testing.T, f vectorFile, table *vectortest.Table) {
	t.Helper()
	var cases []json.RawMessage
	passed, reasons := 0, map[string]int{}
	defer func() {
		if t.Skipped() {
			table.Absent(f.name)
		} else {
			table.Add(f.name, len(cases), passed, reasons)
		}
	}()
	vectortest.LoadJSON(t, f.name, &cases)
	if len(cases) == 0 {
		t.Fatal("the file holds no case")
	}
	for i, raw := range cases {
		var head struct {
			Suite CipherSuite `json:"cipher_suite"`
			KEM   *uint16     `json:"kem_id"`
			KDF   uint16      `json:"kdf_id"`
		}
		_ = json.Unmarshal(raw, &head) // some files have none
		var s *Suite
		if head.Suite != 0 {
			var err error
			if s, err = SuiteByID(head.Suite); err != nil {
				if head.Suite != 4 && head.Suite != 6 {
					t.Fatal(err)
				}
				reasons[fmt.Sprintf("suite %d", head.Suite)]++
				continue
			}
		}
		if head.KEM != nil {
			if why := unsupportedHPKE(*head.KEM, head.KDF); why != "" {
				reasons[why]++
				continue
			}
		}
		if t.Run(fmt.Sprint(i), func(t *testing.T) { f.run(t, s, raw) }) {
			passed++
		}
	}
	if passed == 0 {
		t.Error("no case passed")
	}
}

// unsupportedHPKE says what of an HPKE case the standard library lacks.
func unsupportedHPKE(kem, kdf uint16) string {
	switch {
	case kem == 0x40:
		return "ML-KEM-512"
	case kem == 0x21:
		return "X448"
	case kdf == 0x12 || kdf == 0x13:
		return "TurboSHAKE"
	}
	return ""
}

// signerOf makes a Signer of the private key of a vector: a scalar, from which
// leading zeros may be missing, or a seed.
func signerOf(tb testing.TB, s *Suite, priv []byte) Signer {
	tb.Helper()
	if s.scheme == Ed25519 {
		k, err := SignerFrom(ed25519.NewKeyFromSeed(priv[:32]))
		if err != nil {
			tb.Fatal(err)
		}
		return k
	}
	c, err := curve(s.scheme)
	if err != nil {
		tb.Fatal(err)
	}
	key, err := ecdsa.ParseRawPrivateKey(c, leftPad(priv, (c.Params().BitSize+7)/8))
	if err != nil {
		tb.Fatal(err)
	}
	k, err := SignerFrom(key)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func leftPad(b []byte, size int) []byte {
	if len(b) >= size {
		return b
	}
	return append(make([]byte, size-len(b)), b...)
}

// keyOf makes an HPKEKey of the private key of a vector.
func keyOf(tb testing.TB, s *Suite, priv []byte) HPKEKey {
	tb.Helper()
	size := map[uint16]int{0x10: 32, 0x11: 48, 0x12: 66}[s.kem.ID()]
	k, err := s.kem.NewPrivateKey(leftPad(priv, size))
	if err != nil {
		tb.Fatal(err)
	}
	return KeyFrom(k)
}

func equalHex(tb testing.TB, what string, got, want []byte) {
	tb.Helper()
	if string(got) != string(want) {
		tb.Errorf("%s = %x; want %x", what, got, want)
	}
}
