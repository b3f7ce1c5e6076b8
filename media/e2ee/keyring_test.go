// SPDX-License-Identifier: Apache-2.0

package e2ee

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"incamera/media/frame"
	"incamera/media/sframe"
)

// baseKey is a fixed base key for each seed.
func baseKey(seed byte) []byte { return bytes.Repeat([]byte{seed}, baseKeySize) }

// two is an epoch of two rooms.
func two(epoch uint64, self Leaf) EpochKeys {
	return EpochKeys{Epoch: epoch, Self: self, Slots: 2, Leaves: []Leaf{0, 1}, BaseKey: baseKey(byte(epoch + 1))}
}

// ring makes the keyring of one room, which sends with the last epoch.
func ring(tb testing.TB, epochs ...EpochKeys) *Keyring {
	tb.Helper()
	k := NewKeyring()
	for _, e := range epochs {
		if err := k.Install(e); err != nil {
			tb.Fatal(err)
		}
		if err := k.SendWith(e.Epoch); err != nil {
			tb.Fatal(err)
		}
	}
	return k
}

func encoded(kind frame.Kind, data string) *frame.Encoded {
	return &frame.Encoded{Data: []byte(data), Kind: kind, Key: true, PTS: 7}
}

func mustSeal(tb testing.TB, k *Keyring, kind frame.Kind, data string) []byte {
	tb.Helper()
	s, err := k.Seal(nil, encoded(kind, data))
	if err != nil {
		tb.Fatal(err)
	}
	return s.Bytes()
}

func TestSealOpen(t *testing.T) {
	a, b := ring(t, two(0, 0)), ring(t, two(0, 1))
	for kind := range frame.Kind(kinds) {
		t.Run(kind.String(), func(t *testing.T) {
			f := encoded(kind, "\x10 a frame")
			s, err := a.Seal([]byte("before"), f)
			if err != nil {
				t.Fatal(err)
			}
			if s.Kind() != kind || !s.Key() || s.PTS() != 7 {
				t.Errorf("Seal lost what the frame was: %v %v %v", s.Kind(), s.Key(), s.PTS())
			}
			if bytes.Contains(s.Bytes(), f.Data[1:]) {
				t.Errorf("%x holds the frame in clear", s.Bytes())
			}
			if got := len(s.Bytes()) - len(f.Data); got > Overhead {
				t.Errorf("%d bytes longer than the frame, at most %d promised", got, Overhead)
			}
			// RFC 7741: a forwarder reads the key flag of VP8; of Opus it reads nothing.
			if clear := s.Bytes()[0] == f.Data[0]; clear != (kind != frame.Audio) {
				t.Errorf("%v: first byte in clear: %v", kind, clear)
			}
			got, err := b.Open([]byte("dst "), kind, 0, s.Bytes())
			if err != nil || string(got) != "dst "+string(f.Data) {
				t.Errorf("Open = %q, %v; want %q", got, err, f.Data)
			}
			if _, err := b.Open(nil, kind, 0, s.Bytes()); !errors.Is(err, ErrRefused) {
				t.Errorf("a second Open = %v, want %v", err, ErrRefused)
			}
		})
	}
	if (Sealed{}).Bytes() != nil {
		t.Error("the zero Sealed has bytes")
	}
}

func TestSealRejects(t *testing.T) {
	k := ring(t, two(0, 0))
	for _, tt := range []struct {
		name string
		f    *frame.Encoded
	}{
		{"unknown kind", encoded(3, "frame")},
		{"empty picture", encoded(frame.Camera, "")},
		{"empty packet", encoded(frame.Audio, "")},
		{"too long", &frame.Encoded{Kind: frame.Content, Data: make([]byte, MaxFrameSize+1)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if s, err := k.Seal(nil, tt.f); !errors.Is(err, ErrFrame) || s.Bytes() != nil {
				t.Errorf("Seal = %x, %v; want %v", s.Bytes(), err, ErrFrame)
			}
		})
	}
}

