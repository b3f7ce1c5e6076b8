// SPDX-License-Identifier: Apache-2.0

package camera

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"
	"golang.org/x/sys/unix"

	"incamera/media/frame"
)

// No camera took part in these tests: a scripted kernel stands for it.

func open64(t *testing.T, k *fakeKernel) (*Video, video.Reader) {
	t.Helper()
	v := &Video{kernel: k, path: "/dev/video7"}
	if err := v.Open(); err != nil {
		t.Fatal(err)
	}
	r, err := v.VideoRecord(prop.Media{Video: prop.Video{Width: 64, Height: 48, FrameRate: 30}})
	if err != nil {
		t.Fatal(err)
	}
	return v, r
}

func TestCapture(t *testing.T) {
	k := newFake()
	v, r := open64(t, k)
	for n := range uint64(20) { // more than there are buffers
		at := ago(20 * time.Millisecond)
		k.capture(yuyv(byte(n+20), 90, 200), at)
		img, release, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		p := img.(*frame.Picture)
		if p.PTS != at || p.Number != n || p.Y()[99] != byte(n+20) || p.Cb()[5] != 90 || p.Cr()[7] != 200 {
			t.Fatalf("picture %d: PTS %v, want %v; number %d, colour %d %d %d", n, p.PTS, at, p.Number, p.Y()[99], p.Cb()[5], p.Cr()[7])
		}
		release()
	}
	if err := errors.Join(v.Close(), v.Close()); err != nil {
		t.Error(err)
	}
	if left := k.left(); left != [2]int{} || k.streaming {
		t.Errorf("nodes and maps not given back: %v, streaming %v", left, k.streaming)
	}
	if _, _, err := r.Read(); !errors.Is(err, io.EOF) {
		t.Errorf("Read after Close = %v", err)
	}
	open64(t, k) // it can be opened again
}

func TestNewestPictureWins(t *testing.T) {
	k := newFake()
	_, r := open64(t, k)
	for n := range 3 {
		k.capture(yuyv(byte(40+n), 128, 128), ago(0))
	}
	img, _, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	if y := img.(*frame.Picture).Y()[0]; y != 42 {
		t.Errorf("luma %d; want that of the newest, 42", y)
	}
	if len(k.queued) != buffers {
		t.Errorf("%d buffers are with the kernel; want %d", len(k.queued), buffers)
	}
}

func TestTimestamps(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flags uint32
		at    time.Duration
	}{
		{"unknown clock", 0, ago(time.Second)},
		{"from the future", flagMonotonic, ago(-time.Hour)},
		{"long ago", flagMonotonic, 0},
	} {
		k := newFake()
		k.flags = tt.flags
		_, r := open64(t, k)
		before := frame.Now()
		k.capture(yuyv(1, 1, 1), tt.at)
		img, _, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		if pts := img.(*frame.Picture).PTS; pts < before || pts > frame.Now() {
			t.Errorf("%s: PTS %v; want now, %v", tt.name, pts, before)
		}
	}
}

func TestBrokenPictures(t *testing.T) {
	k := newFake()
	v, r := open64(t, k)
	k.capture(yuyv(50, 1, 1)[:100], ago(0)) // cut short
	go func() {
		for range 2 { // the second one is whole
			time.Sleep(5 * time.Millisecond)
			k.capture(yuyv(60, 1, 1), ago(0))
		}
	}()
	img, _, err := r.Read()
	if err != nil || img.(*frame.Picture).Y()[0] != 60 {
		t.Fatalf("Read = %v, %v", img, err)
	}
	if v.Broken() != 1 {
		t.Errorf("%d broken pictures counted; want 1", v.Broken())
	}
	k.flags |= flagError
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-done:
				return
			default:
				k.capture(yuyv(60, 1, 1), ago(0))
				time.Sleep(time.Millisecond)
			}
		}
	}()
	if _, _, err := r.Read(); err == nil || !strings.Contains(err.Error(), "another cable") {
		t.Errorf("a camera that gives broken pictures only: %v", err)
	}
}

func TestReadEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(v *Video, k *fakeKernel)
		want string
	}{
		{"closed", func(v *Video, _ *fakeKernel) { _ = v.Close() }, "EOF"},
		{"unplugged", func(_ *Video, k *fakeKernel) { k.unplug() }, "check its cable"},
		{"silent", func(*Video, *fakeKernel) {}, "plug it in again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newFake()
				k.wakes, k.ended = make(chan struct{}, 16), make(chan struct{}, 1)
				v, r := open64(t, k)
				go func() {
					time.Sleep(time.Second)
					tt.do(v, k)
				}()
				began := time.Now()
				if _, _, err := r.Read(); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("Read = %v; want %q", err, tt.want)
				}
				if took := time.Since(began); took > patience {
					t.Errorf("it took %v", took)
				}
				if err := v.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
				synctest.Wait()
				if left := k.left(); left != [2]int{} {
					t.Errorf("nodes and maps not given back: %v", left)
				}
			})
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(k *fakeKernel)
		want string
	}{
		{"missing", func(k *fakeKernel) { k.openErr = unix.ENOENT }, "check its cable"},
		{"no permission", func(k *fakeKernel) { k.openErr = unix.EACCES }, "group video"},
		{"busy", func(k *fakeKernel) { k.openErr = unix.EBUSY }, "another program"},
		{"no V4L2", func(k *fakeKernel) { k.fail[reqQueryCap] = unix.ENOTTY }, "no camera"},
		{"metadata", func(k *fakeKernel) { k.caps = capStreaming }, "another camera"},
		{"no streaming", func(k *fakeKernel) { k.caps = capVideoCapture }, "another camera"},
		{"no format", func(k *fakeKernel) { k.formats[0].code = 'H' | '2'<<8 | '6'<<16 | '4'<<24 }, "no format"},
		{"no size", func(k *fakeKernel) { k.formats[0].sizes = [][2]uint32{{32, 24}, {70000, 48}, {64, 47}} }, "has 32x24"},
		{"busy at its format", func(k *fakeKernel) { k.fail[reqSetFormat] = unix.EBUSY }, "another program"},
		{"another size", func(k *fakeKernel) { k.change = func(f *format) { f.Pix.Width = 62 } }, "62x48"},
		{"another format", func(k *fakeKernel) { k.change = func(f *format) { f.Pix.PixelFormat = fourccMJPG } }, "MJPG"},
		{"short rows", func(k *fakeKernel) { k.change = func(f *format) { f.Pix.BytesPerLine = 64 } }, "rows"},
		{"endless rows", func(k *fakeKernel) { k.change = func(f *format) { f.Pix.BytesPerLine = 1 << 31 } }, "rows"},
		{"small buffers", func(k *fakeKernel) { k.lengths = 64 * 48 }, "bytes"},
		{"bus full", func(k *fakeKernel) { k.fail[reqStreamOn] = unix.ENOSPC }, "USB bus"},
		{"no buffers", func(k *fakeKernel) { k.fail[reqRequestBufs] = unix.EINVAL }, "buffers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newFake()
			tt.set(k)
			v := &Video{kernel: k, path: "/dev/video7"}
			err := v.Open()
			if err == nil {
				_, err = v.VideoRecord(prop.Media{Video: prop.Video{Width: 64, Height: 48, FrameRate: 30}})
				if err == nil {
					t.Fatal("the camera is accepted")
				}
				if err := v.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "/dev/video7") {
				t.Errorf("error %q lacks %q or the device", err, tt.want)
			}
			if left := k.left(); left != [2]int{} {
				t.Errorf("nodes and maps not given back: %v", left)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	yuyv, mjpg, nv12 := Mode{"YUYV", 1280, 720, 10}, Mode{"MJPG", 1280, 720, 30}, Mode{"NV12", 1280, 720, 0}
	for _, tt := range []struct {
		name  string
		modes []Mode
		rate  int
		want  uint32
	}{
		{"compressed, as it is faster", []Mode{yuyv, mjpg}, 30, fourccMJPG},
		{"plain, as it is fast enough", []Mode{mjpg, yuyv}, 10, fourccYUYV},
		{"the fastest there is", []Mode{yuyv, mjpg}, 60, fourccMJPG},
		{"least work", []Mode{mjpg, yuyv, nv12}, 30, fourccNV12},
	} {
		if got, err := choose(tt.modes, 1280, 720, tt.rate); err != nil || got != tt.want {
			t.Errorf("%s: %s, %v; want %s", tt.name, fourccName(got), err, fourccName(tt.want))
		}
	}
}

// TestRealKernel opens what is no camera through real system calls.
func TestRealKernel(t *testing.T) {
	if err := NewVideo(filepath.Join(t.TempDir(), "video0")).Open(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing node gives %v", err)
	}
	if err := NewVideo("/dev/null").Open(); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("/dev/null gives %v", err)
	}
	n, err := linux{}.open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := n.mmap(0, 4096); err != nil || n.munmap(b) != nil {
		t.Errorf("mmap = %v", err)
	}
	if ready, err := n.wait(time.Minute); err != nil || !ready {
		t.Errorf("wait for /dev/zero = %v, %v", ready, err)
	}
	n.interrupt()
	if ready, err := n.wait(time.Minute); err != nil || ready {
		t.Errorf("wait after interrupt = %v, %v", ready, err)
	}
	if err := n.close(); err != nil {
		t.Error(err)
	}
}

func TestList(t *testing.T) {
	root := t.TempDir()
	class := filepath.Join(root, "class", "video4linux")
	for node, files := range map[string]map[string]string{
		"video2":     {"name": "HD Webcam C270: \x1b[31mRed\n", "index": "0\n", "device": "1-2:1.0"},
		"video3":     {"name": "HD Webcam C270\n", "index": "1\n", "device": "1-2:1.0"}, // its metadata
		"video10":    {"name": strings.Repeat("long ", 100), "index": "0\n", "device": "1-4:1.0"},
		"video11":    {"device": "rp1-cfe"},
		"v4l-subdev": {"name": "sensor"},
		"videox":     {"name": "no number"},
	} {
		if err := os.MkdirAll(filepath.Join(class, node), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			path := filepath.Join(class, node, name)
			var err error
			if name == "device" {
				err = os.Symlink("../../../devices/"+text, path)
			} else {
				err = os.WriteFile(path, []byte(text), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := List(Roots{Dev: "/nodes", Sys: root})
	if err != nil {
		t.Fatal(err)
	}
	want := []Info{
		{"Camera at rp1-cfe", "/nodes/video11"},
		{"HD Webcam C270: [31mRed at 1-2:1.0", "/nodes/video2"},
		{strings.Repeat("long ", 12) + "long at 1-4:1.0", "/nodes/video10"},
	}
	if len(got) != len(want) {
		t.Fatalf("List = %+v; want %+v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("camera %d = %+v; want %+v", i, got[i], want[i])
		}
	}
	if none, err := List(Roots{Sys: t.TempDir()}); err != nil || len(none) != 0 {
		t.Errorf("without cameras: %v, %v", none, err)
	}
	for range 2 { // the second time finds nothing new
		if err := RegisterAll(Roots{Dev: "/nodes", Sys: root}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(Labels()); n != 3 {
		t.Errorf("%d cameras are registered; want 3", n)
	}
	for _, c := range want {
		Unregister(c.Label)
	}
}
