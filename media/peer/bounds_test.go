// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"runtime"
	"testing"
	"time"

	"github.com/pion/dtls/v3"

	"incamera/media/e2ee"
	"incamera/media/frame"
)

// heap returns the bytes in use after a collection.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestStuckPeer sends the same frames to a room whose handler has stopped and to
// a sound one: the sound one gets every frame, and memory stays flat.
func TestStuckPeer(t *testing.T) {
	api := newAPI(t, Options{Loopback: true})
	a, b := newRoom(t, api, 0), newRoom(t, api, 1)
	connect(t, a, b)
	c, d := newRoom(t, api, 0), newRoom(t, api, 1) // c is a's second peer
	connect(t, c, d)
	resume := make(chan struct{})
	d.stuck.Store(&resume)
	t.Cleanup(func() { close(resume) }) // before the peers close

	next := 0
	// send sends n frames to both rooms and takes what comes to the sound one.
	send := func(n int) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		first := next
		for i := range n {
			number := first + i
			s := a.sealed(t, frame.Camera, number, 6000, number == 0)
			begin := time.Now()
			for _, p := range []*room{a, c} {
				if err := p.Send(s); err != nil {
					t.Fatalf("frame %d: %v", number, err)
				}
			}
			if d := time.Since(begin); d > 100*time.Millisecond {
				t.Errorf("Send took %v", d)
			}
			for <-tick.C; a.Stats().Sent[frame.Camera].Queued > 3; <-tick.C {
				continue // this computer is slow today, which is not what we test
			}
		}
		timeout := time.After(5 * time.Second)
		for next < first+n {
			select {
			case f := <-b.frames:
				plain, err := b.keys.Open(nil, f.Kind, e2ee.Leaf(0), f.Wire)
				if err != nil || f.Gap || int(plain[1])<<8|int(plain[2]) != next {
					t.Fatalf("frame %d did not come whole (gap %v): %v", next, f.Gap, err)
				}
				next++
			case <-timeout:
				t.Fatalf("frame %d did not come", next)
			}
		}
	}
	send(200) // fills what NACK keeps (1024 packets) and the stuck room's buffer
	before := heap()
	send(100)
	after := heap()
	t.Logf("heap %d kB, 100 frames later %d kB; stuck room: %+v", before/1024, after/1024, d.Stats().Received[frame.Camera])
	if after > before+512<<10 {
		t.Errorf("heap grew from %d to %d bytes", before, after)
	}
}

// TestDarkPeer fills the queue of a connection whose pacer has stopped sending,
// as long as anyone likes: it holds 8 frames, asks for a key frame once, and
// goes on with it.
func TestDarkPeer(t *testing.T) {
	o := newOutbound(frame.Camera, nil, nil, 0)
	wanted := 0
	wire := make([]byte, 12_000)
	for i := range 10_000 {
		if o.push(wire, 0, i == 0, time.Duration(i)*33*time.Millisecond) {
			wanted++
		}
	}
	if wanted != 1 || o.video.n > videoFrames {
		t.Errorf("%d key frames wanted, %d frames queued; want 1 and at most %d", wanted, o.video.n, videoFrames)
	}
	if o.push(wire, 0, true, time.Hour); o.video.n != 1 {
		t.Errorf("%d frames queued after a key frame; want it alone", o.video.n)
	}
}

// benchmarkPath moves frames of 12 kB from one peer to the handler of another
// over loopback, both ends and the kernel included, without the pacer.
func benchmarkPath(b *testing.B, o Options) {
	x, y := pair(b, o)
	wire := x.sealed(b, frame.Camera, 0, 12_000, true).Bytes()
	out := x.out[frame.Camera]
	move := func() {
		out.push(wire, frame.Now(), true, 0)
		for _, _, ok := out.begin(); ok; _, _, ok = out.begin() {
			out.sendFragment()
		}
		select {
		case <-y.frames:
		case <-time.After(5 * time.Second):
			b.Fatal("a frame did not come")
		}
	}
	move()
	b.ReportAllocs()
	b.SetBytes(int64(len(wire)))
	for b.Loop() {
		move()
	}
}

func BenchmarkPath12kB(b *testing.B) { benchmarkPath(b, Options{}) }

// BenchmarkPath12kBGCM is what the profile that we refuse would cost.
func BenchmarkPath12kBGCM(b *testing.B) {
	benchmarkPath(b, Options{SRTPProfiles: []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_256_GCM}})
}

// BenchmarkSend12kB is the sender's half: the datagrams end at the socket.
func BenchmarkSend12kB(b *testing.B) {
	w := newWire(b)
	x, _ := pair(b, Options{Net: w})
	wire := x.sealed(b, frame.Camera, 0, 12_000, true).Bytes()
	out := x.out[frame.Camera]
	w.rule(func(b []byte) bool { return !isMedia(b) })
	b.ReportAllocs()
	b.SetBytes(int64(len(wire)))
	for b.Loop() {
		out.push(wire, frame.Now(), true, 0)
		for _, _, ok := out.begin(); ok; _, _, ok = out.begin() {
			out.sendFragment()
		}
	}
}