// TestOpenRejects checks what is refused, and that the frame itself opens
// afterwards: refusing has changed nothing.
func TestOpenRejects(t *testing.T) {
	a, b := ring(t, two(20, 0)), ring(t, two(20, 1))
	self := mustSeal(t, b, frame.Camera, "own frame")
	wire := mustSeal(t, a, frame.Camera, "a frame")
	audio := mustSeal(t, a, frame.Audio, "a frame")
	flipped := func(i int) []byte {
		bad := slices.Clone(wire)
		bad[i] ^= 1
		return bad
	}
	header := func(kid uint64) []byte {
		h, _ := sframe.Header{KID: kid}.AppendBinary([]byte{'a'})
		return append(h, make([]byte, 30)...)
	}
	l := sframe.Layout{EpochBits: epochBits, LeafBits: 1}
	kid := func(context uint64, leaf Leaf, epoch uint64) []byte {
		kid, err := l.KID(context, leaf, epoch)
		if err != nil {
			t.Fatal(err)
		}
		return header(kid)
	}
	for _, tt := range []struct {
		name string
		kind frame.Kind
		from Leaf
		wire []byte
		want error // nil: either, since the header is read at the wrong place
	}{
		{"empty", frame.Camera, 0, nil, ErrRefused},
		{"clear byte alone", frame.Camera, 0, wire[:1], ErrRefused},
		{"truncated header", frame.Camera, 0, wire[:2], ErrRefused},
		{"truncated tag", frame.Camera, 0, wire[:len(wire)-1], ErrRefused},
		{"trailing byte", frame.Camera, 0, append(slices.Clone(wire), 0), ErrRefused},
		{"clear byte changed", frame.Camera, 0, flipped(0), ErrRefused},
		{"tag changed", frame.Camera, 0, flipped(len(wire) - 1), ErrRefused},
		{"unknown kind", 3, 0, wire, ErrRefused},
		{"as audio", frame.Audio, 0, wire, nil},
		{"as content", frame.Content, 0, wire, ErrRefused},
		{"audio as camera", frame.Camera, 0, audio, nil},
		{"from another leaf", frame.Camera, 1, wire, ErrRefused},
		{"own frame come back", frame.Camera, 1, self, ErrRefused},
		{"context beyond the kinds", frame.Camera, 0, kid(3, 0, 20), ErrRefused},
		{"next epoch", frame.Camera, 0, kid(1, 0, 21), ErrUnknownEpoch},
		{"eighth epoch ahead", frame.Camera, 0, kid(1, 0, 28), ErrUnknownEpoch},
		{"ninth epoch ahead, or seventh behind", frame.Camera, 0, kid(1, 0, 29), ErrRefused},
		{"epoch before", frame.Camera, 0, kid(1, 0, 19), ErrRefused},
		{"too long", frame.Camera, 0, make([]byte, MaxFrameSize+Overhead+1), ErrRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := b.Open([]byte("dst"), tt.kind, tt.from, tt.wire); err == nil || !errors.Is(err, tt.want) && tt.want != nil || got != nil {
				t.Errorf("Open = %q, %v; want %v", got, err, tt.want)
			}
		})
	}
	if _, err := b.Open(nil, frame.Camera, 0, wire); err != nil {
		t.Errorf("the frame itself, in the end: %v", err)
	}
	if _, err := NewKeyring().Open(nil, frame.Camera, 0, wire); !errors.Is(err, ErrUnknownEpoch) {
		t.Errorf("before the first epoch: %v, want %v", err, ErrUnknownEpoch)
	}
}

// TestStreamSwap moves frames between the streams of one room: a shared picture
// is never shown as the camera's, even where the header was written anew.
func TestStreamSwap(t *testing.T) {
	a, b := ring(t, two(3, 0)), ring(t, two(3, 1))
	for from := range frame.Kind(kinds) {
		for to := range frame.Kind(kinds) {
			wire := mustSeal(t, a, from, "frame")
			if from == to {
				continue
			}
			if _, err := b.Open(nil, to, 0, wire); err == nil {
				t.Errorf("%v opened as %v", from, to)
			}
			fp, _ := profileOf(from)
			tp, _ := profileOf(to)
			h, rest, err := sframe.ParseHeader(wire[fp.clear:])
			if err != nil {
				t.Fatal(err)
			}
			l := sframe.Layout{EpochBits: epochBits, LeafBits: 1}
			if h.KID, err = l.KID(uint64(to), 0, 3); err != nil {
				t.Fatal(err)
			}
			forged, _ := h.AppendBinary([]byte("f")[:tp.clear])
			if _, err := b.Open(nil, to, 0, append(forged, rest...)); !errors.Is(err, ErrRefused) {
				t.Errorf("%v under the header of %v: %v", from, to, err)
			}
		}
	}
}

