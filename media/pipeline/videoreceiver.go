// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"incamera/media/codec"
	"incamera/media/e2ee"
	"incamera/media/frame"
)

// videoQueue is how many sealed frames wait for the decoder: a quarter of a
// second.
const videoQueue = 8

// A VideoReceiverConfig says whose frames a VideoReceiver takes.
type VideoReceiverConfig struct {
	Kind   frame.Kind // frame.Camera or frame.Content
	From   e2ee.Leaf  // the member whose keys must open the frames
	Opener Opener
	// KeyFrameWanted asks the peer for a key frame. It must not block.
	KeyFrameWanted func()
	// Decoder makes the decoder; nil stands for VP8.
	Decoder func() (VideoDecoder, error)
}

// A VideoReceiver opens and decodes the pictures of one member. After a frame
// that was lost or did not open it holds the last picture, asks for a key frame
// and decodes nothing until one has opened.
//
// Its methods may be called by any goroutine, but for Latest and Next, which
// belong to the one that draws.
type VideoReceiver struct {
	config VideoReceiverConfig
	from   atomic.Uint32
	queue  *Queue[arrival]
	lost   atomic.Bool // Lost was called
	box    *Mailbox[*frame.Picture]
	pool   *Pool[*frame.Picture]

	held                                                             atomic.Int64 // frames that wait for their epoch
	received, opened, refused, late, skipped, decoded, failed, asked atomic.Uint64
}

// VideoReceiverStats counts since the receiver was made. Each frame received is
// dropped, opened, refused, late or still waiting; each one opened is skipped,
// decoded or failed.
type VideoReceiverStats struct {
	Received uint64 // frames given to Push
	Dropped  uint64 // the queue was full, because decoding is too slow
	Opened   uint64
	Refused  uint64 // did not open
	Late     uint64 // their epoch did not come within 250 ms
	Skipped  uint64 // needed a frame that is missing
	Decoded  uint64
	Failed   uint64 // opened, but the decoder refused them
	Replaced uint64 // decoded, but a newer picture came before they were shown
	Asked    uint64 // requests for a key frame
	Waiting  int    // frames in the queue or waiting for their epoch
}

// NewVideoReceiver makes a receiver.
func NewVideoReceiver(config VideoReceiverConfig) *VideoReceiver {
	if config.Decoder == nil {
		config.Decoder = newVP8Decoder
	}
	r := &VideoReceiver{
		config: config,
		queue:  NewKeyQueue(videoQueue, func(a arrival) bool { return codec.IsVP8Key(a.wire) }),
		pool:   NewPool(3, func() *frame.Picture { return &frame.Picture{} }), // decoded, waiting, shown
	}
	r.from.Store(config.From)
	r.box = NewMailbox(r.pool.Put)
	return r
}

// SetFrom changes the member whose keys must open the frames: a room that was
// admitted again has a new leaf.
func (r *VideoReceiver) SetFrom(from e2ee.Leaf) { r.from.Store(from) }

// Push takes a sealed frame, which is the receiver's from then on. t is its
// time in the sender's stream; gap tells that frames before it were lost. Push
// never blocks: when eight frames wait, all that follow are dropped up to the
// next key frame, which takes their place.
func (r *VideoReceiver) Push(wire []byte, t time.Duration, gap bool) {
	r.received.Add(1)
	r.queue.Push(arrival{wire: wire, t: t, gap: gap, at: time.Now()})
}

// Lost tells that frames were lost with nothing after them to say so, or that
// the peer's track has just begun: a key frame is asked for.
func (r *VideoReceiver) Lost() {
	r.lost.Store(true)
	wake(r.queue.ready)
}

// Latest gives the newest picture. If one came since the last call, shown is
// taken back and must not be used any more; otherwise shown is returned. The
// first call passes nil. The PTS of a picture is the time that Push was given.
func (r *VideoReceiver) Latest(shown *frame.Picture) *frame.Picture {
	p, ok := r.box.TryTake()
	if !ok {
		return shown
	}
	if shown != nil {
		r.pool.Put(shown)
	}
	return p
}

// Next is [VideoReceiver.Latest] for one that waits: it returns the next
// picture as soon as it is decoded, and the cause of ctx once that is done.
func (r *VideoReceiver) Next(ctx context.Context, shown *frame.Picture) (*frame.Picture, error) {
	p, err := r.box.Take(ctx)
	if err != nil {
		return shown, err
	}
	if shown != nil {
		r.pool.Put(shown)
	}
	return p, nil
}

