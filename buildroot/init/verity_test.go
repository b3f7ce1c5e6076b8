// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// format makes a hash tree behind three blocks of data, as post-image.sh does, and
// returns the image and the partition. salt is in hexadecimal, or "-".
func format(t *testing.T, salt string, args ...string) (image, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "system.img")
	if err := os.WriteFile(path, bytes.Repeat([]byte("system  "), 3*blockSize/8), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "veritysetup", append([]string{
		"format", "--hash-offset=12288", "--data-blocks=3", "--salt=" + salt, "--uuid=00000000-0000-0000-0000-000000000000", path, path,
	}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("veritysetup, of Debian's cryptsetup-bin: %v\n%s", err, out)
	}
	m := regexp.MustCompile(`(?m)^Root hash:\s*([0-9a-f]{64})$`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("veritysetup says no root hash:\n%s", out)
	}
	i := image{hashOffset: 12288}
	if _, err := hex.Decode(i.rootHash[:], m[1]); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(i.rootHash[:16], 12288+16); err != nil {
		t.Fatal(err)
	}
	return i, path
}

// The superblock and the table are those of cryptsetup's own tool.
func TestSuperblockOfVeritysetup(t *testing.T) {
	for _, salt := range []string{"496e2043616d657261", "-", strings.Repeat("ab", 256)} {
		i, path := format(t, salt)
		s, err := superblockAt(path, i)
		if err != nil {
			t.Fatal(err)
		}
		want := salt
		if want == "-" {
			want = ""
		}
		if s.dataBlocks != 3 || fmt.Sprintf("%x", s.salt) != want || s.uuid != [16]byte(i.rootHash[:16]) {
			t.Errorf("superblock %+v", s)
		}
		// The tool that wrote the tree finds the image whole with what the table says.
		table, sectors := s.table(path, i)
		f := strings.Fields(table)
		if len(f) != 10 || f[0] != "1" || f[1] != path || f[2] != path || sectors != 3*blockSize/512 {
			t.Fatalf("table %q of %d sectors", table, sectors)
		}
		if salt != "-" && f[9] != salt || salt == "-" && f[9] != "-" {
			t.Errorf("salt %q; want %q", f[9], salt)
		}
		out, err := exec.CommandContext(t.Context(), "veritysetup", "verify", "--no-superblock", "--format="+f[0],
			"--data-block-size="+f[3], "--hash-block-size="+f[4], "--data-blocks="+f[5],
			"--hash-offset="+fmt.Sprint(number(t, f[6])*blockSize), "--hash="+f[7], "--salt="+f[9], path, path, f[8]).CombinedOutput()
		if err != nil {
			t.Errorf("table %q: veritysetup verify: %v\n%s", table, err, out)
		}
	}
}

func number(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Other forms of veritysetup's are not what our builds write.
func TestOtherForms(t *testing.T) {
	for name, args := range map[string][]string{
		"SHA-512":                  {"--hash=sha512"},
		"small blocks of data":     {"--data-block-size=1024"},
		"small blocks of the tree": {"--hash-block-size=1024"},
		"the form of Chrome":       {"--format=0"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "system.img")
			if err := os.WriteFile(path, make([]byte, 3*blockSize), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), "veritysetup", append([]string{"format", "--hash-offset=12288", "--data-blocks=3", path, path}, args...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("veritysetup: %v\n%s", err, out)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(b[12288:], []byte("verity")) {
				t.Fatal("no superblock")
			}
			if s, err := parseSuperblock(b[12288:]); !errors.Is(err, errSuperblock) {
				t.Errorf("parseSuperblock = %+v, %v", s, err)
			}
		})
	}
}

