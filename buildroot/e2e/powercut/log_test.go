// SPDX-License-Identifier: Apache-2.0

package powercut

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// A recorder is a disk that logs what is written to it, as QEMU does.
type recorder struct {
	disk memory
	log  []byte
	n    uint64
}

// memory is a disk.
type memory []byte

func (m memory) ReadAt(b []byte, at int64) (int, error) {
	if at >= int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(b, m[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (m memory) WriteAt(b []byte, at int64) (int, error) { return copy(m[at:], b), nil }

func record(disk []byte) *recorder {
	return &recorder{disk: disk, log: make([]byte, sectorSize)}
}

func (r *recorder) add(at, size int64, flags uint64, data []byte) {
	head := make([]byte, sectorSize)
	binary.LittleEndian.PutUint64(head, uint64(at/sectorSize))
	binary.LittleEndian.PutUint64(head[8:], uint64(size/sectorSize))
	binary.LittleEndian.PutUint64(head[16:], flags)
	r.log = append(append(r.log, head...), data...)
	r.n++
	binary.LittleEndian.PutUint64(r.log, logMagic)
	binary.LittleEndian.PutUint64(r.log[8:], logVersion)
	binary.LittleEndian.PutUint64(r.log[16:], r.n)
	binary.LittleEndian.PutUint32(r.log[24:], sectorSize)
}

func (r *recorder) write(at int64, b []byte) {
	b = append(bytes.Clone(b), make([]byte, -len(b)&(sectorSize-1))...)
	r.add(at, int64(len(b)), 0, b)
	copy(r.disk[at:], b)
}

func (r *recorder) flush() { r.add(0, 0, flagFlush, nil) }

func (r *recorder) read(t *testing.T) *Log {
	t.Helper()
	l, err := ReadLog(bytes.NewReader(r.log), int64(len(r.log)))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestReadLog(t *testing.T) {
	r := record(make([]byte, 64<<10))
	r.write(512, []byte("a"))
	r.flush()
	r.write(4096, bytes.Repeat([]byte("b"), 1024))
	r.add(0, 8192, flagDiscard, nil)
	r.add(2048, 512, flagFUA, make([]byte, 512))
	l := r.read(t)
	want := []entry{
		{512, 512, 0, 1024},
		{0, 0, flagFlush, 2048},
		{4096, 1024, 0, 2560},
		{0, 8192, flagDiscard, 4096},
		{2048, 512, flagFUA, 4608},
	}
	for i, e := range want {
		if l.Len() != len(want) || l.entries[i] != e {
			t.Errorf("entry %d of %d is %+v; want %+v", i, l.Len(), l.entries[i], e)
		}
	}
	if got := l.Within(4096, 4097); len(got) != 2 || got[0] != 2 || got[1] != 3 {
		t.Errorf("Within finds %v", got)
	}
	for name, change := range map[string]func([]byte) []byte{
		"Empty":      func([]byte) []byte { return nil },
		"Magic":      func(b []byte) []byte { b[0]++; return b },
		"Version":    func(b []byte) []byte { b[8]++; return b },
		"SectorSize": func(b []byte) []byte { b[25]++; return b },
		"Count":      func(b []byte) []byte { b[16]++; return b },
		"ManyMore":   func(b []byte) []byte { b[22]++; return b },
		"Truncated":  func(b []byte) []byte { return b[:len(b)-1] },
		"Length":     func(b []byte) []byte { b[512+8+5]++; return b },
		"Flags":      func(b []byte) []byte { b[512+16] |= 8; return b },
		"Sector":     func(b []byte) []byte { b[512+7]++; return b },
	} {
		b := change(bytes.Clone(r.log))
		if _, err := ReadLog(bytes.NewReader(b), int64(len(b))); !errors.Is(err, errLog) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzReadLog: what is accepted lies in the log, in order, and nothing twice.
func FuzzReadLog(f *testing.F) {
	r := record(make([]byte, 64<<10))
	r.write(512, []byte("a"))
	r.flush()
	r.add(0, 8192, flagDiscard, nil)
	f.Add(r.log)
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ReadLog(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		at := int64(sectorSize)
		for _, e := range l.entries {
			if e.data != at+sectorSize || e.at < 0 || e.size < 0 || e.data > int64(len(b)) {
				t.Fatalf("entry %+v behind %d", e, at)
			}
			if at = e.data; e.flags&flagDiscard == 0 {
				at += e.size
			}
		}
	})
}

// TestReplay cuts random logs everywhere, and compares with a naive twin: a
// sector holds what was flushed, or anything that was written to it since.
func TestReplay(t *testing.T) {
	const size = 16 << 10
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		first := make([]byte, size)
		fillRandom(random, first)
		r := record(bytes.Clone(first))
		for range 40 {
			switch random.IntN(5) {
			case 0:
				r.flush()
			case 1:
				r.add(int64(random.IntN(8))*512, 1024, flagDiscard, nil)
			case 2:
				b := make([]byte, 512)
				fillRandom(random, b)
				r.add(int64(random.IntN(30))*512, 512, flagFUA, b)
			default:
				b := make([]byte, 512*(1+random.IntN(4)))
				fillRandom(random, b)
				r.write(int64(random.IntN(28))*512, b)
			}
		}
		l := r.read(t)
		disk := memory(bytes.Clone(first))
		replay, err := NewReplay(l, disk, size)
		if err != nil {
			t.Fatal(err)
		}
		for n := range l.Len() + 1 {
			if err := replay.Cut(n, random); err != nil {
				t.Fatal(err)
			}
			for at := int64(0); at < size; at += sectorSize {
				if !possible(l, r.log, first, at, n, disk[at:at+sectorSize]) {
					t.Fatalf("after %d entries the sector at %d holds what it cannot", n, at)
				}
			}
		}
		if err := replay.Cut(0, random); err == nil {
			t.Fatal("a replay went back")
		}
		if _, err := NewReplay(l, disk, 512); err == nil {
			t.Fatal("a log for a larger disk was taken")
		}
	}
}

// possible is the twin.
func possible(l *Log, log, first []byte, at int64, n int, got []byte) bool {
	durable := 0
	for i, e := range l.entries[:n] {
		if e.flags&flagFlush != 0 {
			durable = i
		}
	}
	may := [][]byte{first[at : at+sectorSize]}
	for i, e := range l.entries[:n] {
		if at < e.at || at >= e.at+e.size {
			continue
		}
		b := make([]byte, sectorSize)
		if e.flags&flagDiscard == 0 {
			copy(b, log[e.data+at-e.at:])
		}
		if i < durable || e.flags&flagFUA != 0 {
			may = nil
		}
		may = append(may, b)
	}
	for _, b := range may {
		if bytes.Equal(b, got) {
			return true
		}
	}
	return false
}

func fillRandom(random *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(random.Uint32())
	}
}
