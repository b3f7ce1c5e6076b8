// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// script feeds packets written as "number:flags" at a given millisecond, where
// the flags are S (begins), M (marker) and the frame's letter, which is its
// payload and its timestamp, and returns the frames as they come out, with a
// leading ! after a gap.
func script(t *testing.T, steps ...string) []string {
	t.Helper()
	var a assembler
	var out []string
	for _, step := range steps {
		var ms int
		var rest string
		if _, err := fmt.Sscanf(step, "%d %s", &ms, &rest); err != nil {
			t.Fatal(err)
		}
		now := time.Duration(ms) * time.Millisecond
		if rest != "-" {
			var p packet
			number, flags, _ := strings.Cut(rest, ":")
			if _, err := fmt.Sscan(number, &p.number); err != nil {
				t.Fatal(err)
			}
			p.begins, p.marker = strings.Contains(flags, "S"), strings.Contains(flags, "M")
			letter := strings.Trim(flags, "SM")
			p.stamp, p.payload = uint32(letter[0]), []byte(letter)
			a.insert(p, now)
		}
		for f, ok := a.take(now); ok; f, ok = a.take(now) {
			mark := ""
			if f.gap {
				mark = "!"
			}
			out = append(out, mark+string(f.wire))
		}
	}
	return out
}

func TestAssembler(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []string
		want  []string
	}{
		{"one packet", []string{"0 1:SaM"}, []string{"a"}},
		{"at once, without the next frame", []string{"0 1:Sa", "0 2:aM"}, []string{"aa"}},
		{"reordered", []string{"0 1:Sa", "0 3:aM", "1 2:a"}, []string{"aaa"}},
		{"twice", []string{"0 1:Sa", "0 1:Sa", "0 2:aM", "1 2:aM"}, []string{"aa"}},
		{"in order although the second is whole first", []string{"0 1:Sa", "0 3:SbM", "9 2:aM"}, []string{"aa", "b"}},
		{"repaired in time", []string{"0 1:Sa", "1 3:aM", "150 2:a"}, []string{"aaa"}},
		{"given up", []string{"0 1:Sa", "1 3:aM", "1 4:SbM", "151 -"}, []string{"!b"}},
		{"not a moment too early", []string{"0 1:Sa", "1 3:aM", "1 4:SbM", "150 -"}, nil},
		{"too late", []string{"0 1:Sa", "1 3:aM", "1 4:SbM", "151 -", "152 2:a"}, []string{"!b"}},
		{"whole frame missing", []string{"0 1:SaM", "0 3:ScM", "150 -"}, []string{"a", "!c"}},
		{"a frame that comes slowly is not a hole", []string{"0 1:Sa", "900 2:a", "1800 3:aM"}, []string{"aaa"}},
		{"two holes, one limit", []string{"0 1:Sa", "0 3:a", "100 5:aM", "140 2:a", "150 6:SbM"}, []string{"!b"}},
		{"join in the middle", []string{"0 7:a", "0 8:aM", "0 9:SbM"}, []string{"!b"}},
		{"no marker", []string{"0 1:Sa", "0 2:SbM"}, []string{"!b"}},
		{"begins twice", []string{"0 1:Sa", "0 2:SaM"}, []string{"!a"}},
		{"other timestamp", []string{"0 1:Sa", "0 2:bM", "0 3:ScM"}, []string{"!c"}},
		{"numbers wrap", []string{"0 65535:Sa", "0 0:aM", "0 1:SbM"}, []string{"aa", "b"}},
		{"window overrun", []string{"0 1:Sa", "0 3:SbM", "0 300:ScM", "200 -"}, []string{"!c"}},
		{"far jump", []string{"0 1:SaM", "0 20000:SbM", "200 -"}, []string{"a", "!b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := script(t, tt.steps...); !slices.Equal(got, tt.want) {
				t.Errorf("frames %q; want %q", got, tt.want)
			}
		})
	}
}

