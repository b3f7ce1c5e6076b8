// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"encoding/binary"

	"incamera/media/signal"
)

var meetingID = []byte("meeting-0123456789abcdef")

// private makes what a relay takes for a PrivateMessage of meetingID: a valid
// head, then a payload that only members could read.
func private(epoch uint64, content signal.ContentType, payload string) []byte {
	return framed(signal.WirePrivate, meetingID, epoch, content, payload)
}

func framed(wire signal.WireFormat, group []byte, epoch uint64, content signal.ContentType, payload string) []byte {
	b := append(message(wire, ""), byte(len(group)))
	b = append(b, group...)
	b = binary.BigEndian.AppendUint64(b, epoch)
	if wire == signal.WirePublic {
		b = append(b, 1, 0, 0, 0, 7, 0) // member 7, no authenticated data
	}
	return append(append(b, byte(content)), payload...)
}

// message makes what a relay takes for an MLSMessage without a framed content.
func message(wire signal.WireFormat, payload string) []byte {
	return append([]byte{0, 1, 0, byte(wire)}, payload...)
}

func commit(epoch uint64, payload string) []byte {
	return private(epoch, signal.ContentCommit, payload)
}

func application(epoch uint64, payload string) []byte {
	return private(epoch, signal.ContentApplication, payload)
}

func keyPackage(payload string) []byte { return message(signal.WireKeyPackage, payload) }
func welcome(payload string) []byte    { return message(signal.WireWelcome, payload) }
