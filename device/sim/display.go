// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"sync"
	"time"

	"incamera/media/frame"
)

// A Display shows the stage on a web page in place of a screen. It has the
// methods of the surface that the composer wants: Mode, Next and Present.
//
// One goroutine calls Next and Present, in turn. The other methods may be
// called by any.
type Display struct {
	mode    frame.Mode
	pace    *pacer
	witness *Witness
	closed  chan struct{}

	mu    sync.Mutex // guards what follows; shown may be read while it is held
	shown *frame.Picture
	spare *frame.Picture
	count uint64 // pictures presented
	over  bool

	encoding sync.Mutex // guards what follows
	copied   *frame.Picture
	full     *frame.Picture
	encoded  []byte
	encodedN uint64
	encodedT time.Time
}

// NewDisplay returns a dark display.
func NewDisplay(mode frame.Mode) (*Display, error) {
	if err := frame.CheckSize(mode.Width, mode.Height); err != nil {
		return nil, err
	}
	if mode.Rate < 1 || mode.Rate > 240 {
		return nil, fmt.Errorf("sim: a display of %d Hz: ask for 1 to 240", mode.Rate)
	}
	return &Display{
		mode: mode, witness: newWitness(mode), closed: make(chan struct{}),
		shown: frame.NewPicture(mode.Width, mode.Height), spare: frame.NewPicture(mode.Width, mode.Height),
		copied: new(frame.Picture), full: new(frame.Picture),
	}, nil
}

// Mode is the size and the rate of the display.
func (d *Display) Mode() frame.Mode { return d.mode }

// Next lends the canvas of the next picture until Present takes it back. What
// it holds is an older picture.
func (d *Display) Next() *frame.Picture { return d.spare }

// Present waits for the next vertical blank, shows p, which must be the canvas
// that Next lent, and returns the instant of that blank on CLOCK_MONOTONIC.
func (d *Display) Present(p *frame.Picture) (time.Duration, error) {
	if p != d.spare || p.Width != d.mode.Width || p.Height != d.mode.Height {
		return 0, errors.New("sim: the picture to present is not the canvas of Next")
	}
	if d.pace == nil {
		d.pace = newPacer(d.mode.Rate, time.Second)
	}
	d.pace.skip()
	at := d.pace.tick()
	if err := d.pace.wait(context.Background(), d.closed); err != nil {
		return 0, err
	}
	d.mu.Lock()
	d.shown, d.spare = d.spare, d.shown
	d.count++
	d.mu.Unlock()
	d.witness.observe(p, at)
	return at, nil
}

// Close darkens the display: a waiting Present ends with an error, and so does
// each later one. It may be called twice.
func (d *Display) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.over {
		d.over = true
		close(d.closed)
		d.shown.Fill(16, 128, 128)
		d.count++
	}
	return nil
}

// Witness tells what was seen on the display.
func (d *Display) Witness() *Witness { return d.witness }

// streamInterval is the time between two pictures for those who watch.
const streamInterval = 100 * time.Millisecond

// jpegQuality keeps text on the stage readable.
const jpegQuality = 82

// JPEG returns the picture that is shown, at most 100 ms old, and its number.
// All who watch share one encoding; without anybody nothing is encoded. The
// bytes are not changed later.
func (d *Display) JPEG() ([]byte, uint64, error) {
	d.encoding.Lock()
	defer d.encoding.Unlock()
	d.mu.Lock()
	if d.encoded != nil && (d.count == d.encodedN || time.Since(d.encodedT) < streamInterval*9/10) {
		d.mu.Unlock()
		return d.encoded, d.encodedN, nil
	}
	d.copied.CopyFrom(d.shown)
	n := d.count
	d.mu.Unlock()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, fullRange(d.full, d.copied).YCbCr(), &jpeg.Options{Quality: jpegQuality}); err != nil {
		return nil, 0, fmt.Errorf("sim: encode the stage: %w", err)
	}
	d.encoded, d.encodedN, d.encodedT = b.Bytes(), n, time.Now()
	return d.encoded, n, nil
}
