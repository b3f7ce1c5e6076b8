// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestWires: a frame goes to the one box that has its address, once that is known,
// and before to all others; what is no frame goes nowhere.
func TestWires(t *testing.T) {
	dir := t.TempDir()
	var paths [][2]string
	for i := range 3 {
		paths = append(paths, [2]string{filepath.Join(dir, "net"+strconv.Itoa(i)), filepath.Join(dir, "box"+strconv.Itoa(i))})
	}
	w, err := newWires(paths)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(w.close(), w.close()); err != nil {
			t.Error(err)
		}
	}()
	var boxes []*net.UnixConn
	for _, p := range paths[:2] { // the third is off
		c, err := net.DialUnix("unixgram", &net.UnixAddr{Name: p[1], Net: "unixgram"}, &net.UnixAddr{Name: p[0], Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		boxes = append(boxes, c)
	}
	w.run()
	mac := func(i int) []byte { return []byte{0x52, 0x54, 0, 0, 0, byte(i)} }
	frame := func(to, from []byte, text string) []byte {
		return bytes.Join([][]byte{to, from, []byte("\x08\x00" + text)}, nil)
	}
	all := bytes.Repeat([]byte{0xff}, macSize)
	hears := func(i int, want []byte) {
		t.Helper()
		if err := boxes[i].SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, maxFrame)
		if n, err := boxes[i].Read(b); err != nil || !bytes.Equal(b[:n], want) {
			t.Errorf("box %d hears %q, %v; want %q", i, b[:n], err, want)
		}
	}
	say := func(i int, b []byte) {
		t.Helper()
		if _, err := boxes[i].Write(b); err != nil {
			t.Fatal(err)
		}
	}
	say(0, []byte("short"))
	say(0, frame(all, mac(0), "who is there"))
	hears(1, frame(all, mac(0), "who is there"))
	say(1, frame(mac(0), mac(1), "I am"))
	hears(0, frame(mac(0), mac(1), "I am"))
	say(0, frame(mac(2), mac(0), "to a third")) // not known: to all
	hears(1, frame(mac(2), mac(0), "to a third"))
	say(0, frame(mac(0), mac(0), "to oneself"))
	say(0, frame(mac(1), mac(0), "to the second"))
	hears(1, frame(mac(1), mac(0), "to the second"))
	if _, err := newWires(paths); !errors.Is(err, os.ErrExist) && err == nil {
		t.Error("a socket was taken twice")
	}
}