// TestLeafMustMatchPeer sends one member's frame through another's connection.
func TestLeafMustMatchPeer(t *testing.T) {
	three := func(self Leaf) EpochKeys {
		return EpochKeys{Epoch: 5, Self: self, Slots: 4, Leaves: []Leaf{0, 1, 3}, BaseKey: baseKey(9)}
	}
	a, b := ring(t, three(0)), ring(t, three(1))
	wire := mustSeal(t, a, frame.Audio, "frame")
	for _, leaf := range []Leaf{1, 2, 3, 4, 1 << 31} {
		if _, err := b.Open(nil, frame.Audio, leaf, wire); !errors.Is(err, ErrRefused) {
			t.Errorf("frame of leaf 0 behind the connection of %d: %v, want %v", leaf, err, ErrRefused)
		}
	}
	if _, err := b.Open(nil, frame.Audio, 0, wire); err != nil {
		t.Error(err)
	}
}

// TestSenderMadeOnce installs what was installed before: a second sender would
// start at counter 0 again and repeat every nonce.
func TestSenderMadeOnce(t *testing.T) {
	k := ring(t, two(1, 0))
	again := two(2, 0)
	again.BaseKey = baseKey(2)
	for _, tt := range []struct {
		name string
		keys EpochKeys
	}{
		{"same epoch", two(1, 0)},
		{"same epoch, other key", EpochKeys{Epoch: 1, Slots: 2, Leaves: []Leaf{0, 1}, BaseKey: baseKey(77)}},
		{"older epoch", two(0, 0)},
		{"other epoch, same key", again},
		{"sixteen epochs on, same key", EpochKeys{Epoch: 17, Slots: 2, Leaves: []Leaf{0, 1}, BaseKey: baseKey(2)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := k.Epochs()
			if err := k.Install(tt.keys); !errors.Is(err, ErrEpoch) {
				t.Errorf("Install = %v, want %v", err, ErrEpoch)
			}
			if after := k.Epochs(); !slices.Equal(before, after) {
				t.Errorf("a refused Install changed the epochs from %v to %v", before, after)
			}
		})
	}
	k.Forget(1)
	if err := k.Install(two(1, 0)); !errors.Is(err, ErrEpoch) {
		t.Errorf("an epoch forgotten and installed again: %v, want %v", err, ErrEpoch)
	}

	// No two frames of a room share key and counter, whoever seals them.
	k = ring(t, two(9, 0))
	seen := make(chan sframe.Header, 3*400)
	var wg sync.WaitGroup
	for kind := range frame.Kind(kinds) {
		for range 4 {
			wg.Go(func() {
				for range 100 {
					s, err := k.Seal(nil, encoded(kind, "frame"))
					if err != nil {
						t.Error(err)
						return
					}
					p, _ := profileOf(kind)
					h, _, _ := sframe.ParseHeader(s.Bytes()[p.clear:])
					seen <- h
				}
			})
		}
	}
	wg.Wait()
	close(seen)
	unique := map[sframe.Header]bool{}
	for h := range seen {
		unique[h] = true
	}
	if len(unique) != 3*400 {
		t.Errorf("%d different headers for %d frames", len(unique), 3*400)
	}
}

