// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"incamera/media/codec"
	"incamera/media/e2ee"
	"incamera/media/frame"
)

const (
	videoSlab = 256 << 10 // bytes: some 40 frames of 1.5 Mb/s
	// maxFailures is how many pictures in a row may fail before Run gives up:
	// a second of them.
	maxFailures = 30
)

// encoding is the state of the goroutine that encodes.
type encoding struct {
	*VideoSender
	enc           VideoEncoder // nil: none for this size yet
	width, height int          // of enc
	out           frame.Encoded
	memory        slab
	load          overload

	turn     uint64        // of the gate, at the last picture
	broken   bool          // peers lack the frame before: only a key frame may follow
	keyless  bool          // the last attempt to seal met e2ee.ErrNoKey
	probe    frame.Encoded // see maySeal
	probed   []byte
	lastKey  time.Time // when the last key frame was sent
	failures int       // in a row
}

// encodeAll encodes what comes through the mailbox.
func (s *VideoSender) encodeAll(ctx context.Context) error {
	e := &encoding{
		VideoSender: s,
		out:         frame.Encoded{Kind: s.config.Kind},
		probe:       frame.Encoded{Kind: s.config.Kind, Data: []byte{0}},
		probed:      make([]byte, 0, 1+e2ee.Overhead),
		memory:      slab{size: videoSlab},
	}
	e.load.top = s.allowed()
	defer e.drop()
	for {
		v, err := s.box.Take(ctx)
		if err != nil {
			return err
		}
		err = e.picture(v.picture, v.turn)
		s.pool.Put(v.picture)
		if err != nil {
			return err
		}
	}
}

// picture encodes and sends one picture. Its error ends the sender.
func (e *encoding) picture(p *frame.Picture, taken uint64) error {
	open, turn := e.gate.state()
	if turn != e.turn {
		e.turn, e.broken = turn, true
	}
	step, bitRate := e.step()
	switch {
	case !open || turn != taken:
		e.gated.Add(1)
		return nil
	case step == stopped:
		e.skipped.Add(1)
		return nil
	case e.keyless && !e.maySeal():
		e.noKey.Add(1)
		return nil
	}
	if err := e.prepare(p, step, bitRate); err != nil {
		return err
	}
	began := time.Now()
	if e.broken || e.keyDue.Load() && began.Sub(e.lastKey) >= keyInterval {
		// What is asked for from here on is a later frame.
		e.keyDue.Store(false)
		e.enc.ForceKeyFrame()
	}
	if err := e.enc.Encode(&e.out, p); err != nil {
		return e.fail(err)
	}
	e.failures = 0
	e.account(began, step)
	if len(e.out.Data) == 0 { // dropped to hold the bit rate
		return nil
	}
	e.encoded.Add(1)
	if !e.broken || e.out.Key {
		e.send()
	}
	return nil
}

// prepare brings the encoder to the size, the rate and the effort wanted.
func (e *encoding) prepare(p *frame.Picture, step, bitRate int) error {
	if e.width != p.Width || e.height != p.Height {
		e.drop()
	}
	if e.enc == nil {
		enc, err := e.config.Encoder(codec.VideoConfig{Width: p.Width, Height: p.Height, FPS: Steps[step].FPS, BitRate: bitRate})
		if err != nil {
			return fmt.Errorf("pipeline: encoder of the %v: %w", e.config.Kind, err)
		}
		e.enc, e.width, e.height, e.broken = enc, p.Width, p.Height, true
	}
	if err := e.enc.SetBitRate(bitRate); err != nil {
		return fmt.Errorf("pipeline: encoder of the %v: %w", e.config.Kind, err)
	}
	if err := e.enc.SetEffort(e.load.effort); err != nil {
		return fmt.Errorf("pipeline: encoder of the %v: %w", e.config.Kind, err)
	}
	return nil
}

// fail replaces an encoder that failed, unless it always does.
func (e *encoding) fail(err error) error {
	e.failed.Add(1)
	e.drop()
	if e.failures++; e.failures >= maxFailures {
		return fmt.Errorf("pipeline: encoder of the %v, %d times in a row: %w", e.config.Kind, e.failures, err)
	}
	return nil
}

// drop closes the encoder. The next picture makes a new one.
func (e *encoding) drop() {
	if e.enc != nil {
		if err := e.enc.Close(); err != nil {
			e.failed.Add(1)
		}
		e.enc = nil
	}
}

// account watches the time that encoding takes.
func (e *encoding) account(began time.Time, step int) {
	now, top := time.Now(), e.load.top
	e.load.encoded(now, now.Sub(began), step)
	e.meanEncode.Store(int64(e.load.mean))
	e.effort.Store(int64(e.load.effort))
	if e.load.top != top {
		e.allow(e.load.top)
	}
}

// send seals the frame and hands it to all peers, both behind the gate.
func (e *encoding) send() {
	dst := e.memory.take(len(e.out.Data) + e2ee.Overhead)
	e.gate.mu.Lock()
	defer e.gate.mu.Unlock()
	if !e.gate.open || e.gate.turn != e.turn {
		e.broken = true
		e.gated.Add(1)
		return
	}
	sealed, err := e.config.Sealer.Seal(dst, &e.out)
	if err != nil {
		e.broken = true
		if e.keyless = errors.Is(err, e2ee.ErrNoKey); e.keyless {
			e.noKey.Add(1)
		} else {
			e.failed.Add(1)
		}
		return
	}
	e.sent.Add(1)
	if e.out.Key {
		e.keys.Add(1)
		e.broken, e.lastKey = false, time.Now()
	}
	e.config.Out.Send(sealed)
}

// maySeal finds out if there is a key again, by sealing a frame of one byte and
// throwing it away. While there is none, pictures are not encoded at all: a row
// of key frames that nobody gets would leave the rate control in debt when the
// first one counts.
func (e *encoding) maySeal() bool {
	e.gate.mu.Lock()
	defer e.gate.mu.Unlock()
	if !e.gate.open {
		return false
	}
	_, err := e.config.Sealer.Seal(e.probed[:0], &e.probe)
	e.keyless = errors.Is(err, e2ee.ErrNoKey)
	return !e.keyless
}
