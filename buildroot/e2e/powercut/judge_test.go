// SPDX-License-Identifier: Apache-2.0

package powercut

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf16"
)

// The disk of the tests, in bytes: as a room's, but small.
const (
	espAt, espSize   = 1 << 20, 2 << 20
	slotSize         = 1 << 20
	slotA, slotB     = espAt + espSize, espAt + espSize + slotSize
	dataAt, dataSize = slotB + slotSize, luksSize + 1<<20
	diskSize         = dataAt + dataSize + 1<<20
	fatReserved      = 32
	fatSectors       = 64
)

// A testRelease is a release with its files.
type testRelease struct {
	Release

	system, uki, policies []byte
}

func makeRelease(t *testing.T, version string, seed uint64) *testRelease {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	r := &testRelease{uki: make([]byte, 20_000), policies: []byte("policies of " + version)}
	data := make([]byte, 130*blockSize) // two levels of the tree
	fillRandom(random, data)
	fillRandom(random, r.uki)
	copy(r.uki, image())
	salt := []byte("salt")
	// Straight from the format's description: blocks, their hashes in two blocks,
	// the hashes of these in one.
	var low [2 * blockSize]byte
	for i := range 130 {
		h := sha256.Sum256(append(bytes.Clone(salt), data[i*blockSize:(i+1)*blockSize]...))
		copy(low[i*32:], h[:])
	}
	var top [blockSize]byte
	for i := range 2 {
		h := sha256.Sum256(append(bytes.Clone(salt), low[i*blockSize:(i+1)*blockSize]...))
		copy(top[i*32:], h[:])
	}
	root := sha256.Sum256(append(bytes.Clone(salt), top[:]...))
	super := make([]byte, blockSize)
	le := binary.LittleEndian
	copy(super, "verity")
	le.PutUint32(super[8:], 1)
	le.PutUint32(super[12:], 1)
	copy(super[16:32], root[:])
	copy(super[32:], "sha256")
	le.PutUint32(super[64:], blockSize)
	le.PutUint32(super[68:], blockSize)
	le.PutUint64(super[72:], 130)
	le.PutUint16(super[80:], uint16(len(salt)))
	copy(super[88:], salt)
	r.system = bytes.Join([][]byte{data, super, top[:], low[:]}, nil)
	line := fmt.Sprintf("console=x incamera.roothash=%x incamera.hashoff=%d", root, len(data))
	copy(r.uki[1000:], line)
	var err error
	if r.Release, err = NewRelease(version, r.uki, r.policies, line); err != nil {
		t.Fatal(err)
	}
	return r
}

// image is the head of a PE image with two sections.
func image() []byte {
	b := make([]byte, 64+24+8+80)
	copy(b, "MZ")
	b[60] = 64
	copy(b[64:], "PE\x00\x00")
	b[64+6], b[64+20] = 2, 8
	copy(b[64+24+8:], ".text")
	copy(b[64+24+8+40:], ".osrel")
	return b
}

func TestIsUKI(t *testing.T) {
	if !isUKI(image()) {
		t.Error("an image is none")
	}
	for name, change := range map[string]func(b []byte) []byte{
		"Empty":     func([]byte) []byte { return nil },
		"Magic":     func(b []byte) []byte { b[0]++; return b },
		"Offset":    func(b []byte) []byte { b[63]++; return b },
		"Signature": func(b []byte) []byte { b[64]++; return b },
		"Sections":  func(b []byte) []byte { b[70] = 1; return b },
		"Name":      func(b []byte) []byte { b[64+24+8+40]++; return b },
		"Truncated": func(b []byte) []byte { return b[:len(b)-1] },
	} {
		if isUKI(change(image())) {
			t.Errorf("%s: an image", name)
		}
	}
}

// A testESP writes a FAT32 file system as a simple driver does: at once, into
// clusters of a sector, one after the other.
type testESP struct {
	r     *recorder
	next  uint32
	names map[string]fatFile // in EFI/Linux
}

const rootCluster, efiCluster, linuxCluster, linuxSectors = 2, 3, 4, 8

func (e *testESP) cluster(c uint32) int64 {
	return espAt + (fatReserved+fatSectors+int64(c)-2)*sectorSize
}