// TestResync: a sender that counts from somewhere else is heard again after a
// bounded number of packets.
func TestResync(t *testing.T) {
	var a assembler
	count := 0
	for i := range 200 {
		number := uint16(i)
		if i >= 50 {
			number -= 20_000
		}
		a.insert(packet{number: number, begins: true, marker: true, payload: []byte{1}}, time.Duration(i)*10*time.Millisecond)
		for _, ok := a.take(time.Duration(i) * 10 * time.Millisecond); ok; _, ok = a.take(time.Duration(i) * 10 * time.Millisecond) {
			count++
		}
	}
	if want := 200 - resyncAfter - holeFrames; count < want {
		t.Errorf("%d frames came through; want at least %d", count, want)
	}
}

// holeFrames is what 150 ms cost at 10 ms a frame, with one to spare.
const holeFrames = 16

// A twin says what an assembler must do, without a ring, without memory of what
// it has scanned, and with true numbers.
type twin struct {
	packets map[uint64]arrival
	next    uint64
	newest  uint64 // one past the highest
	gap     bool
	begun   bool
	holed   bool
	since   time.Duration
}

type arrival struct {
	packet
	at time.Duration
}

func (w *twin) insert(n uint64, p packet, now time.Duration) []string {
	if !w.begun {
		*w = twin{packets: map[uint64]arrival{}, next: n, newest: n, begun: true}
	}
	if n >= w.next {
		if n >= w.next+maxPackets {
			w.skip(n + 1 - maxPackets)
			w.newest = max(w.newest, w.next)
		}
		if _, ok := w.packets[n]; !ok {
			p.payload = bytes.Clone(p.payload)
			w.packets[n] = arrival{p, now}
			w.newest = max(w.newest, n+1)
		}
	}
	return w.take(now)
}

func (w *twin) skip(n uint64) {
	w.next, w.gap, w.holed = n, true, false
}

func (w *twin) take(now time.Duration) []string {
	var out []string
	for {
		frame, end, hole := w.head()
		switch {
		case frame != nil:
			mark := ""
			if w.gap {
				mark = "!"
			}
			out = append(out, mark+string(frame))
			w.next, w.gap, w.holed = end, false, false
		case end > w.next:
			w.skip(end)
		case hole == 0:
			w.holed = false
			return out
		default:
			if !w.holed {
				after := hole
				for ; ; after++ {
					if p, ok := w.packets[after]; ok {
						w.since = p.at
						break
					}
				}
				w.holed = true
			}
			if now-w.since < holeLimit {
				return out
			}
			n := hole + 1
			for n < w.newest && !w.packets[n].begins {
				n++
			}
			w.skip(n)
		}
	}
}

// head looks at the frame at next: it is whole and ends before end; or it can
// be no frame and all before end must go; or the packet at hole is missing, 0
// if none is that anybody knows of.
func (w *twin) head() (frame []byte, end, hole uint64) {
	for n := w.next; n < w.newest; n++ {
		p, ok := w.packets[n]
		switch {
		case !ok:
			return nil, w.next, n
		case n == w.next && !p.begins:
			return nil, n + 1, 0
		case n > w.next && (p.begins || p.stamp != w.packets[w.next].stamp):
			return nil, n, 0
		}
		frame = append(frame, p.payload...)
		if p.marker {
			return frame, n + 1, 0
		}
	}
	return nil, w.next, 0
}

// compare runs an assembler and its twin over a stream of frames that is lost,
// repeated, delayed and, with hostile set, nonsense.
func compare(t *testing.T, seed uint64, hostile bool) (frames int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	var a assembler
	var w twin
	base := uint64(1<<20 + r.IntN(1<<16))
	// The stream, in the order of arrival.
	type event struct {
		n  uint64
		p  packet
		at time.Duration
	}
	var events []event
	n, now := base, time.Duration(0)
	for i := range 120 {
		size := 1 + r.IntN(12)
		if r.IntN(20) == 0 {
			size = 100
		}
		if r.IntN(60) == 0 {
			n += uint64(r.IntN(600)) // an outage
		}
		now += time.Duration(r.IntN(40)) * time.Millisecond
		for j := range size {
			p := packet{
				number: uint16(n), stamp: uint32(i), begins: j == 0, marker: j == size-1,
				payload: fmt.Appendf(nil, "%d.%d ", i, j),
			}
			if hostile && r.IntN(10) == 0 {
				switch r.IntN(3) {
				case 0:
					p.begins = !p.begins
				case 1:
					p.marker = !p.marker
				case 2:
					p.stamp = r.Uint32()
				}
			}
			for copies := r.IntN(20); copies > 0; copies -= 18 { // none, mostly one, sometimes two
				delay := time.Duration(r.IntN(3)) * time.Millisecond
				if r.IntN(10) == 0 {
					delay = time.Duration(r.IntN(300)) * time.Millisecond // a repair
				}
				events = append(events, event{n, p, now + delay})
			}
			n++
		}
	}
	slices.SortStableFunc(events, func(x, y event) int { return int(x.at - y.at) })
	for i, e := range events {
		a.insert(e.p, e.at)
		var got []string
		for f, ok := a.take(e.at); ok; f, ok = a.take(e.at) {
			mark := ""
			if f.gap {
				mark = "!"
			}
			got = append(got, mark+string(f.wire))
		}
		want := w.insert(e.n, e.p, e.at)
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: after packet %d (number %d at %v): frames %q; want %q", seed, i, e.n-base, e.at, got, want)
		}
		frames += len(got)
	}
	return frames
}

