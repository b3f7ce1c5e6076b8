// SPDX-License-Identifier: Apache-2.0

package camera

import (
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"incamera/media/frame"
)

// A fakeKernel is one scripted camera. It keeps the kernel's side of the
// protocol, and counts what a program must give back.
type fakeKernel struct {
	openErr error
	caps    uint32
	formats []fakeFormat
	fail    map[uint32]error // requests that fail
	change  func(*format)    // what the driver makes of a format
	lengths uint32           // of buffers
	flags   uint32           // of filled buffers

	mu        sync.Mutex
	isOpen    int
	mapped    int
	streaming bool
	queued    []uint32
	filled    []buffer
	memory    [][]byte
	broken    bool
	wakes     chan struct{}
	ended     chan struct{}
}

type fakeFormat struct {
	code  uint32
	sizes [][2]uint32
	rates []uint32
}

func newFake() *fakeKernel {
	return &fakeKernel{
		caps:    capVideoCapture | capStreaming,
		formats: []fakeFormat{{fourccYUYV, [][2]uint32{{64, 48}, {32, 24}}, []uint32{30, 15}}},
		fail:    map[uint32]error{},
		lengths: 1 << 14,
		flags:   flagMonotonic,
		wakes:   make(chan struct{}, 16),
		ended:   make(chan struct{}, 1),
	}
}

func (k *fakeKernel) open(string) (node, error) {
	if k.openErr != nil {
		return nil, k.openErr
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.isOpen > 0 {
		return nil, unix.EBUSY
	}
	k.isOpen++
	return k, nil
}

func (k *fakeKernel) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.isOpen--
	return nil
}

func (k *fakeKernel) ioctl(request uint32, arg unsafe.Pointer) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.fail[request]; err != nil {
		return err
	}
	switch request {
	case reqQueryCap:
		*(*capability)(arg) = capability{Capabilities: capDeviceCaps | 0xff, DeviceCaps: k.caps}
	case reqEnumFormat:
		d := (*formatDesc)(arg)
		if int(d.Index) >= len(k.formats) {
			return unix.EINVAL
		}
		d.PixelFormat = k.formats[d.Index].code
	case reqEnumSizes:
		s := (*frameSizeEnum)(arg)
		f := k.format(s.PixelFormat)
		if int(s.Index) >= len(f.sizes) {
			return unix.EINVAL
		}
		s.Type, s.Values[0], s.Values[1] = discrete, f.sizes[s.Index][0], f.sizes[s.Index][1]
	case reqEnumIntervals:
		v := (*frameIntervalEnum)(arg)
		f := k.format(v.PixelFormat)
		if int(v.Index) >= len(f.rates) {
			return unix.EINVAL
		}
		v.Type, v.Values[0], v.Values[1] = discrete, 1, f.rates[v.Index]
	case reqSetFormat:
		if k.change != nil {
			k.change((*format)(arg))
		}
	case reqRequestBufs:
		r := (*requestBuffers)(arg)
		k.memory = make([][]byte, r.Count)
		for i := range k.memory {
			k.memory[i] = make([]byte, k.lengths)
		}
	case reqQueryBuf:
		b := (*buffer)(arg)
		b.Offset, b.Length = b.Index<<20, k.lengths
	case reqQueueBuf:
		b := (*buffer)(arg)
		k.queued = append(k.queued, b.Index)
	case reqDequeueBuf:
		if k.broken {
			return unix.ENODEV
		}
		if len(k.filled) == 0 {
			return unix.EAGAIN
		}
		*(*buffer)(arg) = k.filled[0]
		k.filled = k.filled[1:]
	case reqStreamOn:
		k.streaming = true
	case reqStreamOff:
		k.streaming = false
	}
	return nil
}

func (k *fakeKernel) format(code uint32) fakeFormat {
	for _, f := range k.formats {
		if f.code == code {
			return f
		}
	}
	return fakeFormat{}
}

func (k *fakeKernel) mmap(offset int64, length int) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mapped++
	return k.memory[offset>>20][:length:length], nil
}

func (k *fakeKernel) munmap([]byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mapped--
	return nil
}

func (k *fakeKernel) wait(timeout time.Duration) (bool, error) {
	k.mu.Lock()
	ready := len(k.filled) > 0 || k.broken
	k.mu.Unlock()
	if ready {
		return true, nil
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-k.wakes:
		return true, nil
	case <-k.ended:
		return false, nil
	case <-timer.C:
		return false, nil
	}
}

func (k *fakeKernel) interrupt() {
	select {
	case k.ended <- struct{}{}:
	default:
	}
}

// capture fills the oldest queued buffer, if there is one.
func (k *fakeKernel) capture(data []byte, at time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.queued) == 0 {
		return
	}
	i := k.queued[0]
	k.queued = k.queued[1:]
	n := copy(k.memory[i], data)
	k.filled = append(k.filled, buffer{
		Index: i, BytesUsed: uint32(n), Flags: k.flags,
		Seconds: int64(at / time.Second), Microseconds: int64(at % time.Second / time.Microsecond),
	})
	select {
	case k.wakes <- struct{}{}:
	default:
	}
}

func (k *fakeKernel) unplug() {
	k.mu.Lock()
	k.broken = true
	k.fail[reqStreamOff], k.fail[reqQueueBuf] = unix.ENODEV, unix.ENODEV
	k.mu.Unlock()
	k.wakes <- struct{}{}
}

// left is what a program has not given back.
func (k *fakeKernel) left() [2]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return [2]int{k.isOpen, k.mapped}
}

// yuyv is a picture of one colour, 64 by 48 pixels.
func yuyv(y, cb, cr byte) []byte {
	b := make([]byte, 2*64*48)
	for i := 0; i < len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = y, cb, y, cr
	}
	return b
}

// ago is a capture instant in whole microseconds, as the kernel tells it.
func ago(d time.Duration) time.Duration { return (frame.Now() - d).Truncate(time.Microsecond) }