func (e *testESP) table(c, next uint32) {
	at := espAt + fatReserved*sectorSize + int64(c)*4
	sector := at / sectorSize * sectorSize
	b := bytes.Clone(e.r.disk[sector : sector+sectorSize])
	binary.LittleEndian.PutUint32(b[at-sector:], next)
	e.r.write(sector, b)
}

func makeESP(r *recorder) *testESP {
	le := binary.LittleEndian
	b := make([]byte, sectorSize)
	le.PutUint16(b[11:], sectorSize)
	b[13], b[16] = 1, 1
	le.PutUint16(b[14:], fatReserved)
	le.PutUint32(b[32:], fatReserved+fatSectors+2000)
	le.PutUint32(b[36:], fatSectors)
	le.PutUint32(b[44:], rootCluster)
	le.PutUint16(b[510:], 0xaa55)
	r.write(espAt, b)
	e := &testESP{r, linuxCluster + linuxSectors, map[string]fatFile{}}
	e.table(rootCluster, endOfChain)
	e.table(efiCluster, endOfChain)
	for c := uint32(linuxCluster); c < linuxCluster+linuxSectors-1; c++ {
		e.table(c, c+1)
	}
	e.table(linuxCluster+linuxSectors-1, endOfChain)
	r.write(e.cluster(rootCluster), dirEntries(fatFile{name: "EFI", first: efiCluster, dir: true}))
	r.write(e.cluster(efiCluster), dirEntries(fatFile{name: "Linux", first: linuxCluster, dir: true}))
	return e
}

// dirEntries is a long name and its entry.
func dirEntries(f fatFile) []byte {
	le := binary.LittleEndian
	wide := append(utf16.Encode([]rune(f.name)), 0)
	for len(wide)%13 != 0 {
		wide = append(wide, 0xffff)
	}
	var b []byte
	for i := len(wide)/13 - 1; i >= 0; i-- {
		e := make([]byte, dirEntry)
		e[0], e[11] = byte(i+1), 0x0f
		if i == len(wide)/13-1 {
			e[0] |= 0x40
		}
		for j, at := range []int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30} {
			le.PutUint16(e[at:], wide[i*13+j])
		}
		b = append(b, e...)
	}
	e := make([]byte, dirEntry)
	copy(e, "SHORT~1 EFI")
	if e[11] = 0x20; f.dir {
		e[11] = 0x10
	}
	le.PutUint16(e[20:], uint16(f.first>>16))
	le.PutUint16(e[26:], uint16(f.first))
	le.PutUint32(e[28:], uint32(f.size))
	return append(b, e...)
}

// write writes a file; its name comes last.
func (e *testESP) write(name string, b []byte) {
	f := fatFile{name: name, first: e.next, size: int64(len(b))}
	n := uint32((len(b) + sectorSize - 1) / sectorSize)
	e.r.write(e.cluster(e.next), b)
	for c := e.next; c < e.next+n-1; c++ {
		e.table(c, c+1)
	}
	e.table(e.next+n-1, endOfChain)
	e.next += n
	e.names[name] = f
	e.folder()
}

func (e *testESP) rename(from, to string) {
	f := e.names[from]
	delete(e.names, from)
	f.name = to
	e.names[to] = f
	e.folder()
}

// removed is a sector of removed entries.
var removed = bytes.Repeat(append([]byte{0xe5}, make([]byte, dirEntry-1)...), sectorSize/dirEntry)

// folder writes the folder anew, a sector for each file, such that an entry that
// did not change is not written.
func (e *testESP) folder() {
	taken := map[int64]bool{}
	var added []fatFile
	for _, f := range e.names {
		at := e.find(f)
		if at < 0 {
			added = append(added, f)
		} else {
			taken[at] = true
		}
	}
	for i := range int64(linuxSectors) {
		at := e.cluster(linuxCluster) + i*sectorSize
		switch {
		case taken[at]:
		case len(added) > 0:
			b := dirEntries(added[0])
			e.r.write(at, append(b, removed[len(b):]...))
			added = added[1:]
		default:
			e.r.write(at, removed)
		}
	}
}

func (e *testESP) find(f fatFile) int64 {
	for i := range int64(linuxSectors) {
		at := e.cluster(linuxCluster) + i*sectorSize
		if bytes.HasPrefix(e.r.disk[at:], dirEntries(f)) {
			return at
		}
	}
	return -1
}

