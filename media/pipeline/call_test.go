// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package pipeline

import (
	"bytes"
	"context"
	"math"
	"sync"
	"testing"
	"time"

	"incamera/media/audio"
	"incamera/media/codec"
	"incamera/media/e2ee"
	"incamera/media/frame"
)

// What the daemon joins fits together.
var (
	_ Sealer        = (*e2ee.Keyring)(nil)
	_ Opener        = (*e2ee.Keyring)(nil)
	_ Player        = (*audio.Player)(nil)
	_ audio.Decoder = (*codec.OpusDecoder)(nil)
)

// counter draws a 24-bit number as blocks of 16x16 pixels on a moving ground.
func counter(p *frame.Picture, n uint64) {
	for i := range p.Y() {
		p.Y()[i] = byte(60 + (i/p.Width+int(n))%64)
	}
	for bit := range 24 {
		v := byte(16 + 219*(n>>bit&1))
		for y := range 16 {
			row := p.Y()[(16+y)*p.Width+16*(bit+1):]
			for x := range 16 {
				row[x] = v
			}
		}
	}
}

// readCounter reads it back.
func readCounter(p *frame.Picture) (n uint64) {
	for bit := range 24 {
		if p.Y()[24*p.Width+16*(bit+1)+8] > 125 {
			n |= 1 << bit
		}
	}
	return n
}

// steps is a Source that gives one picture for each value sent to it.
type steps struct {
	next    chan uint64
	picture *frame.Picture
}

func newSteps(width, height int) *steps {
	return &steps{next: make(chan uint64), picture: frame.NewPicture(width, height)}
}

