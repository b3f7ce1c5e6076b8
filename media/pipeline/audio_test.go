// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"incamera/media/e2ee"
	"incamera/media/frame"
)

// halves is an AudioEncoder whose packets hold the instants of their two
// periods.
type halves struct {
	cost  atomic.Int64 // nanoseconds that a period takes
	first time.Duration
	half  bool
	open  bool
}

func (h *halves) Encode(dst *frame.Encoded, pcm *frame.PCM) (bool, error) {
	time.Sleep(time.Duration(h.cost.Load()))
	dst.Data = dst.Data[:0]
	if h.half = !h.half; h.half {
		h.first = pcm.PTS
		return false, nil
	}
	dst.Data = binary.BigEndian.AppendUint64(dst.Data, uint64(h.first))
	dst.Data = binary.BigEndian.AppendUint64(dst.Data, uint64(pcm.PTS))
	dst.PTS, dst.Key = h.first, true
	return true, nil
}

func (h *halves) Discard()     { h.half = false }
func (h *halves) Close() error { h.open = false; return nil }

// A booth is a sender of sound in a bubble.
type booth struct {
	*AudioSender
	encoder *halves
	sealer  *counting
	peer    *e2ee.Keyring

	mu   sync.Mutex
	sent []e2ee.Sealed
}

func newBooth(t *testing.T, keys *e2ee.Keyring) *booth {
	b := &booth{encoder: &halves{}, sealer: &counting{Keyring: keys}, peer: keyring(t, 1, 0)}
	b.AudioSender = NewAudioSender(AudioSenderConfig{
		Sealer:  b.sealer,
		Encoder: func() (AudioEncoder, error) { b.encoder.open = true; return b.encoder, nil },
		Out: send(func(s e2ee.Sealed) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.sent = append(b.sent, s)
		}),
	})
	t.Cleanup(run(t, b.Run))
	return b
}

// speak gives n periods, 10 ms apart, that count from first.
func (b *booth) speak(first, n int) {
	for i := range n {
		b.Put(&frame.PCM{PTS: time.Duration(first + i)})
		time.Sleep(frame.Period)
	}
}

// take opens what was sent since the last call and gives the periods in it.
func (b *booth) take(t *testing.T) (periods []int) {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sent {
		data, err := b.peer.Open(nil, frame.Audio, 0, s.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if len(data) != 16 || s.Kind() != frame.Audio || uint64(s.PTS()) != binary.BigEndian.Uint64(data) {
			t.Errorf("a packet of %d bytes, %v, instant %v", len(data), s.Kind(), s.PTS())
		}
		periods = append(periods, int(binary.BigEndian.Uint64(data)), int(binary.BigEndian.Uint64(data[8:])))
	}
	b.sent = nil
	return periods
}

func TestMutedSealsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooth(t, keyring(t, 0, 0))
		b.encoder.cost.Store(int64(3 * time.Millisecond))
		b.speak(0, 100)
		if asked := b.sealer.asked.Load(); asked != 0 || !b.Muted() {
			t.Errorf("%d frames were sealed before anyone opened the gate", asked)
		}
		for turn := range 50 {
			first := 1000 * (turn + 1)
			b.SetMuted(false)
			b.speak(first, 11) // odd: half a packet is left over
			b.Put(&frame.PCM{PTS: time.Duration(first + 11)})
			time.Sleep(time.Duration(turn%8) * time.Millisecond) // in the midst of encoding or not
			b.SetMuted(true)
			asked := b.sealer.asked.Load()
			got := b.take(t)
			if len(got) < 10 || got[0] != first || got[len(got)-1] > first+11 {
				t.Fatalf("turn %d: sent %v", turn, got)
			}
			b.speak(first+100, 20)
			if got := b.take(t); got != nil || b.sealer.asked.Load() != asked {
				t.Fatalf("turn %d: while muted %v was sent and %d frames sealed", turn, got, b.sealer.asked.Load()-asked)
			}
		}
	})
}

// TestNothingFromBeforeAMute mutes for an instant while periods wait: none of
// them is sent afterwards.
func TestNothingFromBeforeAMute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooth(t, keyring(t, 0, 0))
		b.encoder.cost.Store(int64(3 * time.Millisecond))
		b.SetMuted(false)
		for i := range 4 {
			b.Put(&frame.PCM{PTS: time.Duration(i)})
		}
		time.Sleep(time.Millisecond) // the first is being encoded
		b.SetMuted(true)
		b.SetMuted(false)
		b.speak(100, 4)
		if got := b.take(t); !slices.Equal(got, []int{100, 101, 102, 103}) {
			t.Errorf("sent %v, want only what was heard after the mute", got)
		}
	})
}