// writeTable writes both partition tables.
func writeTable(disk []byte) {
	le := binary.LittleEndian
	entries := make([]byte, maxPartitions*gptEntry)
	for i, p := range []struct {
		name     string
		at, size int64
	}{{"esp", espAt, espSize}, {"system_a", slotA, slotSize}, {"system_b", slotB, slotSize}, {"data", dataAt, dataSize}} {
		e := entries[i*gptEntry:]
		e[0] = 1
		le.PutUint64(e[32:], uint64(p.at)/sectorSize)
		le.PutUint64(e[40:], uint64(p.at+p.size)/sectorSize-1)
		for j, c := range utf16.Encode([]rune(p.name)) {
			le.PutUint16(e[56+2*j:], c)
		}
	}
	last := uint64(diskSize/sectorSize - 1)
	for _, c := range []struct{ header, entries uint64 }{{1, 2}, {last, last - 32}} {
		h := make([]byte, gptHeader)
		copy(h, "EFI PART\x00\x00\x01\x00")
		le.PutUint32(h[12:], gptHeader)
		le.PutUint64(h[24:], c.header)
		le.PutUint64(h[72:], c.entries)
		le.PutUint32(h[80:], maxPartitions)
		le.PutUint32(h[84:], gptEntry)
		le.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h))
		copy(disk[c.header*sectorSize:], h)
		copy(disk[c.entries*sectorSize:], entries)
	}
}

// A testRoom is a disk with release A on it, and B to come.
type testRoom struct {
	*recorder

	esp  *testESP
	a, b *testRelease
}

func makeRoom(t *testing.T) *testRoom {
	t.Helper()
	r := record(make([]byte, diskSize))
	room := &testRoom{r, nil, makeRelease(t, "1.0.0", 1), makeRelease(t, "1.1.0", 2)}
	writeTable(r.disk)
	room.esp = makeESP(r)
	copy(r.disk[dataAt:], "LUKS\xba\xbe\x00\x02")
	copy(r.disk[slotA:], room.a.system)
	room.esp.write("in-camera_1.0.0.efi", room.a.uki)
	room.esp.write("in-camera_1.0.0.policies.cbor", room.a.policies)
	r.log, r.n = make([]byte, sectorSize), 0
	return room
}

// update does what an update, the loader and a commit write. With order it
// flushes where it must.
func (r *testRoom) update(order bool) {
	flush := func() {
		if order {
			r.flush()
		}
	}
	for at := 0; at < len(r.b.system); at += 64 << 10 {
		r.write(slotB+int64(at), r.b.system[at:min(at+64<<10, len(r.b.system))])
	}
	flush()
	r.esp.write("in-camera_1.1.0.policies.cbor.part", r.b.policies)
	flush()
	r.esp.write("in-camera_1.1.0.efi.part", r.b.uki)
	flush()
	r.esp.rename("in-camera_1.1.0.policies.cbor.part", "in-camera_1.1.0.policies.cbor")
	flush()
	r.esp.rename("in-camera_1.1.0.efi.part", "in-camera_1.1.0+3.efi")
	flush()
	r.esp.rename("in-camera_1.1.0+3.efi", "in-camera_1.1.0+2-1.efi")
	flush()
	r.esp.rename("in-camera_1.1.0+2-1.efi", "in-camera_1.1.0.efi")
	r.flush()
}

// TestCuts cuts an update after each of its writes. Each disk starts A, B on
// trial or B; the same update without flushes is found out.
func TestCuts(t *testing.T) {
	for _, order := range []bool{true, false} {
		room := makeRoom(t)
		before := bytes.Clone(room.disk)
		judge, err := NewJudge(bytes.NewReader(before), diskSize, room.a.Release, room.b.Release)
		if err != nil {
			t.Fatal(err)
		}
		room.update(order)
		replay, err := NewReplay(room.read(t), memory(before), diskSize)
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(3, 4))
		outcomes, broken := map[string]int{}, 0
		for n := range replay.log.Len() + 1 {
			if err := replay.Cut(n, random); err != nil {
				t.Fatal(err)
			}
			o, err := judge.Judge(replay.disk)
			if err != nil {
				if broken++; order {
					t.Errorf("after %d writes: %v", n, err)
				}
				continue
			}
			outcomes[fmt.Sprint(o.Version, " ", o.Trial)]++
		}
		switch {
		case order && (outcomes["1.0.0 false"] == 0 || outcomes["1.1.0 true"] == 0 || outcomes["1.1.0 false"] == 0 || len(outcomes) != 3):
			t.Errorf("outcomes %v", outcomes)
		case !order && broken == 0:
			t.Error("an update without flushes passes")
		}
	}
}

