// SPDX-License-Identifier: Apache-2.0

package peer

// Sizes of packets, in bytes.
const (
	// maxPayload leaves room in an MTU of 1200 for the RTP header, its
	// extensions, the tag of SRTP and a TURN header.
	maxPayload = 1100
	// descriptorSize is the VP8 payload descriptor that we send: the required
	// octet, the extension octet and a picture id of 15 bits.
	descriptorSize = 4
	maxFragment    = maxPayload - descriptorSize
	// maxPackets bounds the packets of a frame, at both ends.
	maxPackets = 256
)

// The largest sealed frames, in bytes.
const (
	MaxVideoFrame = maxPackets * maxFragment // 280 576
	MaxAudioFrame = maxPayload
)

// appendDescriptor appends the VP8 payload descriptor (RFC 7741, Section 4.2)
// of the packet that begins a frame, or of one that does not:
//
//	 0 1 2 3 4 5 6 7
//	+-+-+-+-+-+-+-+-+
//	|1|R|N|S|R| PID | X set, PID 0
//	|1|L|T|K| RSV   | I set
//	|1| picture id  | M set: 15 bits, so that a relay can renumber in place
//	|               |
//	+-+-+-+-+-+-+-+-+
func appendDescriptor(dst []byte, begins bool, picture uint16) []byte {
	first := byte(0x80)
	if begins {
		first |= 0x10
	}
	return append(dst, first, 0x80, 0x80|byte(picture>>8), byte(picture))
}

// parseDescriptor parses the VP8 payload descriptor of a packet and returns
// what follows, which is never empty if ok. begins means that the packet starts
// a frame: its S bit is set for partition 0.
func parseDescriptor(b []byte) (begins bool, rest []byte, ok bool) {
	if len(b) == 0 {
		return false, nil, false
	}
	begins = b[0]&0x10 != 0 && b[0]&0x07 == 0
	n := 1
	if b[0]&0x80 != 0 { // X
		if len(b) < 2 {
			return false, nil, false
		}
		ext := b[1]
		n++
		if ext&0x80 != 0 { // I
			if len(b) <= n {
				return false, nil, false
			}
			if b[n]&0x80 != 0 { // M
				n++
			}
			n++
		}
		if ext&0x40 != 0 { // L
			n++
		}
		if ext&0x30 != 0 { // T or K share an octet
			n++
		}
	}
	if len(b) <= n {
		return false, nil, false
	}
	return begins, b[n:], true
}