// TestSlowSound checks that the newest periods are kept when encoding stalls.
func TestSlowSound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooth(t, keyring(t, 0, 0))
		b.SetMuted(false)
		b.encoder.cost.Store(int64(95 * time.Millisecond))
		begun := time.Now()
		b.speak(0, 10) // one is being encoded, four wait, five are dropped
		if took := time.Since(begun); took != 100*time.Millisecond {
			t.Errorf("100 ms of sound took %v: putting was held up", took)
		}
		if st := b.Stats(); st.Dropped != 5 && st.Dropped != 4 || st.Waiting > pcmQueue {
			t.Errorf("%+v, want 4 or 5 dropped and at most 4 waiting", st)
		}
		b.encoder.cost.Store(0)
		time.Sleep(time.Second)
		if got := b.take(t); !slices.IsSorted(got) || got[len(got)-1] < 8 {
			t.Errorf("sent %v, want the newest last", got)
		}
	})
}

func TestSoundWithoutKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := e2ee.NewKeyring()
		b := newBooth(t, keys)
		b.SetMuted(false)
		b.speak(0, 20)
		if st := b.Stats(); st.NoKey != 10 || st.Sent != 0 {
			t.Errorf("without keys: %+v", st)
		}
		admit(t, keys, 0, 0)
		b.speak(20, 4)
		if got := b.take(t); !slices.Equal(got, []int{20, 21, 22, 23}) {
			t.Errorf("with keys: sent %v", got)
		}
	})
}

func TestNoEncoder(t *testing.T) {
	missing := errors.New("none here")
	s := NewAudioSender(AudioSenderConfig{Encoder: func() (AudioEncoder, error) { return nil, missing }})
	if err := s.Run(t.Context()); !errors.Is(err, missing) {
		t.Errorf("Run = %v, want %v", err, missing)
	}
	r := NewVideoReceiver(VideoReceiverConfig{Decoder: func() (VideoDecoder, error) { return nil, missing }})
	if err := r.Run(t.Context()); !errors.Is(err, missing) {
		t.Errorf("Run = %v, want %v", err, missing)
	}
}

// record is a Player that keeps what it is given.
type record struct {
	mu      sync.Mutex
	seqs    []uint32
	packets []byte
}

func (p *record) Put(seq uint32, _ time.Duration, packet []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seqs, p.packets = append(p.seqs, seq), append(p.packets, packet...)
}

func TestAudioReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, keys, player := keyring(t, 0, 0), keyring(t, 1, 0), &record{}
		r := NewAudioReceiver(AudioReceiverConfig{From: 0, Opener: keys, Player: player})
		t.Cleanup(run(t, r.Run))
		packet := func(b byte) []byte {
			return seal(t, from, &frame.Encoded{Data: []byte{b}, Kind: frame.Audio, Key: true})
		}
		r.Push(packet('a'), 1, 0)
		flipped := packet('x')
		flipped[len(flipped)-1] ^= 1
		r.Push(flipped, 2, 0)
		admit(t, from, 0, 1)
		r.Push(packet('b'), 3, 0) // of an epoch that comes in time
		time.Sleep(100 * time.Millisecond)
		r.Push(packet('c'), 4, 0)
		admit(t, keys, 1, 1)
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		if string(player.packets) != "abc" || !slices.Equal(player.seqs, []uint32{1, 3, 4}) {
			t.Errorf("played %q as %v", player.packets, player.seqs)
		}
		admit(t, from, 0, 2)
		r.Push(packet('d'), 5, 0) // of one that does not
		time.Sleep(270 * time.Millisecond)
		synctest.Wait()
		r.SetFrom(1)
		r.Push(packet('e'), 6, 0)
		time.Sleep(270 * time.Millisecond)
		synctest.Wait()
		if st := r.Stats(); st.Received != 6 || st.Opened != 3 || st.Refused != 1 || st.Late != 2 || len(player.seqs) != 3 {
			t.Errorf("%+v, played %v", st, player.seqs)
		}
	})
}