func (s *steps) Next(ctx context.Context) (*frame.Picture, error) {
	select {
	case n := <-s.next:
		counter(s.picture, n)
		s.picture.Number, s.picture.PTS = n, time.Duration(n)*time.Second/30
		return s.picture, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// TestPicturesArrive sends counted pictures through a sender, real seals and a
// receiver: each arrives, once and in order, though the group changes its epoch
// on the way.
func TestPicturesArrive(t *testing.T) {
	a, b := keyring(t, 0, 0), keyring(t, 1, 0)
	receiver := NewVideoReceiver(VideoReceiverConfig{Kind: frame.Camera, From: 0, Opener: b, KeyFrameWanted: func() { t.Error("a key frame was asked for") }})
	source := newSteps(640, 360)
	sender := NewVideoSender(VideoSenderConfig{Kind: frame.Camera, Source: source, Sealer: a, BitRate: 3_000_000, Out: send(func(s e2ee.Sealed) {
		receiver.Push(bytes.Clone(s.Bytes()), s.PTS(), false)
	})})
	sender.SetOpen(true)
	defer run(t, sender.Run)()
	defer run(t, receiver.Run)()
	var shown *frame.Picture
	for n := range uint64(60) {
		if n == 30 {
			if err := b.Install(epochKeys(1, 1)); err != nil {
				t.Fatal(err)
			}
			admit(t, a, 0, 1)
		}
		source.next <- n
		deadline := time.Now().Add(10 * time.Second)
		for receiver.Stats().Decoded <= n {
			if time.Now().After(deadline) {
				t.Fatalf("picture %d did not arrive: %+v, %+v", n, sender.Stats(), receiver.Stats())
			}
			time.Sleep(time.Millisecond)
		}
		if shown = receiver.Latest(shown); readCounter(shown) != n || shown.PTS != time.Duration(n)*time.Second/30 {
			t.Fatalf("picture %d of %v is shown, want %d", readCounter(shown), shown.PTS, n)
		}
	}
	if st := sender.Stats(); st.Sent != 60 || st.KeySent != 1 {
		t.Errorf("%d frames sent, %d of them key frames; want 60 and 1", st.Sent, st.KeySent)
	}
}

// played keeps what a Player is given.
type played struct {
	mu      sync.Mutex
	packets [][]byte
}

func (p *played) Put(_ uint32, _ time.Duration, packet []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.packets = append(p.packets, bytes.Clone(packet))
}

// TestSoundArrives sends a tone through sender, real seals and receiver, and
// decodes it again.
func TestSoundArrives(t *testing.T) {
	a, b := keyring(t, 0, 0), keyring(t, 1, 0)
	player := &played{}
	receiver := NewAudioReceiver(AudioReceiverConfig{From: 0, Opener: b, Player: player})
	var seq uint32
	sender := NewAudioSender(AudioSenderConfig{Sealer: a, Out: send(func(s e2ee.Sealed) {
		receiver.Push(bytes.Clone(s.Bytes()), seq, 0)
		seq++
	})})
	sender.SetMuted(false)
	defer run(t, sender.Run)()
	defer run(t, receiver.Run)()
	for n := range 100 {
		pcm := frame.PCM{PTS: time.Duration(n) * frame.Period}
		for i := range pcm.Samples {
			pcm.Samples[i] = 0.5 * float32(math.Sin(2*math.Pi*1000*float64(n*frame.PeriodSamples+i)/frame.SampleRate))
		}
		sender.Put(&pcm)
		deadline := time.Now().Add(10 * time.Second)
		for receiver.Stats().Opened < uint64(n+1)/2 {
			if time.Now().After(deadline) {
				t.Fatalf("packet %d did not arrive: %+v, %+v", n/2, sender.Stats(), receiver.Stats())
			}
			time.Sleep(time.Millisecond)
		}
	}
	dec, err := codec.NewOpusDecoder()
	if err != nil {
		t.Fatal(err)
	}
	var pcm [codec.OpusSamples]float32
	power := 0.0
	for n, packet := range player.packets {
		if err := dec.Decode(&pcm, packet); err != nil {
			t.Fatal(err)
		}
		for _, v := range pcm {
			if n >= 10 {
				power += float64(v) * float64(v)
			}
		}
	}
	if got := math.Sqrt(power / (40 * codec.OpusSamples)); math.Abs(got-0.3535) > 0.05 {
		t.Errorf("a tone of 0.354 came back with %.3f", got)
	}
}

// TestFramesAllocateNothing sends pictures the whole way, from the source to
// the stage, and counts every allocation of the process.
func TestFramesAllocateNothing(t *testing.T) {
	a, b := keyring(t, 0, 0), keyring(t, 1, 0)
	receiver := NewVideoReceiver(VideoReceiverConfig{Kind: frame.Camera, From: 0, Opener: b, KeyFrameWanted: func() { t.Error("a key frame was asked for") }})
	source := newSteps(640, 360)
	sender := NewVideoSender(VideoSenderConfig{Kind: frame.Camera, Source: source, Sealer: a, BitRate: 3_000_000, Out: send(func(s e2ee.Sealed) {
		receiver.Push(s.Bytes(), s.PTS(), false)
	})})
	sender.SetOpen(true)
	defer run(t, sender.Run)()
	defer run(t, receiver.Run)()
	var shown *frame.Picture
	n := uint64(0)
	one := func() {
		source.next <- n
		for n++; receiver.Stats().Decoded < n; {
			time.Sleep(50 * time.Microsecond)
		}
		shown = receiver.Latest(shown)
	}
	for range 30 { // until every buffer has its size
		one()
	}
	if allocs := testing.AllocsPerRun(100, one); allocs != 0 {
		t.Errorf("%v allocations a picture, want none", allocs)
	}
}

// TestPacketsAllocateNothing does so for sound, but for the Opus encoder, which
// allocates by the framework's nature.
func TestPacketsAllocateNothing(t *testing.T) {
	a, b := keyring(t, 0, 0), keyring(t, 1, 0)
	receiver := NewAudioReceiver(AudioReceiverConfig{From: 0, Opener: b, Player: &last{}})
	var seq uint32
	sender := NewAudioSender(AudioSenderConfig{
		Sealer: a, Encoder: func() (AudioEncoder, error) { return &halves{}, nil },
		Out: send(func(s e2ee.Sealed) {
			receiver.Push(s.Bytes(), seq, 0)
			seq++
		}),
	})
	sender.SetMuted(false)
	defer run(t, sender.Run)()
	defer run(t, receiver.Run)()
	n := uint64(0)
	var pcm frame.PCM
	one := func() {
		sender.Put(&pcm)
		sender.Put(&pcm)
		for n++; receiver.Stats().Opened < n; {
			time.Sleep(50 * time.Microsecond)
		}
	}
	for range 30 {
		one()
	}
	if allocs := testing.AllocsPerRun(100, one); allocs != 0 {
		t.Errorf("%v allocations a packet, want none", allocs)
	}
}

// last is a Player that keeps one packet.
type last struct{ packet [256]byte }

func (p *last) Put(_ uint32, _ time.Duration, packet []byte) { copy(p.packet[:], packet) }

// BenchmarkCall sends one picture of 720p from the source to the stage.
func BenchmarkCall(b *testing.B) {
	keys, peer := keyring(b, 0, 0), keyring(b, 1, 0)
	receiver := NewVideoReceiver(VideoReceiverConfig{Kind: frame.Camera, From: 0, Opener: peer, KeyFrameWanted: func() {}})
	source := newSteps(1280, 720)
	sender := NewVideoSender(VideoSenderConfig{Kind: frame.Camera, Source: source, Sealer: keys, BitRate: 1_500_000, Out: send(func(s e2ee.Sealed) {
		receiver.Push(s.Bytes(), s.PTS(), false)
	})})
	sender.SetOpen(true)
	defer run(b, sender.Run)()
	defer run(b, receiver.Run)()
	var shown *frame.Picture
	b.ReportAllocs()
	b.SetBytes(int64(len(source.picture.Pix)))
	for n := uint64(0); b.Loop(); {
		source.next <- n
		for n++; receiver.Stats().Decoded < n; {
			time.Sleep(50 * time.Microsecond)
		}
		shown = receiver.Latest(shown)
	}
}
