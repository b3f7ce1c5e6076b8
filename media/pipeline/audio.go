// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"incamera/media/e2ee"
	"incamera/media/frame"
)

const (
	pcmQueue   = 4        // periods of 10 ms
	audioQueue = 16       // packets of 20 ms: more than a jitter buffer keeps
	audioSlab  = 16 << 10 // bytes: a second of packets
)

// An AudioSender encodes what the room's microphones hear, seals it and hands
// it on.
//
// It begins muted. While it is muted no frame is sealed, and what was said is
// not kept. Its methods may be called by any goroutine.
type AudioSender struct {
	sealer  Sealer
	out     Fanout
	encoder func() (AudioEncoder, error)
	gate    gate
	queue   *Queue[period]

	gated, sent, noKey, failed atomic.Uint64
}

// An AudioSenderConfig says where an AudioSender sends.
type AudioSenderConfig struct {
	Sealer Sealer
	Out    Fanout
	// Encoder makes the encoder; nil stands for Opus.
	Encoder func() (AudioEncoder, error)
}

// AudioSenderStats counts since the sender was made.
type AudioSenderStats struct {
	Gated   uint64 // periods or packets that met the mute gate
	Dropped uint64 // periods, because encoding is too slow: our own fault
	Sent    uint64 // packets sealed and handed on
	NoKey   uint64 // packets dropped because nothing could be sealed
	Failed  uint64 // errors of the encoder or the sealer
	Waiting int    // periods in the queue
}

// NewAudioSender makes a sender that is muted.
func NewAudioSender(config AudioSenderConfig) *AudioSender {
	if config.Encoder == nil {
		config.Encoder = newOpusEncoder
	}
	return &AudioSender{sealer: config.Sealer, out: config.Out, encoder: config.Encoder, queue: NewQueue[period](pcmQueue)}
}

// A period is 10 ms of sound and the gate's turn in which it was heard.
type period struct {
	pcm  frame.PCM
	turn uint64
}

// SetMuted closes or opens the mute gate. Once SetMuted(true) has returned, no
// frame is sealed, and nothing heard before is sent after SetMuted(false).
func (s *AudioSender) SetMuted(muted bool) {
	s.gate.set(!muted)
}

// Muted reports whether the mute gate is closed.
func (s *AudioSender) Muted() bool {
	open, _ := s.gate.state()
	return !open
}

// Put takes 10 ms of sound and does not keep p. It never blocks: when four
// periods wait, the oldest is dropped.
func (s *AudioSender) Put(p *frame.PCM) {
	open, turn := s.gate.state()
	if !open {
		s.gated.Add(1)
		return
	}
	s.queue.Push(period{pcm: *p, turn: turn})
}

// Stats gives the counters.
func (s *AudioSender) Stats() AudioSenderStats {
	return AudioSenderStats{
		Gated: s.gated.Load(), Dropped: s.queue.Drops(), Sent: s.sent.Load(), NoKey: s.noKey.Load(), Failed: s.failed.Load(),
		Waiting: s.queue.Depth(),
	}
}

// Run sends until ctx is done, whose cause it returns, or until no encoder can
// be made. It may run again then.
func (s *AudioSender) Run(ctx context.Context) (err error) {
	enc, err := s.encoder()
	if err != nil {
		return fmt.Errorf("pipeline: encoder of the sound: %w", err)
	}
	defer func() { err = errors.Join(err, enc.Close()) }()
	memory := slab{size: audioSlab}
	out := frame.Encoded{Kind: frame.Audio}
	var p period
	var turn uint64
	for {
		if p, err = s.queue.Pop(ctx); err != nil {
			return err
		}
		if p.turn != turn { // sound from before it was muted
			turn = p.turn
			enc.Discard()
		}
		if open, now := s.gate.state(); !open || now != turn {
			s.gated.Add(1)
			continue
		}
		ready, err := enc.Encode(&out, &p.pcm)
		if err != nil {
			s.failed.Add(1)
			continue
		}
		if ready {
			s.send(&out, turn, memory.take(len(out.Data)+e2ee.Overhead))
		}
	}
}

