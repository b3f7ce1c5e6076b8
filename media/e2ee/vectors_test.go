// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"hash"
	"os"
	"testing"

	"incamera/media/frame"
)

var update = flag.Bool("update", false, "write the published vectors anew")

// A vector leads from an MLS epoch to a sealed frame; testdata/README.md
// describes the fields for strangers.
type vector struct {
	Name           string `json:"name"`
	Suite          uint16 `json:"mls_cipher_suite"`
	Hash           string `json:"mls_hash"`
	ExporterSecret hexes  `json:"exporter_secret"`
	BaseKey        hexes  `json:"base_key"`
	Epoch          uint64 `json:"epoch"`
	Slots          uint32 `json:"leaf_slots"`
	Leaves         []Leaf `json:"leaves"`
	Sender         Leaf   `json:"sender_leaf"`
	Context        uint64 `json:"context"`
	EpochBits      uint   `json:"e"`
	LeafBits       uint   `json:"s"`
	KID            uint64 `json:"kid"`
	Key            hexes  `json:"sframe_key"`
	Salt           hexes  `json:"sframe_salt"`
	Frames         []struct {
		Counter  uint64 `json:"ctr"`
		Frame    hexes  `json:"frame"`
		Clear    hexes  `json:"clear"`
		Metadata hexes  `json:"metadata"`
		Sealed   hexes  `json:"sealed"`
	} `json:"frames"`
}

type hexes []byte