func TestInstallRejects(t *testing.T) {
	for _, tt := range []struct {
		name string
		keys EpochKeys
	}{
		{"no base key", EpochKeys{Slots: 1}},
		{"short base key", EpochKeys{Slots: 1, BaseKey: make([]byte, 16)}},
		{"no slots", EpochKeys{BaseKey: baseKey(1)}},
		{"too many slots", EpochKeys{Slots: maxSlots + 1, BaseKey: baseKey(1)}},
		{"self beyond the tree", EpochKeys{Slots: 2, Self: 2, BaseKey: baseKey(1)}},
		{"member beyond the tree", EpochKeys{Slots: 2, Leaves: []Leaf{0, 2}, BaseKey: baseKey(1)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := NewKeyring()
			if err := k.Install(tt.keys); !errors.Is(err, ErrEpoch) {
				t.Errorf("Install = %v, want %v", err, ErrEpoch)
			}
			if got := k.Epochs(); got != nil {
				t.Errorf("a refused Install left epochs %v", got)
			}
		})
	}
}

// TestAllocations keeps sealing and opening off the heap.
func TestAllocations(t *testing.T) {
	a, b := ring(t, two(0, 0)), ring(t, two(0, 1))
	for kind := range frame.Kind(kinds) {
		for _, size := range []int{1, 256, 12 << 10} {
			t.Run(fmt.Sprintf("%v/%d bytes", kind, size), func(t *testing.T) {
				f := &frame.Encoded{Kind: kind, Data: make([]byte, size)}
				wire, out := make([]byte, 0, size+Overhead), make([]byte, 0, size+Overhead)
				got := testing.AllocsPerRun(100, func() {
					s, err := a.Seal(wire, f)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := b.Open(out, kind, 0, s.Bytes()); err != nil {
						t.Fatal(err)
					}
				})
				if got != 0 {
					t.Errorf("a frame allocates %v times, want 0", got)
				}
			})
		}
	}
}

func BenchmarkSealOpen(b *testing.B) {
	x, y := ring(b, two(0, 0)), ring(b, two(0, 1))
	for _, size := range []int{256, 12 << 10} {
		b.Run(fmt.Sprintf("%d bytes", size), func(b *testing.B) {
			f := &frame.Encoded{Kind: frame.Camera, Data: make([]byte, size)}
			wire, out := make([]byte, 0, size+Overhead), make([]byte, 0, size+Overhead)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				s, err := x.Seal(wire, f)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := y.Open(out, frame.Camera, 0, s.Bytes()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// FuzzKeyringOpen checks that nothing opens but what the sender sealed, for the
// kind and leaf that it was sealed for, and that refusing changes nothing.
func FuzzKeyringOpen(f *testing.F) {
	a := ring(f, two(0, 0))
	for kind := range frame.Kind(kinds) {
		f.Add(byte(kind), uint32(0), mustSeal(f, a, kind, "frame"))
		f.Add(byte(kind), uint32(1), mustSeal(f, a, kind, "frame"))
	}
	f.Add(byte(1), uint32(0), []byte{0x10, 0x98})
	f.Fuzz(func(t *testing.T, kind byte, from Leaf, wire []byte) {
		a, b := ring(t, two(0, 0)), ring(t, two(0, 1))
		genuine := mustSeal(t, a, frame.Camera, "genuine")
		dst := []byte("dst")
		got, err := b.Open(dst, frame.Kind(kind), from, wire)
		if err != nil {
			if got != nil || string(dst) != "dst" {
				t.Fatalf("refused with %v, but returned %x", err, got)
			}
			if _, err := b.Open(nil, frame.Camera, 0, genuine); err != nil {
				t.Fatalf("the genuine frame does not open after %x: %v", wire, err)
			}
			return
		}
		p, _ := profileOf(frame.Kind(kind))
		h, _, err := sframe.ParseHeader(wire[p.clear:])
		if err != nil || from != 0 {
			t.Fatalf("opened %x from %d", wire, from)
		}
		// The sender, brought to that counter, seals the same bytes.
		if h.CTR > 1000 {
			t.Fatalf("opened counter %d, which nobody sealed", h.CTR)
		}
		again := ring(t, two(0, 0))
		for range h.CTR {
			mustSeal(t, again, frame.Kind(kind), "x")
		}
		if resealed := mustSeal(t, again, frame.Kind(kind), string(got[len(dst):])); !bytes.Equal(resealed, wire) {
			t.Fatalf("opened %x, which is sealed as %x", wire, resealed)
		}
	})
}