// Stats gives the counters.
func (r *VideoReceiver) Stats() VideoReceiverStats {
	return VideoReceiverStats{
		Received: r.received.Load(), Dropped: r.queue.Drops(), Opened: r.opened.Load(), Refused: r.refused.Load(), Late: r.late.Load(),
		Skipped: r.skipped.Load(), Decoded: r.decoded.Load(), Failed: r.failed.Load(), Replaced: r.box.Drops(), Asked: r.asked.Load(),
		Waiting: r.queue.Depth() + int(r.held.Load()),
	}
}

// Run opens and decodes until ctx is done, whose cause it returns, or until no
// decoder can be made.
func (r *VideoReceiver) Run(ctx context.Context) (err error) {
	dec, err := r.config.Decoder()
	if err != nil {
		return fmt.Errorf("pipeline: decoder of the %v: %w", r.config.Kind, err)
	}
	defer func() { err = errors.Join(err, dec.Close()) }()
	d := &decoding{VideoReceiver: r, dec: dec}
	d.hold = hold{kind: r.config.Kind, opener: r.config.Opener}
	d.ask.needed = true // asked for with the first frame that is none
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		d.work()
		timer.Reset(d.pause(time.Now()))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.queue.Ready():
		case <-timer.C:
		}
	}
}

// decoding is the state of the goroutine that decodes.
type decoding struct {
	*VideoReceiver
	dec  VideoDecoder
	hold hold
	ask  asker
}

// work opens and decodes what can be, and asks for a key frame when it is time
// to.
func (d *decoding) work() {
	for {
		now := time.Now()
		if d.lost.Swap(false) {
			d.ask.lose(now)
		}
		if d.queue.AwaitsKey() { // what still waits is whole; what comes is not
			d.ask.begin(now)
		}
		if d.ask.due(now) {
			d.asked.Add(1)
			d.config.KeyFrameWanted()
		}
		data, a, what := d.hold.next(now, d.queue, d.from.Load())
		d.held.Store(int64(d.hold.n))
		switch what {
		case nothing:
			return
		case late:
			d.late.Add(1)
			d.ask.lose(now)
		case refused:
			d.refused.Add(1)
			d.ask.lose(now)
		case opened:
			d.opened.Add(1)
			d.frame(now, data, a)
		}
	}
}

// frame decodes one frame that opened.
func (d *decoding) frame(now time.Time, data []byte, a arrival) {
	if codec.IsVP8Key(data) {
		d.ask.got()
	} else if a.gap {
		d.ask.lose(now)
	}
	if d.ask.needed {
		d.ask.begin(now)
		d.skipped.Add(1)
		return
	}
	p := d.pool.Get()
	if err := d.dec.Decode(p, data, a.t); err != nil {
		d.pool.Put(p)
		d.failed.Add(1)
		d.ask.lose(now)
		return
	}
	d.decoded.Add(1)
	d.box.Put(p)
}

// pause is how long nothing needs to be done unless a frame comes.
func (d *decoding) pause(now time.Time) time.Duration {
	pause := time.Hour
	if d.hold.waiting() {
		pause = retryInterval
	}
	if d.ask.asking {
		pause = min(pause, max(d.ask.next.Sub(now), 0))
	}
	return pause
}

const (
	askInterval = 500 * time.Millisecond
	askPatience = 10 // requests, 5 s, after which the peer seems to have none to give
	askSlow     = 2 * time.Second
)

// An asker paces the requests for a key frame: at once, then every 500 ms,
// after 5 s every 2 s, until one has come. Two requests are never closer than
// 500 ms, however often frames are lost.
type asker struct {
	needed bool      // nothing but a key frame can be decoded
	asking bool      // requests are under way
	asked  int       // requests since the loss
	last   time.Time // of the last request
	next   time.Time
}

// lose tells that a frame is missing.
func (a *asker) lose(now time.Time) {
	a.needed = true
	a.begin(now)
}

// begin starts to ask unless that is under way.
func (a *asker) begin(now time.Time) {
	if a.asking {
		return
	}
	a.asking, a.asked, a.next = true, 0, now
	if earliest := a.last.Add(askInterval); !a.last.IsZero() && earliest.After(now) {
		a.next = earliest
	}
}

// got tells that a key frame has opened.
func (a *asker) got() { a.needed, a.asking = false, false }

// due reports whether to ask now, and counts it as done.
func (a *asker) due(now time.Time) bool {
	if !a.asking || now.Before(a.next) {
		return false
	}
	a.last, a.next = now, now.Add(askInterval)
	if a.asked++; a.asked >= askPatience {
		a.next = now.Add(askSlow)
	}
	return true
}
