// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"

	"incamera/media/frame"
)

// An inbound is one stream from the other room.
type inbound struct {
	kind     frame.Kind
	receiver *webrtc.RTPReceiver
	ssrc     atomic.Uint32 // 0 until the track is there

	packets, bytes, frames, malformed atomic.Uint64
	repaired, late, lost, discarded   atomic.Uint64
	gaps, keyRequests                 atomic.Uint64
}

func newInbound(k frame.Kind, r *webrtc.RTPReceiver) *inbound {
	return &inbound{kind: k, receiver: r}
}

// track is called by pion, once for each stream that the other room described.
// A track that we did not ask for is not read.
func (p *Peer) track(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
	for _, in := range p.in {
		if in.receiver == r && in.ssrc.CompareAndSwap(0, uint32(t.SSRC())) {
			if in.kind == frame.Audio {
				p.run(func() { p.receiveAudio(in, t) })
			} else {
				p.run(func() { p.receiveVideo(in, t) })
			}
			return
		}
	}
	p.log.Warn("unexpected track refused", "ssrc", uint32(t.SSRC()))
}

// ended reports whether an error of a reader means that nothing more will come.
// Any other error is about one packet.
func (p *Peer) ended(err error) bool {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed) {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closing
}

// readReceiverReports reads the RTCP about one of the other room's streams, for
// the interceptors: receiver reports need the sender reports that come here.
func (p *Peer) readReceiverReports(in *inbound) {
	buf := make([]byte, receiveMTU)
	for {
		if _, _, err := in.receiver.Read(buf); err != nil && p.ended(err) {
			return
		}
	}
}

// near is the newest time of any stream of the other room.
func (p *Peer) near() time.Duration { return time.Duration(p.latest.Load()) }

// deliver hands a frame over.
func (p *Peer) deliver(in *inbound, line *timeline, f assembled) {
	at := line.at(f.stamp, p.near())
	p.latest.Store(int64(at))
	in.frames.Add(1)
	if f.gap {
		in.gaps.Add(1)
	}
	p.handler.Frame(Received{
		Kind: in.kind, Wire: f.wire, Time: at, Seq: f.seq, Gap: f.gap, Arrived: frame.Now(),
	})
}

// receiveVideo reads one stream of pictures until the connection ends.
func (p *Peer) receiveVideo(in *inbound, t *webrtc.TrackRemote) {
	var a assembler
	line := timeline{hertz: rateVP8}
	buf := make([]byte, receiveMTU)
	armed := false
	for {
		until, waiting := a.waiting()
		if waiting || armed {
			var deadline time.Time // none
			if waiting {
				deadline = p.start.Add(until)
			}
			armed = waiting
			_ = t.SetReadDeadline(deadline) // fails only for a track that is not there
		}
		n, _, err := t.Read(buf)
		switch {
		case err == nil:
			p.insertVideo(in, &a, buf[:n])
		case errors.Is(err, os.ErrDeadlineExceeded) || isTimeout(err):
		case p.ended(err):
			return
		default:
			in.malformed.Add(1)
		}
		for f, ok := a.take(p.elapsed()); ok; f, ok = a.take(p.elapsed()) {
			p.deliver(in, &line, f)
		}
		in.repaired.Store(a.counts.repaired)
		in.late.Store(a.counts.late)
		in.lost.Store(a.counts.lost)
		in.discarded.Store(a.counts.discarded)
	}
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func (p *Peer) insertVideo(in *inbound, a *assembler, b []byte) {
	packet, ok := parseRTP(b, typeVP8)
	if ok {
		packet.begins, packet.payload, ok = parseDescriptor(packet.payload)
	}
	if !ok {
		in.malformed.Add(1)
		return
	}
	in.packets.Add(1)
	in.bytes.Add(uint64(len(b)))
	a.insert(packet, p.elapsed())
}

// receiveAudio reads the stream of sound until the connection ends. One packet
// is one frame.
func (p *Peer) receiveAudio(in *inbound, t *webrtc.TrackRemote) {
	var n numbering
	line := timeline{hertz: rateOpus}
	buf := make([]byte, receiveMTU)
	for {
		size, _, err := t.Read(buf)
		if err != nil {
			if !isTimeout(err) && p.ended(err) {
				return
			}
			in.malformed.Add(1)
			continue
		}
		packet, ok := parseRTP(buf[:size], typeOpus)
		if !ok {
			in.malformed.Add(1)
			continue
		}
		in.packets.Add(1)
		in.bytes.Add(uint64(size))
		seq, gap := n.next(packet.number)
		in.lost.Store(n.lost)
		p.deliver(in, &line, assembled{
			wire: append([]byte(nil), packet.payload...), stamp: packet.stamp, seq: seq, gap: gap,
		})
	}
}

// A numbering extends the numbers of a stream whose packets are handed over as
// they come.
type numbering struct {
	begun bool
	first uint32
	last  uint32 // the highest
	lost  uint64 // numbers skipped that have not come since
}

// next takes the number of a packet and returns it extended, counted from the
// first, and whether numbers right before it have not come yet.
func (n *numbering) next(number uint16) (seq uint32, gap bool) {
	if !n.begun {
		n.begun, n.first, n.last = true, uint32(number), uint32(number)
		return 0, false
	}
	step := int16(number - uint16(n.last))
	if step <= 0 {
		if n.lost > 0 {
			n.lost--
		}
		return n.last + uint32(int32(step)) - n.first, false
	}
	n.last += uint32(step)
	n.lost += uint64(step - 1)
	return n.last - n.first, step > 1
}
