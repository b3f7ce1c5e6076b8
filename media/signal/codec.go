// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"bytes"

	"github.com/fxamacker/cbor/v2"
)

// The modes are what RFC 8949, Section 4.2 asks of a deterministic encoding.
// That nil is written as empty makes an absent byte string and an empty one
// the same message; Decode refuses null, as it is not written back.
var (
	encoding = must(cbor.EncOptions{
		Sort:          cbor.SortCoreDeterministic,
		IndefLength:   cbor.IndefLengthForbidden,
		NilContainers: cbor.NilContainerAsEmpty,
		TagsMd:        cbor.TagsForbidden,
	}.EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:   4,
		MaxArrayElements:  MaxMembers,
		MaxMapPairs:       16,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
	}.DecMode())
)

// must is for what the build has made impossible: the options are constants.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// arrayOf4 begins each message: version, ID, kind, body.
const arrayOf4 = 0x80 | 4

var decoders = [256]func([]byte) (Body, error){
	KindOpen: decode[Open], KindAttach: decode[Attach], KindKnock: decode[Knock], KindRejoin: decode[Rejoin],
	KindCommit: decode[Commit], KindSubmit: decode[Submit], KindRefuse: decode[Refuse], KindEvict: decode[Evict],
	KindLeave: decode[Leave], KindRing: decode[Ring], KindCancel: decode[Cancel], KindFresh: decode[Fresh],

	KindOpened: decode[Opened], KindDone: decode[Done], KindAccepted: decode[Accepted], KindStale: decode[Stale],
	KindWelcomed: decode[Welcomed], KindRefused: decode[Refused], KindRinging: decode[Ringing],
	KindAnswered: decode[Answered], KindDeclined: decode[Declined], KindError: decode[Error], KindAttached: decode[Attached],

	KindOrdered: decode[Ordered], KindKnocked: decode[Knocked], KindKnockEnded: decode[KnockEnded],
	KindPresence: decode[Presence], KindGone: decode[Gone], KindClosed: decode[Closed],

	KindBeat: decode[Beat],
}

func decode[B Body](data []byte) (Body, error) {
	var b B
	if err := decoding.Unmarshal(data, &b); err != nil {
		return nil, err
	}
	return b, b.check()
}

// Encode returns the one encoding of m. It refuses what Decode would refuse.
func Encode(m Message) ([]byte, error) {
	if m.Body == nil {
		return nil, malformed("no body")
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return m.append(make([]byte, 0, 32))
}

func (m Message) append(dst []byte) ([]byte, error) {
	buf := bytes.NewBuffer(append(dst, arrayOf4))
	e := encoding.NewEncoder(buf)
	for _, v := range [...]any{uint8(Version), m.ID, m.Kind(), m.Body} {
		if err := e.Encode(v); err != nil {
			return nil, err
		}
	}
	return buf.Bytes(), nil
}

func (m Message) check() error {
	k := m.Kind()
	if bears := k.Request() || k.Answer(); bears != (m.ID != 0) {
		return malformed("number of kind %d", k)
	}
	return m.Body.check()
}

// Decode reads one message. The result shares no memory with data. All errors
// wrap [ErrMalformed].
func Decode(data []byte) (Message, error) {
	var m Message
	if len(data) > MaxMessage {
		return m, malformed("%d bytes", len(data))
	}
	if len(data) == 0 || data[0] != arrayOf4 {
		return m, malformed("no envelope")
	}
	var version, kind uint8
	rest := data[1:]
	for _, field := range [...]any{&version, &m.ID, &kind} {
		var err error
		if rest, err = decoding.UnmarshalFirst(rest, field); err != nil {
			return Message{}, malformed("%v", err)
		}
		if version != Version { // before anything that another version may mean otherwise
			return Message{}, malformed("version %d", version)
		}
	}
	if decoders[kind] == nil {
		return Message{}, malformed("kind %d", kind)
	}
	var err error
	if m.Body, err = decoders[kind](rest); err != nil {
		return Message{}, malformed("kind %d: %v", kind, err)
	}
	if err := m.check(); err != nil {
		return Message{}, err
	}
	// The decoder accepts longer spellings of numbers and lengths, and null.
	if again, err := m.append(make([]byte, 0, len(data))); err != nil || !bytes.Equal(again, data) {
		return Message{}, malformed("not the deterministic encoding")
	}
	return m, nil
}