func TestSuperblockRefused(t *testing.T) {
	i, system := someImage()
	good := system[i.hashOffset:][:superblockSize]
	le := binary.LittleEndian
	for name, spoil := range map[string]func(b []byte) []byte{
		"short":                   func(b []byte) []byte { return b[:superblockSize-1] },
		"empty":                   func([]byte) []byte { return nil },
		"another signature":       func(b []byte) []byte { b[0] ^= 1; return b },
		"a signature that ends":   func(b []byte) []byte { b[7] = 1; return b },
		"another version":         func(b []byte) []byte { b[8]++; return b },
		"another type":            func(b []byte) []byte { b[12] = 0; return b },
		"another algorithm":       func(b []byte) []byte { copy(b[32:], "sha512"); return b },
		"a longer algorithm":      func(b []byte) []byte { copy(b[38:], "d"); return b },
		"blocks of data of 512":   func(b []byte) []byte { le.PutUint32(b[64:], 512); return b },
		"blocks of hashes of 512": func(b []byte) []byte { le.PutUint32(b[68:], 512); return b },
		"no data":                 func(b []byte) []byte { le.PutUint64(b[72:], 0); return b },
		"more data than a disk":   func(b []byte) []byte { le.PutUint64(b[72:], maxSystem/blockSize+1); return b },
		"data beyond 64 bits":     func(b []byte) []byte { le.PutUint64(b[72:], 1<<63); return b },
		"more salt than there is": func(b []byte) []byte { le.PutUint16(b[80:], 257); return b },
		"the most salt":           func(b []byte) []byte { le.PutUint16(b[80:], 0xFFFF); return b },
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := parseSuperblock(spoil(bytes.Clone(good))); !errors.Is(err, errSuperblock) {
				t.Errorf("parseSuperblock = %+v, %v", s, err)
			}
		})
	}
	for name, c := range map[string]struct {
		i     image
		spoil func(b []byte)
	}{
		"another image's":        {image{rootHash: [32]byte{1}, hashOffset: i.hashOffset}, func([]byte) {}},
		"data behind the hashes": {i, func(b []byte) { le.PutUint64(b[i.hashOffset+72:], 4) }},
		"nothing there":          {image{rootHash: i.rootHash, hashOffset: maxSystem}, func([]byte) {}},
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(system)
			c.spoil(b)
			if s, err := readSuperblock(bytes.NewReader(b), c.i); err == nil {
				t.Errorf("readSuperblock = %+v", s)
			}
		})
	}
	if _, err := readSuperblock(bytes.NewReader(system), i); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// What is accepted makes a table of ten words that lies within the disk.
func FuzzParseSuperblock(f *testing.F) {
	i, system := someImage()
	f.Add(system[i.hashOffset:][:superblockSize])
	f.Add([]byte("verity\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSuperblock(b)
		if err != nil {
			return
		}
		table, sectors := s.table("/dev/vda2", i)
		if f := strings.Fields(table); len(f) != 10 || strings.Join(f, " ") != table {
			t.Errorf("table %q", table)
		}
		if sectors == 0 || sectors > maxSystem/512 || len(s.salt) > 256 {
			t.Errorf("%d sectors, %d bytes of salt", sectors, len(s.salt))
		}
	})
}

// A struct dm_target_spec as the kernel's header has it: start, length, status,
// where the next one is, the type, and then the parameters with their NUL.
func TestMapperTarget(t *testing.T) {
	for _, parameters := range []string{"", "1234567", "12345678", "123456789", strings.Repeat("x", 1000)} {
		b := mapperTarget("verity", parameters, 0x1122334455)
		ne := binary.NativeEndian
		if len(b)%8 != 0 || len(b) < 40+len(parameters)+1 {
			t.Errorf("%d bytes of parameters: %d in all", len(parameters), len(b))
		}
		if ne.Uint64(b) != 0 || ne.Uint64(b[8:]) != 0x1122334455 || ne.Uint32(b[16:]) != 0 || int(ne.Uint32(b[20:])) != len(b) {
			t.Errorf("header %x", b[:24])
		}
		if want := append([]byte("verity"), make([]byte, 10)...); !bytes.Equal(b[24:40], want) {
			t.Errorf("type %q", b[24:40])
		}
		if rest := b[40:]; string(rest[:len(parameters)]) != parameters || bytes.Count(rest[len(parameters):], []byte{0}) != len(rest)-len(parameters) {
			t.Errorf("parameters %q", rest)
		}
	}
	// A type that is too long keeps its NUL.
	if b := mapperTarget(strings.Repeat("t", 20), "", 1); b[39] != 0 || b[38] != 't' {
		t.Errorf("type %q", b[24:40])
	}
}