// tear writes a file of which FAT's table knows the first cluster alone.
func (r *testRoom) tear(name string, b []byte) {
	r.esp.write(name, b)
	r.esp.table(r.esp.names[name].first, 0)
}

// TestJudge damages a disk in each way that the judge knows.
func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(*testRoom)
		want   string
	}{
		"None":        {func(*testRoom) {}, ""},
		"Table":       {func(r *testRoom) { r.disk[1024]++ }, "partition table"},
		"SecondTable": {func(r *testRoom) { r.disk[diskSize-512]++ }, "second partition table"},
		"Header":      {func(r *testRoom) { r.disk[dataAt+5000]++ }, "header of the data"},
		"FAT":         {func(r *testRoom) { r.disk[espAt+510]++ }, "no FAT32"},
		"Folder":      {func(r *testRoom) { r.esp.table(linuxCluster, 1) }, "leads to 1"},
		"Nothing":     {func(r *testRoom) { r.esp.rename("in-camera_1.0.0.efi", "in-camera_1.0.0.efi.part") }, "nothing to start"},
		"UKI":         {func(r *testRoom) { r.disk[r.esp.cluster(linuxCluster+linuxSectors)+500]++ }, "not the release's"},
		"NoUKI":       {func(r *testRoom) { r.disk[r.esp.cluster(linuxCluster+linuxSectors)]++ }, "nothing to start"},
		"EmptyUKI":    {func(r *testRoom) { r.esp.names["x"] = fatFile{name: "in-camera_9.0.0.efi"}; r.esp.folder() }, ""},
		"BlankTorn":   {func(r *testRoom) { r.tear("in-camera_9.0.0+3.efi", make([]byte, 2000)) }, ""},
		"UKITorn":     {func(r *testRoom) { r.tear("in-camera_1.1.0+3.efi", r.b.uki) }, "leads to 0"},
		"Policies":    {func(r *testRoom) { r.esp.rename("in-camera_1.0.0.policies.cbor", "x") }, "policies.cbor is missing"},
		"System":      {func(r *testRoom) { r.disk[slotA+5*blockSize]++ }, "root hash"},
		"Tree":        {func(r *testRoom) { r.disk[slotA+int64(len(r.a.system))-blockSize]++ }, "level 0 of the tree"},
		"NoSystem":    {func(r *testRoom) { clear(r.disk[slotA : slotA+slotSize]) }, "no system partition belongs"},
		"OtherSystem": {func(r *testRoom) { copy(r.disk[slotA:], r.b.system) }, "no system partition belongs"},
		"OtherUKI":    {func(r *testRoom) { r.esp.write("in-camera_1.2.0+3.efi", r.b.uki) }, "of no release"},
	} {
		t.Run(name, func(t *testing.T) {
			room := makeRoom(t)
			judge, err := NewJudge(bytes.NewReader(room.disk), diskSize, room.a.Release, room.b.Release)
			if err != nil {
				t.Fatal(err)
			}
			c.damage(room)
			o, err := judge.Judge(room.disk)
			switch {
			case c.want == "" && (err != nil || o != Outcome{"1.0.0", false, "in-camera_1.0.0.efi"}):
				t.Errorf("a whole disk: %+v, %v", o, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v; want one about %q", err, c.want)
			}
		})
	}
}

// FuzzJudge: whatever a file system says, the judge ends, in bounded memory.
func FuzzJudge(f *testing.F) {
	r := record(make([]byte, diskSize))
	e := makeESP(r)
	e.write("in-camera_1.0.0.efi", make([]byte, 1000))
	f.Add(bytes.Clone(r.disk[espAt : espAt+64<<10]))
	f.Fuzz(func(t *testing.T, b []byte) {
		esp, err := openFAT(bytes.NewReader(b))
		if err != nil {
			return
		}
		files, err := esp.folder("EFI/Linux")
		if err != nil {
			return
		}
		for _, file := range files {
			if got, err := esp.content(file); err == nil && int64(len(got)) != file.size {
				t.Fatalf("%d bytes of %d", len(got), file.size)
			}
		}
	})
}