func TestAssemblerModel(t *testing.T) {
	frames := 0
	for seed := range uint64(300) {
		frames += compare(t, seed, seed%3 == 0)
	}
	t.Logf("%d frames of 36000 came through", frames)
	if frames < 3000 {
		t.Errorf("only %d frames came through: the model proves little", frames)
	}
}

func FuzzAssemblerModel(f *testing.F) {
	f.Add(uint64(1), true)
	f.Fuzz(func(t *testing.T, seed uint64, hostile bool) { compare(t, seed, hostile) })
}

// FuzzAssembler feeds arbitrary packets: memory and the size of frames stay
// bounded, numbers rise, and every byte that comes out went in.
func FuzzAssembler(f *testing.F) {
	f.Add([]byte("\x00\x01\x03\x00\x00\x02\x02\x09\x00\x05\x01\x40"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		var a assembler
		var now time.Duration
		var in, out int
		last := int64(-1)
		for ; len(ops) >= 4; ops = ops[4:] {
			now += time.Duration(ops[3]) * time.Millisecond
			payload := bytes.Repeat([]byte{ops[1]}, 1+int(ops[3])*5)
			in += len(payload)
			a.insert(packet{
				number: uint16(ops[0])<<8 | uint16(ops[1]), stamp: uint32(ops[2] >> 2),
				begins: ops[2]&1 != 0, marker: ops[2]&2 != 0, payload: payload,
			}, now)
			for frame, ok := a.take(now); ok; frame, ok = a.take(now) {
				out += len(frame.wire)
				if int64(frame.seq) <= last && last-int64(frame.seq) < 1<<31 {
					t.Fatalf("frame %d after %d", frame.seq, last)
				}
				last = int64(frame.seq)
				if len(frame.wire) == 0 || len(frame.wire) > maxPackets*receiveMTU {
					t.Fatalf("frame of %d bytes", len(frame.wire))
				}
			}
			if a.newest-a.next > maxPackets || a.scan < a.next || a.scan > a.newest {
				t.Fatalf("next %d, scan %d, newest %d", a.next, a.scan, a.newest)
			}
		}
		if out > in {
			t.Fatalf("%d bytes came out of %d", out, in)
		}
	})
}

// TestAssemblerAllocates only the frame that it hands over.
func TestAssemblerAllocates(t *testing.T) {
	var a assembler
	payload := make([]byte, maxFragment)
	var number uint16
	one := func() {
		for i := range 11 {
			a.insert(packet{number: number, begins: i == 0, marker: i == 10, payload: payload}, 0)
			number++
		}
		if _, ok := a.take(0); !ok {
			t.Fatal("no frame")
		}
	}
	for range 50 {
		one() // the slots get their memory
	}
	if n := testing.AllocsPerRun(1000, one); n > 1 {
		t.Errorf("%v allocations a frame; want 1", n)
	}
}

func BenchmarkAssemble12kB(b *testing.B) {
	var a assembler
	payload := make([]byte, maxFragment)
	var number uint16
	b.ReportAllocs()
	b.SetBytes(12_000)
	for b.Loop() {
		for i := range 11 {
			a.insert(packet{number: number, begins: i == 0, marker: i == 10, payload: payload}, 0)
			number++
		}
		if _, ok := a.take(0); !ok {
			b.Fatal("no frame")
		}
	}
}
