// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"encoding/binary"
	"time"
)

// The RTP clocks, in hertz.
const (
	rateVP8  = 90_000 // RFC 7741, Section 4.1
	rateOpus = 48_000 // RFC 7587, Section 4.1
)

// A packet is what we need of an RTP packet. Its payload is borrowed.
type packet struct {
	number  uint16
	stamp   uint32
	marker  bool
	begins  bool // of VP8: starts a frame
	payload []byte
}

// parseRTP parses an RTP packet (RFC 3550, Section 5.1) of the given payload
// type whose payload is not empty. Extensions and sources are skipped: what we
// need of them, pion has taken already.
func parseRTP(b []byte, payloadType byte) (packet, bool) {
	const fixed = 12
	if len(b) < fixed || b[0]>>6 != 2 || b[1]&0x7f != payloadType {
		return packet{}, false
	}
	n := fixed + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if len(b) < n+4 {
			return packet{}, false
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	end := len(b)
	if b[0]&0x20 != 0 {
		pad := int(b[end-1])
		if pad == 0 || pad > end {
			return packet{}, false
		}
		end -= pad
	}
	if n >= end {
		return packet{}, false
	}
	return packet{
		number:  binary.BigEndian.Uint16(b[2:]),
		stamp:   binary.BigEndian.Uint32(b[4:]),
		marker:  b[1]&0x80 != 0,
		payload: b[n:end],
	}, true
}

// stampOf converts a time since the origin to an RTP timestamp. Times before
// the origin wrap, as timestamps do.
func stampOf(t time.Duration, hertz int64) uint32 {
	return uint32(int64(t/time.Second)*hertz + int64(t%time.Second)*hertz/int64(time.Second))
}

// A timeline extends the timestamps of a stream beyond 32 bits. All streams of
// a sender count from one origin, so one that starts late takes its epoch from
// the others.
type timeline struct {
	hertz int64
	ticks int64
	begun bool
}

// at returns the time of a timestamp; near is the newest time of any stream of
// the same sender.
func (l *timeline) at(stamp uint32, near time.Duration) time.Duration {
	if !l.begun {
		l.ticks = int64(near/time.Second)*l.hertz + int64(near%time.Second)*l.hertz/int64(time.Second)
		l.begun = true
	}
	l.ticks += int64(int32(stamp - uint32(l.ticks)))
	return time.Duration(l.ticks/l.hertz)*time.Second + time.Duration(l.ticks%l.hertz)*time.Second/time.Duration(l.hertz)
}
