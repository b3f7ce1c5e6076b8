// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

var (
	id16   = bytes.Repeat([]byte{0xa5}, MinMeeting)
	id32   = bytes.Repeat([]byte{0x5a}, MaxMeeting)
	curie  = Room{Name: "Salle Curie", Site: "École"}
	spki   = [32]byte{1, 2, 3, 31: 32}
	mls    = []byte("an MLS message")
	sample = []Message{ // one of each kind; a test checks that none is missing
		{1, Open{Meeting: id16, Epoch: 0, Members: []Room{}}},
		{2, Open{Meeting: id32, Epoch: 1<<63 - 1, Members: []Room{curie, {Name: "b", Site: "c"}}}},
		{3, Attach{Meeting: id16}},
		{4, Knock{KeyPackage: mls}},
		{5, Rejoin{Meeting: id32, Seq: 24}},
		{6, Commit{Epoch: 255, Message: mls, Welcomes: []Welcome{}}},
		{7, Commit{Epoch: 256, Message: mls, Welcomes: []Welcome{{Knock: 1, Message: mls}, {Knock: 2, Message: mls}}}},
		{8, Submit{Message: mls}},
		{9, Refuse{Knock: 3, Reason: NotAllowed}},
		{10, Evict{Room: curie}},
		{11, Leave{}},
		{12, Ring{Meeting: id16, Relay: "192.0.2.7:8443", Key: spki}},
		{13, Ring{Meeting: id16, Relay: "[2001:db8::1]:1", Key: spki}},
		{14, Ring{Meeting: id16, Relay: "relay.example.org:65535", Key: spki}},
		{15, Cancel{}},
		{16, Fresh{Handle: id32}},
		{1<<64 - 1, Opened{Epoch: 1<<64 - 1, Seq: 1<<64 - 2}},
		{24, Done{}},
		{24, Attached{Handle: []byte{}}},
		{24, Attached{Handle: id32}},
		{25, Accepted{Seq: 1}},
		{26, Stale{Epoch: 7, Seq: 0}},
		{27, Welcomed{Message: mls, Seq: 9}},
		{28, Refused{Reason: Busy}},
		{29, Ringing{}},
		{30, Answered{}},
		{31, Declined{Reason: DeclinedBy}},
		{32, Error{Code: CodeNotFound, Detail: ""}},
		{33, Error{Code: CodeFull, Detail: strings.Repeat("é", MaxDetail/2)}},
		{0, Ordered{Seq: 1, Message: mls}},
		{0, Knocked{Knock: 1, Room: curie, KeyPackage: mls}},
		{0, KnockEnded{Knock: 1, Reason: WasWelcomed}},
		{0, Presence{Room: curie, Connected: true}},
		{0, Presence{Room: curie}},
		{0, Gone{Room: curie, Reason: Lost}},
		{0, Closed{Reason: Stopping}},
		{0, Beat{}},
	}
)

func TestRoundTrip(t *testing.T) {
	for _, m := range sample {
		data, err := Encode(m)
		if err != nil {
			t.Errorf("Encode(%+v): %v", m, err)
			continue
		}
		got, err := Decode(data)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("Decode(%x) = %+v, %v; want %+v", data, got, err, m)
		}
	}
}

func TestSampleHasEveryKind(t *testing.T) {
	for k := range decoders {
		known := decoders[k] != nil
		if has := slices.ContainsFunc(sample, func(m Message) bool { return m.Kind() == Kind(k) }); has != known {
			t.Errorf("kind %d: known %t, in the sample %t", k, known, has)
		}
	}
}