func (h hexes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

const vectorFile = "testdata/mls-sframe.json"

// TestVectors computes every value of the published vectors from the inputs
// with the standard library alone, and compares the file with that and with
// what a Keyring does.
func TestVectors(t *testing.T) {
	want := makeVectors(t)
	if *update {
		text, err := json.MarshalIndent(want, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var file []vector
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file) != len(want) || len(file) == 0 {
		t.Fatalf("%d vectors in the file, %d made", len(file), len(want))
	}
	for i, v := range file {
		t.Run(v.Name, func(t *testing.T) {
			if got, made := fmt.Sprintf("%+v", v), fmt.Sprintf("%+v", want[i]); got != made {
				t.Errorf("file: %s\nmade: %s", got, made)
			}
			checkVector(t, v)
		})
	}
}

// checkVector seals with a Keyring what the vector seals, and opens it with
// another room's.
func checkVector(t *testing.T, v vector) {
	t.Helper()
	keys := EpochKeys{Epoch: v.Epoch, Self: v.Sender, Slots: v.Slots, Leaves: v.Leaves, BaseKey: v.BaseKey}
	sender := ring(t, keys)
	for _, leaf := range v.Leaves {
		keys.Self = leaf
		other := ring(t, keys)
		for _, f := range v.Frames {
			kind := frame.Kind(v.Context)
			if leaf == v.Sender {
				s, err := sender.Seal(nil, &frame.Encoded{Kind: kind, Data: f.Frame})
				if err != nil || !bytes.Equal(s.Bytes(), f.Sealed) {
					t.Errorf("counter %d: sealed as %x, %v; want %x", f.Counter, s.Bytes(), err, f.Sealed)
				}
				continue
			}
			if got, err := other.Open(nil, kind, v.Sender, f.Sealed); err != nil || !bytes.Equal(got, f.Frame) {
				t.Errorf("counter %d at leaf %d: opened as %x, %v; want %x", f.Counter, leaf, got, err, f.Frame)
			}
		}
	}
}

// makeVectors computes the vectors without sframe and Keyring.
func makeVectors(t *testing.T) []vector {
	t.Helper()
	var out []vector
	for _, in := range []struct {
		name    string
		suite   uint16
		epoch   uint64
		slots   uint32
		leaves  []Leaf
		sender  Leaf
		context uint64
	}{
		{"two rooms, audio", 0xF0A1, 1, 2, []Leaf{0, 1}, 0, 0},
		{"two rooms, camera", 0xF0A1, 1, 2, []Leaf{0, 1}, 1, 1},
		{"two rooms, content", 0xF0A1, 1, 2, []Leaf{0, 1}, 1, 2},
		{"a tree of one leaf slot has S = 0", 1, 3, 1, []Leaf{0}, 0, 1},
		{"blank leaves count: S follows the slots, not the members", 1, 9, 8, []Leaf{0, 5}, 5, 1},
		{"the tree before it grows", 2, 14, 4, []Leaf{0, 1, 2, 3}, 3, 1},
		{"the tree has grown: same leaf, other S", 2, 15, 8, []Leaf{0, 1, 2, 3, 4}, 3, 1},
		{"the epoch's low bits roll over", 2, 16, 8, []Leaf{0, 1, 2, 3, 4}, 3, 1},
		{"the tree has shrunk again", 2, 17, 4, []Leaf{0, 3}, 3, 1},
		{"SHA-512, the last leaf of the largest tree, a late epoch", 5, 1<<40 + 13, 1024, []Leaf{0, 1023}, 1023, 2},
	} {
		v := vector{
			Name: in.name, Suite: in.suite, Epoch: in.epoch, Slots: in.slots, Leaves: in.leaves,
			Sender: in.sender, Context: in.context, EpochBits: 4,
		}
		h := sha512.New384
		switch in.suite {
		case 1, 2:
			h, v.Hash = sha256.New, "SHA-256"
		case 5:
			h, v.Hash = sha512.New, "SHA-512"
		default:
			v.Hash = "SHA-384"
		}
		// Any secret would do; this one can be made again by anybody.
		v.ExporterSecret = sha3.SumSHAKE256([]byte("exporter_secret: "+in.name), h().Size())
		v.BaseKey = export(t, h, v.ExporterSecret, "SFrame 1.0 Base Key", nil, 32)
		for 1<<v.LeafBits < in.slots {
			v.LeafBits++
		}
		v.KID = in.context<<(v.LeafBits+4) | uint64(in.sender)<<4 | in.epoch%16
		v.Key, v.Salt = keyAndSalt(t, v.BaseKey, v.KID)
		for ctr := range uint64(9) { // the last counter leaves the config byte
			if ctr > 1 && ctr < 7 {
				v.addFrame(t, ctr, nil)
				continue
			}
			v.addFrame(t, ctr, fmt.Appendf(nil, "frame %d of leaf %d", ctr, in.sender))
		}
		out = append(out, v)
	}
	return out
}

// addFrame seals one frame; nil stands for one of a single byte.
func (v *vector) addFrame(t *testing.T, ctr uint64, data []byte) {
	t.Helper()
	if data == nil {
		data = []byte{byte(ctr)}
	}
	clearBytes, metadata := []byte{}, []byte{2} // Opus
	if v.Context != 0 {
		clearBytes, metadata = data[:1], []byte{1, data[0]} // VP8
	}
	// RFC 9605, Section 4.3, for identifiers below 2^16 and counters below 2^8.
	header := []byte{0}
	switch {
	case v.KID < 8:
		header[0] = byte(v.KID) << 4
	case v.KID < 1<<8:
		header = append([]byte{0x80}, byte(v.KID))
	default:
		header = binary.BigEndian.AppendUint16([]byte{0x90}, uint16(v.KID))
	}
	if ctr < 8 {
		header[0] |= byte(ctr)
	} else {
		header[0] |= 0x08
		header = append(header, byte(ctr))
	}
	block, err := aes.NewCipher(v.Key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := bytes.Clone(v.Salt)
	nonce[11] ^= byte(ctr)
	sealed := append(bytes.Clone(clearBytes), header...)
	sealed = gcm.Seal(sealed, nonce, data[len(clearBytes):], append(bytes.Clone(header), metadata...))
	v.Frames = append(v.Frames, struct {
		Counter  uint64 `json:"ctr"`
		Frame    hexes  `json:"frame"`
		Clear    hexes  `json:"clear"`
		Metadata hexes  `json:"metadata"`
		Sealed   hexes  `json:"sealed"`
	}{ctr, data, clearBytes, metadata, sealed})
}

// export is MLS-Exporter of RFC 9420, Section 8.5.
func export(t *testing.T, h func() hash.Hash, secret []byte, label string, context []byte, length int) []byte {
	t.Helper()
	derived := expandWithLabel(t, h, secret, label, nil, h().Size())
	sum := h()
	sum.Write(context)
	return expandWithLabel(t, h, derived, "exported", sum.Sum(nil), length)
}

// expandWithLabel is that of RFC 9420, Section 8, for short labels and contexts.
func expandWithLabel(t *testing.T, h func() hash.Hash, secret []byte, label string, context []byte, length int) []byte {
	t.Helper()
	info := binary.BigEndian.AppendUint16(nil, uint16(length))
	info = append(append(info, byte(len("MLS 1.0 "+label))), "MLS 1.0 "+label...)
	info = append(info, quicLength(len(context))...)
	info = append(info, context...)
	out, err := hkdf.Expand(h, secret, string(info), length)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// quicLength is the variable-size length of RFC 9420, Section 2.1.2.
func quicLength(n int) []byte {
	if n < 64 {
		return []byte{byte(n)}
	}
	return binary.BigEndian.AppendUint16(nil, 0x4000|uint16(n))
}

// keyAndSalt is derive_key_salt of RFC 9605, Section 4.4.2, for suite 5.
func keyAndSalt(t *testing.T, baseKey []byte, kid uint64) (key, salt []byte) {
	t.Helper()
	secret, err := hkdf.Extract(sha512.New, baseKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	tail := string(binary.BigEndian.AppendUint64(nil, kid)) + "\x00\x05"
	if key, err = hkdf.Expand(sha512.New, secret, "SFrame 1.0 Secret key "+tail, 32); err != nil {
		t.Fatal(err)
	}
	if salt, err = hkdf.Expand(sha512.New, secret, "SFrame 1.0 Secret salt "+tail, 12); err != nil {
		t.Fatal(err)
	}
	return key, salt
}
