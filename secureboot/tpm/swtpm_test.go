// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo

package tpm_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"incamera/secureboot/tpm"
	"incamera/secureboot/tpm/tpmtest"
)

// A room's keys outlive a power cut at any time, and the same TPM value goes on.
func TestPowerCut(t *testing.T) {
	chip := tpmtest.Swtpm(t)
	srk := persistSRK(t, chip)
	clock := func() tpm2.TPMSClockInfo {
		t.Helper()
		rsp, err := tpm2.ReadClock{}.Execute(chip)
		if err != nil {
			t.Fatal(err)
		}
		return rsp.CurrentTime.ClockInfo
	}
	before := clock()
	chip.Reset()
	if now := clock(); now.ResetCount != before.ResetCount+1 {
		t.Errorf("resetCount after a reset = %d; want %d", now.ResetCount, before.ResetCount+1)
	}
	chip.PowerCut()
	if now := clock(); now.ResetCount != before.ResetCount+2 {
		t.Errorf("resetCount after a power cut = %d; want %d", now.ResetCount, before.ResetCount+2)
	}
	if _, err := tpm.Pinned(chip, tpm.HandleSRK, srk.Name.Buffer); err != nil {
		t.Error(err)
	}
}

// Two chips are two, and the state in a directory is one chip.
func TestSwtpmIdentity(t *testing.T) {
	names := make([][]byte, 0, 3)
	dir := t.TempDir()
	for range 2 {
		t.Run("same", func(t *testing.T) {
			names = append(names, persistSRK(t, tpmtest.SwtpmAt(t, dir)).Name.Buffer)
		})
	}
	names = append(names, persistSRK(t, tpmtest.Swtpm(t)).Name.Buffer)
	if !bytes.Equal(names[0], names[1]) || bytes.Equal(names[0], names[2]) {
		t.Errorf("names %x; want the first two equal, the third not", names)
	}
}

// server answers one connection after the other by answer, which gets the
// number of the connection, until the test ends.
func server(t *testing.T, answer func(n int, conn net.Conn)) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "tpm") //nolint:usetesting // the path of a socket has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "s")
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answer(n, conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		_ = os.RemoveAll(dir)
	})
	return path
}

// A swtpm that is silent, goes away, or announces what it may not, costs one
// command; the next one has a connection of its own and no answer to the first.
func TestSwtpmTrouble(t *testing.T) {
	command := tpm2.GetRandom{BytesRequested: 4}
	good := []byte{0x80, 0x01, 0, 0, 0, 16, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4}
	for _, c := range []struct {
		name string
		bad  []byte // the answer to the first command; the connection stays open
		hang bool
		want error
	}{
		{"silent", nil, true, os.ErrDeadlineExceeded},
		{"half a header", good[:5], true, os.ErrDeadlineExceeded},
		{"half a response", good[:13], true, os.ErrDeadlineExceeded},
		{"gone", nil, false, io.EOF},
		{"gone in the middle", good[:13], false, io.ErrUnexpectedEOF},
		{"too large", []byte{0x80, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0}, false, nil},
		{"too small", []byte{0x80, 0x01, 0, 0, 0, 9, 0, 0, 0, 0}, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := server(t, func(n int, conn net.Conn) {
				buffer := make([]byte, 4096)
				if _, err := conn.Read(buffer); err != nil {
					return
				}
				if n > 0 {
					_, _ = conn.Write(good)
					return
				}
				_, _ = conn.Write(c.bad)
				if c.hang {
					_, _ = conn.Read(buffer) // until the other side closes
				}
			})
			chip, err := tpm.Open(t.Context(), "swtpm:unix:"+path, tpm.WithDeadline(50*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			defer chip.Close()
			if _, err := command.Execute(chip); err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("first command: %v; want %v", err, c.want)
			}
			rsp, err := command.Execute(chip)
			if err != nil || !bytes.Equal(rsp.RandomBytes.Buffer, []byte{1, 2, 3, 4}) {
				t.Errorf("second command = %v, %v", rsp, err)
			}
		})
	}
}
