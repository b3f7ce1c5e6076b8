// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"time"

	"incamera/media/frame"
)

const (
	// paceStep is the shortest wait of the pacer.
	paceStep = time.Millisecond
	// paceBurst is how much of missed time is made up for at once.
	paceBurst = 10 * time.Millisecond
	// deltaTime is how long a delta frame may take to leave.
	deltaTime = 20 * time.Millisecond
)

// A bucket spreads packets over time. It is filled with bytes at a rate and may
// be overdrawn by one packet.
type bucket struct {
	credit float64 // bytes
	last   time.Duration
	idle   bool // nothing waited at the last look
}

// fill adds what came in since the last call at a rate in bytes a second.
//
// Time in which nothing waited brings one step, so that a frame is not all burst.
func (b *bucket) fill(now time.Duration, rate float64) {
	if b.idle {
		b.idle = false
		b.last = max(b.last, now-paceStep)
	}
	b.credit = min(b.credit+rate*(now-b.last).Seconds(), rate*paceBurst.Seconds())
	b.last = now
}

// wait returns how long it takes until there is credit, in steps, 0 if there is.
func (b *bucket) wait(rate float64) time.Duration {
	if b.credit > 0 {
		return 0
	}
	d := time.Duration((1 - b.credit) / rate * float64(time.Second))
	return (d + paceStep - 1).Truncate(paceStep)
}

// paceRate returns the bytes a second at which a frame leaves: 2.5 times the
// target in bits, and for a delta frame at least what lets it leave in time.
func paceRate(target, size int, key bool) float64 {
	r := 2.5 * float64(target) / 8
	if !key {
		r = max(r, float64(size)/deltaTime.Seconds())
	}
	return r
}

// pace sends what waits, until the connection ends.
func (p *Peer) pace() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	b := bucket{idle: true}
	var due time.Duration // when timer ends; 0 while it does not matter
	for {
		p.out[frame.Audio].sendAudio()
		now := p.elapsed()
		if due > 0 && now-due > lateStep {
			p.rate.late(now)
		}
		due = 0
		if wait, more := p.sendVideo(&b, now); more {
			due = now + wait
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-p.send:
		case <-timer.C:
		case <-p.done:
			return
		}
	}
}

// sendVideo sends pictures while there is credit and returns how long to wait
// for more of it. The camera goes first: faces before slides.
func (p *Peer) sendVideo(b *bucket, now time.Duration) (wait time.Duration, more bool) {
	for {
		o, size, key := p.nextVideo()
		if o == nil {
			b.idle = true
			return 0, false
		}
		rate := paceRate(p.Target(), size, key)
		b.fill(now, rate)
		if wait := b.wait(rate); wait > 0 {
			return wait, true
		}
		b.credit -= float64(o.sendFragment())
	}
}

// nextVideo returns the stream whose turn it is: the one in the middle of a
// frame, else the camera, else the content.
func (p *Peer) nextVideo() (o *outbound, size int, key bool) {
	if c := p.out[frame.Content]; c.busy() {
		if size, key, ok := c.begin(); ok {
			return c, size, key
		}
	}
	for _, k := range []frame.Kind{frame.Camera, frame.Content} {
		if size, key, ok := p.out[k].begin(); ok {
			return p.out[k], size, key
		}
	}
	return nil, 0, false
}