// send seals a packet and hands it to all peers, both behind the gate.
func (s *AudioSender) send(out *frame.Encoded, turn uint64, dst []byte) {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	if !s.gate.open || s.gate.turn != turn {
		s.gated.Add(1)
		return
	}
	sealed, err := s.sealer.Seal(dst, out)
	switch {
	case errors.Is(err, e2ee.ErrNoKey):
		s.noKey.Add(1)
	case err != nil:
		s.failed.Add(1)
	default:
		s.sent.Add(1)
		s.out.Send(sealed)
	}
}

// A Player plays the packets of one member, as audio.Player does.
type Player interface {
	// Put takes a packet in clear and copies it. seq is its extended sequence
	// number, arrived the instant of its arrival.
	Put(seq uint32, arrived time.Duration, packet []byte)
}

// An AudioReceiver opens the packets of one member and gives them to a Player,
// which the loop of the room's sound pulls from. Its methods may be called by
// any goroutine.
type AudioReceiver struct {
	config AudioReceiverConfig
	from   atomic.Uint32
	queue  *Queue[arrival]

	held                            atomic.Int64 // packets that wait for their epoch
	received, opened, refused, late atomic.Uint64
}

// An AudioReceiverConfig says whose sound an AudioReceiver takes.
type AudioReceiverConfig struct {
	From   e2ee.Leaf // the member whose keys must open the packets
	Opener Opener
	Player Player
}

// AudioReceiverStats counts since the receiver was made.
type AudioReceiverStats struct {
	Received uint64 // packets given to Push
	Dropped  uint64 // the queue was full
	Opened   uint64
	Refused  uint64 // did not open
	Late     uint64 // their epoch did not come within 250 ms
	Waiting  int    // packets in the queue or waiting for their epoch
}

// NewAudioReceiver makes a receiver.
func NewAudioReceiver(config AudioReceiverConfig) *AudioReceiver {
	r := &AudioReceiver{config: config, queue: NewQueue[arrival](audioQueue)}
	r.from.Store(config.From)
	return r
}

// SetFrom changes the member whose keys must open the packets.
func (r *AudioReceiver) SetFrom(from e2ee.Leaf) { r.from.Store(from) }

// Push takes a sealed packet, which is the receiver's from then on, with its
// extended sequence number and the instant of its arrival. It never blocks:
// when 16 packets wait, the oldest is dropped.
func (r *AudioReceiver) Push(wire []byte, seq uint32, arrived time.Duration) {
	r.received.Add(1)
	r.queue.Push(arrival{wire: wire, seq: seq, t: arrived, at: time.Now()})
}

// Stats gives the counters.
func (r *AudioReceiver) Stats() AudioReceiverStats {
	return AudioReceiverStats{
		Received: r.received.Load(), Dropped: r.queue.Drops(), Opened: r.opened.Load(), Refused: r.refused.Load(), Late: r.late.Load(),
		Waiting: r.queue.Depth() + int(r.held.Load()),
	}
}

// Run opens packets until ctx is done, whose cause it returns.
func (r *AudioReceiver) Run(ctx context.Context) error {
	h := &hold{kind: frame.Audio, opener: r.config.Opener}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		for more := true; more; {
			data, a, what := h.next(time.Now(), r.queue, r.from.Load())
			r.held.Store(int64(h.n))
			switch what {
			case nothing:
				more = false
			case late:
				r.late.Add(1)
			case refused:
				r.refused.Add(1)
			case opened:
				r.opened.Add(1)
				r.config.Player.Put(a.seq, a.t, data)
			}
		}
		pause := time.Hour
		if h.waiting() {
			pause = retryInterval
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.queue.Ready():
		case <-timer.C:
		}
	}
}
