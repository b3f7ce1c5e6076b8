// SPDX-License-Identifier: Apache-2.0

package call

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"incamera/media/e2ee"
)

// Bounds of what members tell one another.
const (
	maxMessage = 24 << 10 // bytes of a whole message
	maxSDP     = 16 << 10 // bytes of a session description
	maxAddress = 256      // bytes of a relay's address
)

// A message is what one member tells another, or all, inside the group: an MLS
// application message, so that the relay can neither read nor alter it. With
// the session descriptions travel the fingerprints of the DTLS certificates
// (RFC 8827, Section 5.1): the hop is bound to the member that signed them.
//
// Exactly one of the last three is set.
type message struct {
	To     *e2ee.Leaf `cbor:"1,keyasint,omitempty"` // nil for all members
	SDP    *sdp       `cbor:"2,keyasint,omitempty"`
	Status *says      `cbor:"3,keyasint,omitempty"`
	Bye    bool       `cbor:"4,keyasint,omitempty"` // the sender leaves and asks to be removed
}

// An sdp is one half of the offer/answer exchange (RFC 8829) of one connection.
type sdp struct {
	Connection uint64 `cbor:"1,keyasint"` // chosen by who offers; the answer repeats it
	Answer     bool   `cbor:"2,keyasint,omitempty"`
	Text       string `cbor:"3,keyasint"`
}

// What a room says of itself. The panel shows each as a claim.
type says struct {
	Muted     bool   `cbor:"1,keyasint,omitempty"`
	CameraOff bool   `cbor:"2,keyasint,omitempty"`
	Relay     string `cbor:"3,keyasint,omitempty"` // where its relay can be reached, for the day that the host is lost
}

var (
	encoding, _ = cbor.CoreDetEncOptions().EncMode() // the options are constants: no error
	decoding, _ = cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:   4,
		MaxArrayElements:  16,
		MaxMapPairs:       16,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode()
)

var errMessage = errors.New("call: malformed message of a member")

func (m message) encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	return encoding.Marshal(m)
}

func decodeMessage(b []byte) (message, error) {
	if len(b) > maxMessage {
		return message{}, errMessage
	}
	var m message
	if err := decoding.Unmarshal(b, &m); err != nil {
		return message{}, errMessage
	}
	return m, m.check()
}

func (m message) check() error {
	bodies := 0
	for _, set := range []bool{m.SDP != nil, m.Status != nil, m.Bye} {
		if set {
			bodies++
		}
	}
	switch {
	case bodies != 1:
		return fmt.Errorf("%w: %d bodies", errMessage, bodies)
	case m.SDP != nil && (m.To == nil || m.SDP.Text == "" || len(m.SDP.Text) > maxSDP):
		return fmt.Errorf("%w: session description", errMessage)
	case m.Status != nil && len(m.Status.Relay) > maxAddress:
		return fmt.Errorf("%w: address", errMessage)
	}
	return nil
}
