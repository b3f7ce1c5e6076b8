// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	relayed, err := Relay(context.Background(), os.Args)
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	if !relayed {
		os.Exit(m.Run())
	}
}

// property is a property of a flattened device tree.
func property(value ...uint32) []byte {
	be := binary.BigEndian
	b := be.AppendUint32(nil, 3)
	b = be.AppendUint32(b, uint32(4*len(value)))
	b = be.AppendUint32(b, 0x193) // of the name
	for _, v := range value {
		b = be.AppendUint32(b, v)
	}
	return b
}

// tree is one as QEMU writes it, cut down to its button.
func tree(gpio, code uint32) []byte {
	be := binary.BigEndian
	node := slices.Concat([]byte("\x00\x00\x00\x01gpio-keys\x00\x00\x00"), property(1),
		[]byte("\x00\x00\x00\x01poweroff\x00\x00\x00\x00"), property(0x8005, gpio, 0), property(code), be.AppendUint32(nil, 2), be.AppendUint32(nil, 9))
	b := make([]byte, 40)
	be.PutUint32(b, 0xd00dfeed)
	be.PutUint32(b[8:], 40)
	be.PutUint32(b[12:], uint32(40+len(node)))
	be.PutUint32(b[36:], uint32(len(node)))
	be.PutUint32(b[32:], 8)
	b = slices.Concat(b, node, []byte("strings\x00"), make([]byte, 1<<10))
	be.PutUint32(b[4:], uint32(len(b)))
	return b
}

func TestPressButton(t *testing.T) {
	b := tree(3, keyPower)
	if err := pressButton(b); err != nil {
		t.Fatal(err)
	}
	want := tree(3, keyRestart)
	at := bytes.Index(want, property(keyRestart))
	want[at-1] = 1 // the flags in front of it
	if !bytes.Equal(b, want) {
		t.Errorf("the tree is\n%x; want\n%x", b, want)
	}
	packed, err := pack(b)
	if err != nil || !bytes.HasSuffix(packed, []byte("strings\x00")) || int(binary.BigEndian.Uint32(packed[4:])) != len(packed) {
		t.Errorf("packed to %d bytes: %v", len(packed), err)
	}
	for name, b := range map[string][]byte{
		"None": nil, "OtherLine": tree(4, keyPower), "OtherKey": tree(3, keyRestart),
		"Two": append(tree(3, keyPower), tree(3, keyPower)...), "Truncated": tree(3, keyPower)[:90],
	} {
		if err := pressButton(b); err == nil {
			t.Errorf("%s: a button was pressed", name)
		}
	}
	if _, err := pack(tree(3, keyPower)[:60]); err == nil {
		t.Error("packed a tree that is cut short")
	}
}

func TestAsked(t *testing.T) {
	const start, random, extend = "80 01 00 00 00 0C 00 00 01 44 00 00 ", "80 01 00 00 00 0C 00 00 01 7B 00 08 ", "80 02 00 00 00 41 00 00 01 82 00 00 \n 00 0B "
	r := &Run{chip: filepath.Join(t.TempDir(), "tpm")}
	for _, c := range []struct {
		commands []string
		want     []uint32
	}{
		{nil, nil},
		{[]string{start, random, extend}, []uint32{startup, 0x17b, 0x182}},
		{[]string{start, random, start, extend}, []uint32{startup, 0x182}}, // it restarted
	} {
		var log strings.Builder
		for _, command := range c.commands {
			log.WriteString(" Ctrl Cmd: length 4\n 00 00 00 10 \n SWTPM_IO_Read: length 12\n " + command + "\n SWTPM_IO_Write: length 10\n 80 01 00 00 00 0A 00 00 00 00 \n")
		}
		if err := os.WriteFile(r.chip, []byte(log.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Asked(); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("of %d commands: %x, %v; want %x", len(c.commands), got, err, c.want)
		}
	}
	if err := os.WriteFile(r.chip, []byte(" SWTPM_IO_Read: length 12\n 80 xx\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Asked(); err == nil {
		t.Errorf("of no hexadecimal: %x", got)
	}
}

// TestDiscover has what the request is, byte for byte where it matters, and reads
// offers for this box and no other.
func TestDiscover(t *testing.T) {
	mac, other := net.HardwareAddr{0x52, 0x54, 0, 0x1c, 0xa0, 1}, net.HardwareAddr{0x52, 0x54, 0, 0x1c, 0xa0, 2}
	b := discover(mac)
	sum := uint32(0)
	for i := atIP; i < atUDP; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if sum = sum>>16 + sum&0xffff; sum != 0xffff {
		t.Errorf("checksum of the IPv4 header: %x", sum)
	}
	if len(b) != int(binary.BigEndian.Uint16(b[atIP+2:]))+14 || len(b) != int(binary.BigEndian.Uint16(b[atUDP+4:]))+34 {
		t.Errorf("lengths of a frame of %d bytes", len(b))
	}
	offer := slices.Clone(b)
	offer[atBOOTP] = 2
	binary.BigEndian.PutUint16(offer[atUDP:], 67)
	copy(offer[atBOOTP+16:], []byte{10, 0, 2, 16})
	if ip, ok := offered(offer, mac); !ok || ip.String() != "10.0.2.16" {
		t.Errorf("offered %v, %v", ip, ok)
	}
	for name, c := range map[string]struct {
		b   []byte
		mac net.HardwareAddr
	}{"Request": {b, mac}, "OtherBox": {offer, other}, "Short": {offer[:200], mac}} {
		if ip, ok := offered(c.b, c.mac); ok {
			t.Errorf("%s: offered %v", name, ip)
		}
	}
}

// TestRelay runs this program as the way to a service.
func TestRelay(t *testing.T) {
	var c net.ListenConfig
	l, err := c.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b, _ := io.ReadAll(conn) // until the other end is done
		_, _ = conn.Write(bytes.ToUpper(b))
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], l.Addr().String())
	cmd.Env = append(os.Environ(), relayVariable+"=1")
	cmd.Stdin = strings.NewReader("hello")
	out, err := cmd.Output()
	if err != nil || string(out) != "HELLO" {
		t.Errorf("relayed %q, %v", out, err)
	}
}

// TestMasterBootRecord has one partition that ends with the stick.
func TestMasterBootRecord(t *testing.T) {
	b := masterBootRecord()
	from, n := binary.LittleEndian.Uint32(b[454:]), binary.LittleEndian.Uint32(b[458:])
	if from*512 != stickStart || (from+n)*512 != stickSize || b[510] != 0x55 || b[511] != 0xaa {
		t.Errorf("a partition of %d sectors at %d", n, from)
	}
}
