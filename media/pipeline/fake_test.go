// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"incamera/media/codec"
	"incamera/media/e2ee"
	"incamera/media/frame"
)

// epochKeys are the keys of one epoch of a meeting of two.
func epochKeys(epoch uint64, self e2ee.Leaf) e2ee.EpochKeys {
	return e2ee.EpochKeys{Epoch: epoch, Self: self, Slots: 2, Leaves: []e2ee.Leaf{0, 1}, BaseKey: bytes.Repeat([]byte{byte(epoch + 1)}, 32)}
}

// keyring gives the keys of member self, who may send with the newest.
func keyring(t testing.TB, self e2ee.Leaf, epochs ...uint64) *e2ee.Keyring {
	t.Helper()
	k := e2ee.NewKeyring()
	for _, n := range epochs {
		admit(t, k, self, n)
	}
	return k
}

func admit(t testing.TB, k *e2ee.Keyring, self e2ee.Leaf, epoch uint64) {
	t.Helper()
	if err := errors.Join(k.Install(epochKeys(epoch, self)), k.SendWith(epoch)); err != nil {
		t.Fatal(err)
	}
}

// send is a Fanout that is a function.
type send func(e2ee.Sealed)

func (f send) Send(s e2ee.Sealed) { f(s) }

// counting is a Sealer that counts what it is asked to seal.
type counting struct {
	*e2ee.Keyring
	asked atomic.Int64
}

func (c *counting) Seal(dst []byte, f *frame.Encoded) (e2ee.Sealed, error) {
	c.asked.Add(1)
	return c.Keyring.Seal(dst, f)
}

// run starts a loop and returns what stops it and checks how it ended.
func run(t testing.TB, loop func(context.Context) error) (stop func()) {
	t.Helper()
	ended := errors.New("ended by the test")
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context())) // that one ends before clean-up
	done := make(chan error, 1)
	go func() { done <- loop(ctx) }()
	return sync.OnceFunc(func() {
		cancel(ended)
		if err := <-done; !errors.Is(err, ended) {
			t.Errorf("Run = %v, want %v", err, ended)
		}
	})
}

// camera is a Source that gives a grey picture each interval, as time in the
// bubble passes.
type camera struct {
	interval time.Duration
	began    time.Time
	picture  *frame.Picture
	given    atomic.Uint64
}

func newCamera(width, height, fps int) *camera {
	return &camera{interval: time.Second / time.Duration(fps), began: time.Now(), picture: frame.NewPicture(width, height)}
}

func (c *camera) Next(ctx context.Context) (*frame.Picture, error) {
	select {
	case <-time.After(c.interval):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	c.picture.Number, c.picture.PTS = c.given.Add(1)-1, time.Since(c.began)
	return c.picture, nil
}

// plain is a VideoEncoder whose frames are 16 bytes: key or delta as VP8 tells
// it, and the number of the picture.
type plain struct {
	factory *factory
	config  codec.VideoConfig
	force   atomic.Bool
	begun   bool
}

// factory makes encoders and sees what they are told.
type factory struct {
	cost atomic.Int64 // nanoseconds that a picture takes, at Normal effort
	fail atomic.Bool
	deaf atomic.Bool // ForceKeyFrame does nothing

	mu     sync.Mutex
	made   []codec.VideoConfig
	open   int
	last   codec.VideoConfig // size of the last picture, bit rate it was encoded with
	effort codec.Effort
	count  int // pictures encoded
}

func (f *factory) new(c codec.VideoConfig) (VideoEncoder, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made = append(f.made, c)
	f.open++
	return &plain{factory: f, config: c}, nil
}

func (f *factory) now() (last codec.VideoConfig, effort codec.Effort, made, open int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, f.effort, len(f.made), f.open
}

var errEncoder = errors.New("the encoder fails")

func (e *plain) Encode(dst *frame.Encoded, p *frame.Picture) error {
	if cost := time.Duration(e.factory.cost.Load()); cost > 0 {
		time.Sleep(cost / time.Duration(1+e.factory.effort))
	}
	if e.factory.fail.Load() {
		return errEncoder
	}
	if p.Width != e.config.Width || p.Height != e.config.Height {
		return errors.New("a picture of another size")
	}
	dst.Key = e.force.Swap(false) || !e.begun
	e.begun = true
	dst.Data = append(dst.Data[:0], make([]byte, 16)...)
	if !dst.Key {
		dst.Data[0] = 1
	}
	binary.BigEndian.PutUint64(dst.Data[8:], p.Number)
	dst.PTS = p.PTS
	e.factory.mu.Lock()
	defer e.factory.mu.Unlock()
	e.factory.last = e.config
	e.factory.count++
	return nil
}

func (e *plain) SetBitRate(bps int) error { e.config.BitRate = bps; return nil }

func (e *plain) SetEffort(effort codec.Effort) error {
	e.factory.mu.Lock()
	defer e.factory.mu.Unlock()
	e.factory.effort = effort
	return nil
}

func (e *plain) ForceKeyFrame() { e.force.Store(!e.factory.deaf.Load()) }

func (e *plain) Close() error {
	e.factory.mu.Lock()
	defer e.factory.mu.Unlock()
	e.factory.open--
	return nil
}

// plainDecoder is a VideoDecoder for the frames of plain. It keeps the numbers
// it was given.
type plainDecoder struct {
	cost    time.Duration
	mu      sync.Mutex
	numbers []uint64
}

var errDecoder = errors.New("the decoder fails")

func (d *plainDecoder) Decode(dst *frame.Picture, data []byte, pts time.Duration) error {
	time.Sleep(d.cost)
	if len(data) != 16 || data[1] != 0 {
		return errDecoder
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.numbers = append(d.numbers, binary.BigEndian.Uint64(data[8:]))
	resize(dst, 2, 2)
	dst.PTS, dst.Number = pts, d.numbers[len(d.numbers)-1]
	return nil
}

func (d *plainDecoder) Close() error { return nil }

func (d *plainDecoder) seen() []uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]uint64(nil), d.numbers...)
}

// videoFrame is a sealed frame as plain would make it.
func videoFrame(t testing.TB, k *e2ee.Keyring, number uint64, key bool) []byte {
	t.Helper()
	data := make([]byte, 16)
	if !key {
		data[0] = 1
	}
	binary.BigEndian.PutUint64(data[8:], number)
	return seal(t, k, &frame.Encoded{Data: data, Kind: frame.Camera, Key: key})
}

func seal(t testing.TB, k *e2ee.Keyring, f *frame.Encoded) []byte {
	t.Helper()
	s, err := k.Seal(nil, f)
	if err != nil {
		t.Fatal(err)
	}
	return s.Bytes()
}
