// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"incamera/media/codec"
	"incamera/media/frame"
)

// keyInterval is the least time between two key frames that peers ask for: one
// is as long as ten others.
const keyInterval = 500 * time.Millisecond

// defaultTarget is what the congestion control of a peer begins with, too.
const defaultTarget = 800_000

// A VideoSenderConfig says what a VideoSender sends and where.
type VideoSenderConfig struct {
	Kind   frame.Kind // frame.Camera or frame.Content
	Source Source
	Sealer Sealer
	Out    Fanout

	// BitRate is the target before the first SetBitRate, in bits a second; 0
	// stands for 800 kb/s.
	BitRate int
	// Encoder makes an encoder for one size of pictures; nil stands for VP8.
	Encoder func(codec.VideoConfig) (VideoEncoder, error)
	// Preview, if not nil, is called with each picture of the source while the
	// gate is open. It must not block or keep the picture.
	Preview func(*frame.Picture)
}

// A VideoSender takes pictures from a source, encodes them once for all peers,
// seals them and hands them on.
//
// It begins with its gate closed: no frame is sealed before SetOpen(true). Its
// methods may be called by any goroutine.
type VideoSender struct {
	config VideoSenderConfig
	gate   gate
	keyDue atomic.Bool // a peer asks for a key frame

	box  *Mailbox[shot] // from the source to the encoder
	pool *Pool[*frame.Picture]

	mu        sync.Mutex
	ladder    ladder
	source    int // the best step for the source's size
	processor int // the best step that the processor can bear

	captured, skipped, gated, encoded, sent, keys, noKey, failed atomic.Uint64
	meanEncode                                                   atomic.Int64
	effort                                                       atomic.Int64
}

// VideoSenderStats counts since the sender was made.
type VideoSenderStats struct {
	Captured uint64 // pictures that the source gave
	Skipped  uint64 // left out to keep to the step's rate, or while video is stopped
	Gated    uint64 // pictures or frames that met a closed gate
	Replaced uint64 // pictures that a newer one replaced before they were encoded
	Encoded  uint64 // frames
	Sent     uint64 // frames sealed and handed on
	KeySent  uint64 // key frames among them
	NoKey    uint64 // pictures or frames dropped because nothing could be sealed
	Failed   uint64 // errors of the encoder or the sealer

	Step       Step          // the one in use; zero while video is stopped
	BitRate    int           // bits a second that the encoder may spend
	Effort     codec.Effort  // how hard the encoder works
	EncodeTime time.Duration // of late, for one picture
}

// NewVideoSender makes a sender with a closed gate.
func NewVideoSender(config VideoSenderConfig) *VideoSender {
	if config.Encoder == nil {
		config.Encoder = newVP8Encoder
	}
	if config.BitRate == 0 {
		config.BitRate = defaultTarget
	}
	s := &VideoSender{
		config: config,
		pool:   NewPool(3, func() *frame.Picture { return &frame.Picture{} }), // read, waiting, encoded
		ladder: newLadder(config.BitRate),
	}
	s.box = NewMailbox(func(v shot) { s.pool.Put(v.picture) })
	return s
}

// A shot is a picture and the gate's turn in which it was taken.
type shot struct {
	picture *frame.Picture
	turn    uint64
}

// SetOpen opens or closes the gate: the camera is on or off. Once SetOpen(false)
// has returned, no frame is sealed, and no picture from before is sent after
// SetOpen(true). The first frame after an opening is a key
// frame.
func (s *VideoSender) SetOpen(open bool) {
	s.gate.set(open)
}

// Open reports whether the gate is open.
func (s *VideoSender) Open() bool {
	open, _ := s.gate.state()
	return open
}

// RequestKeyFrame asks for a key frame. Requests meet: peers get at most one in
// 500 ms.
func (s *VideoSender) RequestKeyFrame() { s.keyDue.Store(true) }

// SetBitRate tells what the network bears for video, in bits a second: the
// lowest of all peers that get video, less sound. The sender goes down the
// ladder at once and up one step after 5 calm seconds.
func (s *VideoSender) SetBitRate(bps int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ladder.target = bps
	s.ladder.update(time.Now())
}

// step is the index of the step to use now, and the bit rate on it.
func (s *VideoSender) step() (step, bitRate int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ladder.update(time.Now())
	return s.ladder.step, s.ladder.bitRate()
}

// follow tells the ladder the size of the source and gives the step to use.
func (s *VideoSender) follow(width, height int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.source = topFor(width, height)
	s.ladder.top = max(s.source, s.processor)
	s.ladder.update(time.Now())
	return s.ladder.step
}

// allowed is what allow was told last.
func (s *VideoSender) allowed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.processor
}

// allow tells the ladder the best step that the processor can bear.
func (s *VideoSender) allow(top int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processor = top
	s.ladder.top = max(s.source, s.processor)
}

// Stats gives the counters.
func (s *VideoSender) Stats() VideoSenderStats {
	step, bitRate := s.step()
	st := VideoSenderStats{
		Captured: s.captured.Load(), Skipped: s.skipped.Load(), Gated: s.gated.Load(), Replaced: s.box.Drops(),
		Encoded: s.encoded.Load(), Sent: s.sent.Load(), KeySent: s.keys.Load(), NoKey: s.noKey.Load(), Failed: s.failed.Load(),
		BitRate: bitRate, Effort: codec.Effort(s.effort.Load()), EncodeTime: time.Duration(s.meanEncode.Load()),
	}
	if step < stopped {
		st.Step = Steps[step]
	}
	return st
}

// Run sends until ctx is done, whose cause it returns, or until the source or
// the making of an encoder fails. It may run again then; the gate and the
// target stay.
func (s *VideoSender) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		cancel(s.capture(ctx))
	}()
	cancel(s.encodeAll(ctx))
	<-done
	s.box.Clear()
	return context.Cause(ctx)
}

// capture keeps the source going, whatever the encoder does.
func (s *VideoSender) capture(ctx context.Context) error {
	var scale scaler
	var pace cadence
	for {
		p, err := s.config.Source.Next(ctx)
		if err != nil {
			return fmt.Errorf("pipeline: next picture of the %v: %w", s.config.Kind, err)
		}
		s.captured.Add(1)
		open, turn := s.gate.state()
		if !open {
			s.gated.Add(1)
			continue
		}
		if s.config.Preview != nil {
			s.config.Preview(p)
		}
		step := s.follow(p.Width, p.Height)
		if step == stopped || !pace.take(p.PTS, Steps[step].FPS) {
			s.skipped.Add(1)
			continue
		}
		width, height := fitted(p.Width, p.Height, Steps[step])
		q := s.pool.Get()
		scale.scale(q, p, width, height)
		s.box.Put(shot{q, turn})
	}
}

// A cadence leaves out pictures of a source that gives more than a step wants.
type cadence struct {
	due time.Duration // instant from which the next picture is taken
}

// take reports whether the picture of this instant is wanted. A quarter of an
// interval of jitter is forgiven.
func (c *cadence) take(pts time.Duration, fps int) bool {
	interval := time.Second / time.Duration(fps)
	if pts < c.due-interval/4 && pts > c.due-2*interval {
		return false
	}
	if c.due += interval; c.due < pts || c.due > pts+2*interval {
		c.due = pts + interval // the first one, or the source paused or began anew
	}
	return true
}