// TestWire pins what other releases send.
func TestWire(t *testing.T) {
	for _, test := range []struct {
		m    Message
		want string
	}{
		{Message{1, Leave{}}, "84 01 01 09 80"},
		{Message{0, Beat{}}, "84 01 00 1860 80"},
		{Message{300, Accepted{Seq: 24}}, "84 01 19012c 1822 81 1818"},
		{Message{0, Closed{Reason: Lost}}, "84 01 00 1845 81 646c6f7374"},
		{Message{0, Presence{Room: Room{Name: "a", Site: "b"}, Connected: true}}, "84 01 00 1843 82 82 6161 6162 f5"},
		{Message{2, Commit{Epoch: 1, Message: []byte{9}, Welcomes: []Welcome{{Knock: 3, Message: []byte{8}}}}}, "84 01 02 05 83 01 4109 81 82 03 4108"},
		{Message{2, Commit{Epoch: 1, Message: []byte{9}}}, "84 01 02 05 83 01 4109 80"},
	} {
		got, err := Encode(test.m)
		if want := unhex(test.want); err != nil || !bytes.Equal(got, want) {
			t.Errorf("Encode(%+v) = %x, %v; want %x", test.m, got, err, want)
		}
	}
}

func TestRefusedSpellings(t *testing.T) {
	for name, spelling := range map[string]string{
		"empty":                  "",
		"not an array":           "00",
		"three elements":         "83 01 01 09",
		"five elements":          "85 01 01 09 80 80",
		"indefinite envelope":    "9f 01 01 09 80 ff",
		"long envelope":          "9804 01 01 09 80",
		"truncated":              "84 01 01 09",
		"trailing byte":          "84 01 01 09 80 00",
		"version 0":              "84 00 01 09 80",
		"version 2":              "84 02 01 09 80",
		"long version":           "84 1801 01 09 80",
		"request without number": "84 01 00 09 80",
		"answer without number":  "84 01 00 1821 80",
		"news with number":       "84 01 01 1845 81 646c6f7374",
		"number of 2 bytes":      "84 01 190001 09 80",
		"negative number":        "84 01 20 09 80",
		"float number":           "84 01 f93c00 09 80",
		"tagged number":          "84 01 c101 09 80",
		"bignum":                 "84 01 c24101 09 80",
		"number is null":         "84 01 f6 09 80",
		"unknown kind":           "84 01 01 181f 80",
		"kind 0":                 "84 01 01 00 80",
		"kind of 2 bytes":        "84 01 01 190109 80",
		"body is a map":          "84 01 01 09 a0",
		"body is null":           "84 01 01 09 f6",
		"body too long":          "84 01 01 09 81 00",
		"body too short":         "84 01 01 1822 80",
		"indefinite body":        "84 01 01 1822 9f 01 ff",
		"long number in body":    "84 01 01 1822 81 1801",
		"null in body":           "84 01 01 1822 81 f6",
		"undefined in body":      "84 01 01 1822 81 f7",
		"text for bytes":         "84 01 01 08 81 6109",
		"bytes for text":         "84 01 00 1845 81 446c6f7374",
		"array for bytes":        "84 01 01 08 81 8109",
		"indefinite bytes":       "84 01 01 08 81 5f4109ff",
		"length of 2 bytes":      "84 01 01 08 81 580109",
		"null for bytes":         "84 01 01 08 81 f6",
		"null for list":          "84 01 02 05 83 01 4109 f6",
		"number for flag":        "84 01 00 1843 82 82 6161 6162 01",
		"null for flag":          "84 01 00 1843 82 82 6161 6162 f6",
		"null for room":          "84 01 00 1843 82 f6 f5",
		"invalid UTF-8":          "84 01 00 1843 82 82 61ff 6162 f5",
		"unknown reason":         "84 01 00 1845 81 646c6f7375",
		"deep":                   "84 01 01 09 8181818181818180",
		"many":                   "84 01 01 09 9a7fffffff",
		"huge string":            "84 01 01 08 81 5b7fffffffffffffff",
	} {
		if m, err := Decode(unhex(spelling)); !errors.Is(err, ErrMalformed) || m != (Message{}) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

// TestRefusedBodies has the limits of each body, one step beyond. What Encode
// refuses Decode must refuse as well.
func TestRefusedBodies(t *testing.T) {
	long := func(n int) []byte { return make([]byte, n) }
	many := make([]Welcome, MaxWelcomes+1)
	for i := range many {
		many[i] = Welcome{Knock: uint64(i + 1), Message: mls}
	}
	full := []Welcome{{Knock: 1, Message: long(MaxWelcome)}, {Knock: 2, Message: mls}}
	for _, b := range []Body{
		Open{Meeting: long(MinMeeting - 1)},
		Open{Meeting: long(MaxMeeting + 1)},
		Open{Meeting: id16, Epoch: 1 << 63},
		Open{Meeting: id16, Members: make([]Room, MaxMembers+1)},
		Open{Meeting: id16, Members: []Room{{Name: "a"}}},
		Attach{},
		Attach{Meeting: long(MaxMeeting + 1)},
		Fresh{},
		Fresh{Handle: long(MaxHandle + 1)},
		Attached{Handle: long(MaxHandle + 1)},
		Knock{},
		Knock{KeyPackage: long(MaxKeyPackage + 1)},
		Rejoin{Meeting: id16},
		Rejoin{Meeting: id16, Seq: 1<<64 - 1},
		Rejoin{Seq: 1},
		Commit{},
		Commit{Message: long(MaxHandshake + 1)},
		Commit{Message: mls, Welcomes: many},
		Commit{Message: mls, Welcomes: full},
		Commit{Message: mls, Welcomes: []Welcome{{Message: mls}}},
		Commit{Message: mls, Welcomes: []Welcome{{Knock: 1}}},
		Commit{Message: mls, Welcomes: []Welcome{{Knock: 1, Message: mls}, {Knock: 1, Message: mls}}},
		Submit{},
		Submit{Message: long(MaxHandshake + 1)},
		Refuse{Reason: Busy},
		Refuse{Knock: 1},
		Refuse{Knock: 1, Reason: "because"},
		Evict{},
		Evict{Room: Room{Name: "a", Site: ""}},
		Ring{Relay: "192.0.2.7:1"},
		Ring{Meeting: id16},
		Ring{Meeting: id16, Relay: "192.0.2.7"},
		Ring{Meeting: id16, Relay: "192.0.2.7:0"},
		Ring{Meeting: id16, Relay: "192.0.2.7:65536"},
		Ring{Meeting: id16, Relay: "192.0.2.7:080"},
		Ring{Meeting: id16, Relay: "192.0.2.7:+80"},
		Ring{Meeting: id16, Relay: "192.0.2.7:http"},
		Ring{Meeting: id16, Relay: ":80"},
		Ring{Meeting: id16, Relay: "a b:80"},
		Ring{Meeting: id16, Relay: "user@host:80"},
		Ring{Meeting: id16, Relay: "host/path:80"},
		Ring{Meeting: id16, Relay: strings.Repeat("a", MaxAddress) + ":80"},
		Opened{},
		Accepted{},
		Welcomed{Seq: 1},
		Welcomed{Message: mls},
		Welcomed{Message: long(MaxWelcome + 1), Seq: 1},
		Refused{},
		Declined{},
		Declined{Reason: "BUSY"},
		Error{},
		Error{Code: "odd"},
		Error{Code: CodeFull, Detail: strings.Repeat("a", MaxDetail+1)},
		Error{Code: CodeFull, Detail: "a\nb"},
		Ordered{Message: mls},
		Ordered{Seq: 1},
		Ordered{Seq: 1, Message: long(MaxHandshake + 1)},
		Knocked{Room: curie, KeyPackage: mls},
		Knocked{Knock: 1, KeyPackage: mls},
		Knocked{Knock: 1, Room: curie},
		KnockEnded{Reason: Left},
		KnockEnded{Knock: 1},
		Presence{},
		Presence{Room: Room{Name: strings.Repeat("a", MaxName+1), Site: "b"}},
		Presence{Room: Room{Name: " a", Site: "b"}},
		Presence{Room: Room{Name: "a\x00", Site: "b"}},
		Presence{Room: Room{Name: "a\u202eb", Site: "b"}}, // turns what follows
		Presence{Room: Room{Name: "a\u200bb", Site: "b"}}, // shows as ab
		Presence{Room: Room{Name: "a", Site: "\xff"}},
		Gone{Room: curie},
		Gone{Reason: Left},
		Closed{},
	} {
		m := Message{Body: b}
		if k := b.kind(); k.Request() || k.Answer() {
			m.ID = 1
		}
		if data, err := Encode(m); !errors.Is(err, ErrMalformed) {
			t.Errorf("Encode(%T %.80v) = %.40x, %v", b, b, data, err)
		}
		data, err := m.append(nil)
		if err != nil { // cbor itself refuses what is no UTF-8
			continue
		}
		if got, err := Decode(data); !errors.Is(err, ErrMalformed) || got != (Message{}) {
			t.Errorf("Decode of %T %.80v = %v", b, b, err)
		}
	}
	if _, err := Encode(Message{ID: 1}); !errors.Is(err, ErrMalformed) {
		t.Errorf("Encode without a body: %v", err)
	}
}

// TestLargest checks that the limits fit together: what each body may hold
// passes, and a small one is small.
func TestLargest(t *testing.T) {
	members := make([]Room, MaxMembers)
	for i := range members {
		members[i] = Room{Name: strings.Repeat("n", MaxName), Site: strings.Repeat("s", MaxName)}
	}
	welcomes := make([]Welcome, MaxWelcomes)
	for i := range welcomes {
		welcomes[i] = Welcome{Knock: 1<<63 + uint64(i), Message: make([]byte, MaxWelcome/MaxWelcomes)}
	}
	for _, test := range []struct {
		body  Body
		limit int
	}{
		{Open{Meeting: id32, Epoch: 1<<63 - 1, Members: members}, MaxSmall},
		{Knock{KeyPackage: make([]byte, MaxKeyPackage)}, MaxSmall},
		{Commit{Epoch: 1<<64 - 1, Message: make([]byte, MaxHandshake), Welcomes: welcomes}, MaxMessage},
	} {
		data, err := Encode(Message{ID: 1<<64 - 1, Body: test.body})
		if err != nil || len(data) > test.limit {
			t.Errorf("%T: %d bytes, %v; want at most %d", test.body, len(data), err, test.limit)
		}
		if _, err := Decode(data); err != nil {
			t.Errorf("%T: %v", test.body, err)
		}
	}
}

func TestDecodeSharesNothing(t *testing.T) {
	data, err := Encode(Message{1, Submit{Message: bytes.Clone(mls)}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if got := m.Body.(Submit).Message; !bytes.Equal(got, mls) {
		t.Errorf("message changed with its input to %q", got)
	}
}

// FuzzDecode: what is accepted has one encoding; what is refused is nothing;
// memory stays within a multiple of the input.
func FuzzDecode(f *testing.F) {
	for _, m := range sample {
		data, err := Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(unhex("84 01 01 09 9a7fffffff"))
	f.Add(unhex("84 01 01 08 81 5b7fffffffffffffff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := Decode(data)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(64*len(data)+256<<10) {
			t.Errorf("%d bytes cost %d", len(data), used)
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) || m != (Message{}) {
				t.Errorf("refused with %+v, %v", m, err)
			}
			return
		}
		again, err := Encode(m)
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x is encoded again as %x, %v", data, again, err)
		}
		var any any
		if err := cbor.Unmarshal(data, &any); err != nil {
			t.Errorf("accepted, but no CBOR: %v", err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for name, m := range map[string]Message{
		"application": {0, Ordered{Seq: 1, Message: make([]byte, 1024)}},
		"commit":      {1, Commit{Message: make([]byte, 64<<10), Welcomes: []Welcome{{Knock: 1, Message: make([]byte, 64<<10)}}}},
	} {
		data, err := Encode(m)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := Decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}
