// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"incamera/media/frame"
)

// An outbound is one stream to the other room. Its numbers, timestamps and
// descriptors are its own: interceptors write into the headers, so two peers
// must not share them.
type outbound struct {
	kind   frame.Kind
	track  *webrtc.TrackLocalStaticRTP
	sender *webrtc.RTPSender
	origin time.Duration // of all timestamps of the peer, on the clock of frame.Now
	used   atomic.Bool

	mu    sync.Mutex
	video videoQueue
	audio queue
	lost  uint64 // packets of sound dropped

	// What follows is pace's alone.
	number  uint16
	picture uint16
	current queued // the frame being sent: of video a loan from the queue
	offset  int    // how much of it is sent
	scratch [maxPayload]byte
	packet  rtp.Packet
	// extensions is room for the one extension that an interceptor adds. NACK
	// keeps a copy of the header, not of this.
	extensions [1]rtp.Extension

	packets, bytes, frames, failed atomic.Uint64
	nacks, keyRequests             atomic.Uint64
	remoteLost                     atomic.Uint32
}

func newOutbound(k frame.Kind, t *webrtc.TrackLocalStaticRTP, s *webrtc.RTPSender, origin time.Duration) *outbound {
	o := &outbound{
		kind: k, track: t, sender: s, origin: origin,
		// Half of the range, so that the first loss does not meet the first
		// wrap, which a receiver could not tell from it.
		number: uint16(rand.N(1 << 15)), //nolint:gosec // no secret: it is on the wire in clear
	}
	if k == frame.Audio {
		o.audio = newQueue(audioFrames)
	} else {
		o.video = videoQueue{queue: newQueue(videoFrames), needKey: true}
	}
	return o
}

// push queues a frame by the rules of its kind.
func (o *outbound) push(wire []byte, pts time.Duration, key bool, now time.Duration) (wanted bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kind != frame.Audio {
		return o.video.push(wire, pts, key, now)
	}
	if o.audio.n == audioFrames {
		o.audio.pop()
		o.lost++
	}
	o.audio.push(wire, pts, true, now)
	return false
}

// reset drops what waits.
func (o *outbound) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lost += uint64(o.audio.n)
	o.audio.n = 0
	if o.kind != frame.Audio {
		o.video.reset()
	}
}

// sendAudio sends all sound that waits.
func (o *outbound) sendAudio() {
	for {
		o.mu.Lock()
		if o.audio.n == 0 {
			o.mu.Unlock()
			return
		}
		head := o.audio.at(0)
		pts := head.pts
		payload := append(o.scratch[:0], head.wire...)
		o.audio.pop()
		o.mu.Unlock()
		o.write(payload, pts, false)
		o.frames.Add(1)
	}
}

// begin makes the head of the queue the current frame, unless there is one. It
// reports whether there is a current frame and how long it is.
func (o *outbound) begin() (size int, key, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.video.sending {
		if o.video.n == 0 {
			return 0, false, false
		}
		o.video.sending, o.offset = true, 0
		// A loan: while sending is set, nobody takes the slot away.
		o.current = *o.video.at(0)
	}
	return len(o.current.wire), o.current.key, true
}

// sendFragment sends the next packet of the current frame and returns its size.
func (o *outbound) sendFragment() int {
	wire := o.current.wire
	end := min(o.offset+maxFragment, len(wire))
	payload := appendDescriptor(o.scratch[:0], o.offset == 0, o.picture)
	payload = append(payload, wire[o.offset:end]...)
	o.offset = end
	o.write(payload, o.current.pts, end == len(wire))
	if end == len(wire) {
		o.picture = (o.picture + 1) & 0x7fff
		o.frames.Add(1)
		o.end()
	}
	return len(payload)
}

// busy reports whether a frame is partly sent.
func (o *outbound) busy() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.video.sending
}

// end removes the current frame from the queue.
func (o *outbound) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.video.pop()
	o.video.sending = false
}

// write sends one packet. Interceptors keep copies for NACK; the payload is free
// again afterwards.
func (o *outbound) write(payload []byte, pts time.Duration, marker bool) {
	hertz := int64(rateVP8)
	if o.kind == frame.Audio {
		hertz = rateOpus
	}
	// A new header each time: the interceptors add extensions to it.
	o.packet = rtp.Packet{
		Header: rtp.Header{
			Version:        2,
			Marker:         marker,
			SequenceNumber: o.number,
			Timestamp:      stampOf(pts-o.origin, hertz),
			Extensions:     o.extensions[:0],
		},
		Payload: payload,
	}
	o.number++
	if err := o.track.WriteRTP(&o.packet); err != nil {
		o.failed.Add(1) // of a connection that ends: NACK or its end deals with it
		return
	}
	o.packets.Add(1)
	o.bytes.Add(uint64(len(payload)))
}

// readSenderReports reads the RTCP about one of our streams until the
// connection ends. Interceptors see RTCP only while somebody reads it: NACK,
// reports and the feedback of congestion control depend on this loop.
func (p *Peer) readSenderReports(o *outbound) {
	buf := make([]byte, receiveMTU)
	for {
		n, attributes, err := o.sender.Read(buf)
		if err != nil {
			if p.ended(err) {
				return
			}
			continue
		}
		packets, err := attributes.GetRTCPPackets(buf[:n])
		if err != nil {
			continue
		}
		ssrc := o.ssrc()
		for _, packet := range packets {
			switch r := packet.(type) {
			case *rtcp.PictureLossIndication:
				p.keyFrameWanted(o, r.MediaSSRC == ssrc)
			case *rtcp.FullIntraRequest:
				for _, entry := range r.FIR {
					p.keyFrameWanted(o, entry.SSRC == ssrc)
				}
			case *rtcp.TransportLayerNack:
				if r.MediaSSRC == ssrc {
					o.nacks.Add(uint64(len(r.Nacks)))
				}
			case *rtcp.ReceiverReport:
				p.report(o, ssrc, r.Reports)
			case *rtcp.SenderReport:
				p.report(o, ssrc, r.Reports)
			}
		}
	}
}

func (p *Peer) keyFrameWanted(o *outbound, ours bool) {
	if ours && o.kind != frame.Audio {
		o.keyRequests.Add(1)
		p.wanted[o.kind].Store(true)
		p.poke(p.changed)
	}
}

// report takes loss and round trip from what the other room reports about one
// of our streams (RFC 3550, Section 6.4.1).
func (p *Peer) report(o *outbound, ssrc uint32, reports []rtcp.ReceptionReport) {
	for _, r := range reports {
		if r.SSRC != ssrc {
			continue
		}
		o.remoteLost.Store(r.TotalLost)
		if r.LastSenderReport == 0 {
			continue
		}
		// Units of 1/65536 s; a clock that was set in between wraps.
		trip := shortNTP(time.Now()) - r.LastSenderReport - r.Delay
		if trip < 1<<31 {
			p.rtt.Store(int64(trip) * int64(time.Second) >> 16)
		}
	}
}

// shortNTP is the middle 32 bits of an NTP timestamp (RFC 3550, Section 4).
func shortNTP(t time.Time) uint32 {
	const since1900 = 2_208_988_800
	seconds := uint64(t.Unix() + since1900)
	fraction := uint64(t.Nanosecond()) << 16 / uint64(time.Second)
	return uint32(seconds<<16 | fraction)
}

// ssrc returns the number of the stream, which is fixed from the start.
func (o *outbound) ssrc() uint32 {
	for _, e := range o.sender.GetParameters().Encodings {
		return uint32(e.SSRC)
	}
	return 0
}
