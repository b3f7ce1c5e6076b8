// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

const (
	group = "10 000102030405060708090a0b0c0d0e0f" // a vector of 16 bytes
	epoch = "0000000000000102"
)

var groupID = unhex(strings.TrimPrefix(group, "10"))

func TestReadHead(t *testing.T) {
	for name, test := range map[string]struct {
		message string
		want    Head
	}{
		"private application":           {"0001 0002" + group + epoch + "01", Head{WirePrivate, groupID, 0x102, ContentApplication}},
		"private proposal":              {"0001 0002" + group + epoch + "02", Head{WirePrivate, groupID, 0x102, ContentProposal}},
		"private commit":                {"0001 0002" + group + epoch + "03" + "00 00 00", Head{WirePrivate, groupID, 0x102, ContentCommit}},
		"private, last epoch":           {"0001 0002" + group + "ffffffffffffffff 03", Head{WirePrivate, groupID, 1<<64 - 1, ContentCommit}},
		"private, no group":             {"0001 0002 00" + epoch + "03", Head{WirePrivate, []byte{}, 0x102, ContentCommit}},
		"private, long group":           {"0001 0002 4040" + strings.Repeat("11", 64) + epoch + "03", Head{WirePrivate, bytes.Repeat([]byte{0x11}, 64), 0x102, ContentCommit}},
		"private, huge group":           {"0001 0002 80004000" + strings.Repeat("11", 16384) + epoch + "03", Head{WirePrivate, bytes.Repeat([]byte{0x11}, 16384), 0x102, ContentCommit}},
		"public commit of a member":     {"0001 0001" + group + epoch + "01 00000007 00 03", Head{WirePublic, groupID, 0x102, ContentCommit}},
		"public proposal from outside":  {"0001 0001" + group + epoch + "02 00000000 02 aabb 02", Head{WirePublic, groupID, 0x102, ContentProposal}},
		"public proposal of a newcomer": {"0001 0001" + group + epoch + "03 00 02", Head{WirePublic, groupID, 0x102, ContentProposal}},
		"public commit of a newcomer":   {"0001 0001" + group + epoch + "04 00 03", Head{WirePublic, groupID, 0x102, ContentCommit}},
		"welcome":                       {"0001 0003", Head{Wire: WireWelcome}},
		"group info":                    {"0001 0004 ff", Head{Wire: WireGroupInfo}},
		"key package":                   {"0001 0005 ff", Head{Wire: WireKeyPackage}},
	} {
		if got, err := ReadHead(unhex(test.message)); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, test.want)
		}
	}
}

func TestHeadRefused(t *testing.T) {
	for name, message := range map[string]string{
		"empty":                     "",
		"version 0":                 "0000 0003",
		"version 2":                 "0002 0003",
		"wire format 0":             "0001 0000",
		"wire format 6":             "0001 0006",
		"no wire format":            "0001",
		"half a wire format":        "0001 00",
		"no group":                  "0001 0002",
		"group cut off":             "0001 0002 10 0001",
		"no epoch":                  "0001 0002" + group,
		"half an epoch":             "0001 0002" + group + "00000000",
		"no content type":           "0001 0002" + group + epoch,
		"content type 0":            "0001 0002" + group + epoch + "00",
		"content type 4":            "0001 0002" + group + epoch + "04",
		"length longer than needed": "0001 0002 4010" + strings.TrimPrefix(group, "10") + epoch + "01",
		"4 bytes where 2 do":        "0001 0002 80000040" + strings.Repeat("11", 64) + epoch + "03",
		"length of 8 bytes":         "0001 0002 c000000000000010" + strings.TrimPrefix(group, "10") + epoch + "01",
		"half a length":             "0001 0002 40",
		"public application":        "0001 0001" + group + epoch + "01 00000007 00 01",
		"sender type 0":             "0001 0001" + group + epoch + "00 00 03",
		"sender type 5":             "0001 0001" + group + epoch + "05 00 03",
		"no sender":                 "0001 0001" + group + epoch,
		"half a leaf index":         "0001 0001" + group + epoch + "01 0000",
		"authenticated data cut":    "0001 0001" + group + epoch + "01 00000007 05 aa",
		"no content after data":     "0001 0001" + group + epoch + "01 00000007 00",
	} {
		if h, err := ReadHead(unhex(message)); !errors.Is(err, ErrHead) || !reflect.DeepEqual(h, Head{}) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

// FuzzHead: a head is a prefix of the message, has one spelling, and says the
// same whatever follows it.
func FuzzHead(f *testing.F) {
	f.Add(unhex("0001 0002" + group + epoch + "03 00 00 00"))
	f.Add(unhex("0001 0001" + group + epoch + "01 00000007 00 03"))
	f.Add(unhex("0001 0001" + group + epoch + "04 02 aabb 03"))
	f.Add(unhex("0001 0002 4040" + strings.Repeat("11", 64) + epoch + "03"))
	f.Add(unhex("0001 0003"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		h, err := ReadHead(msg)
		if err != nil {
			if !errors.Is(err, ErrHead) || !reflect.DeepEqual(h, Head{}) {
				t.Fatalf("refused with %+v, %v", h, err)
			}
			return
		}
		if h.Wire > WirePrivate {
			return
		}
		if again, err := ReadHead(append(bytes.Clone(msg), 0xff)); err != nil || !reflect.DeepEqual(again, h) {
			t.Errorf("with a byte more: %+v, %v; want %+v", again, err, h)
		}
		if h.Wire != WirePrivate {
			return
		}
		end := 4 + prefixSize(len(h.Group)) + len(h.Group) + 8 + 1
		if again, err := ReadHead(msg[:end]); err != nil || !reflect.DeepEqual(again, h) {
			t.Errorf("head alone: %+v, %v; want %+v", again, err, h)
		}
		if _, err := ReadHead(msg[:end-1]); err == nil {
			t.Error("a head without its last byte was read")
		}
	})
}

func prefixSize(n int) int {
	switch {
	case n < 1<<6:
		return 1
	case n < 1<<14:
		return 2
	}
	return 4
}
