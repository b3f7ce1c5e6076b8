// SPDX-License-Identifier: Apache-2.0

package calltest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"incamera/media/call"
	"incamera/media/e2ee"
	"incamera/media/frame"
	"incamera/media/peer"
)

// Media is a [call.Media] whose pictures and sound are random bytes. It keeps
// every frame that it made and every one that it opened.
type Media struct {
	muted, dark atomic.Bool

	mu     sync.Mutex
	keys   *e2ee.Keyring
	rings  []*e2ee.Keyring // of all meetings so far
	cancel context.CancelFunc
	work   sync.WaitGroup
	made   [][]byte
	opened map[string]frame.Kind
	count  int      // opened
	noKey  int      // frames that could not be sealed
	wires  [][]byte // sealed frames as they came
}

func newMedia() *Media { return &Media{opened: map[string]frame.Kind{}} }

// Sizes of the frames in bytes: a picture takes several packets, sound one.
const (
	pictureSize = 3000
	soundSize   = 256
)

// Begin implements [call.Media].
func (m *Media) Begin(out call.Out) {
	ctx, cancel := context.WithCancel(context.Background())
	m.mu.Lock()
	m.cancel = cancel
	m.mu.Unlock()
	m.work.Go(func() { m.send(ctx, out, frame.Camera, pictureSize, 33*time.Millisecond, &m.dark) })
	m.work.Go(func() { m.send(ctx, out, frame.Audio, soundSize, 20*time.Millisecond, &m.muted) })
}

func (m *Media) send(ctx context.Context, out call.Out, kind frame.Kind, size int, every time.Duration, off *atomic.Bool) {
	clock := time.NewTicker(every)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
		}
		if off.Load() {
			continue
		}
		data := make([]byte, size)
		random(data)
		data[0] &^= 1 // each picture is a key frame
		m.mu.Lock()
		m.made = append(m.made, data)
		keys := m.keys
		m.mu.Unlock()
		if keys == nil {
			m.missed()
			continue
		}
		sealed, err := keys.Seal(nil, &frame.Encoded{Data: data, Kind: kind, Key: true, PTS: frame.Now()})
		if err != nil {
			m.missed()
			continue
		}
		out.Send(sealed)
	}
}

func (m *Media) missed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.noKey++
}

// Use implements [call.Media].
func (m *Media) Use(keys *e2ee.Keyring) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys = keys
	m.rings = append(m.rings, keys)
}

// End implements [call.Media].
func (m *Media) End() {
	m.mu.Lock()
	cancel := m.cancel
	m.keys, m.cancel = nil, nil
	m.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	m.work.Wait()
}

// KeyFrame implements [call.Media]: every picture is one.
func (m *Media) KeyFrame(frame.Kind) {}

// SetTarget implements [call.Media]: the rate is fixed.
func (m *Media) SetTarget(int) {}

// SetMuted implements [call.Media].
func (m *Media) SetMuted(muted bool) { m.muted.Store(muted) }

// SetCameraOff implements [call.Media].
func (m *Media) SetCameraOff(off bool) { m.dark.Store(off) }

// Show implements [call.Media]: there is no stage.
func (m *Media) Show(call.Status) {}

// Member implements [call.Media].
func (m *Media) Member(from e2ee.Leaf, _ func(frame.Kind)) call.Sink {
	return &sink{media: m, from: from}
}

// A sink opens what one member sends.
type sink struct {
	media *Media
	from  e2ee.Leaf

	mu     sync.Mutex
	counts call.Counts
	closed bool
}

// Frame implements [call.Sink].
func (s *sink) Frame(r peer.Received) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.media
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.closed || m.keys == nil {
		return
	}
	s.counts.Received++
	m.wires = append(m.wires, r.Wire)
	data, err := m.keys.Open(nil, r.Kind, s.from, r.Wire)
	if err != nil {
		s.counts.Refused++
		return
	}
	s.counts.Opened++
	m.opened[string(data)] = r.Kind
	m.count++
}

// Counts implements [call.Sink].
func (s *sink) Counts() call.Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Close implements [call.Sink].
func (s *sink) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// Keyring is the one of the present meeting, nil outside.
func (m *Media) Keyring() *e2ee.Keyring {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keys
}

// Made returns every frame made so far, sent or not.
func (m *Media) Made() [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([][]byte(nil), m.made...)
}

// Wires returns every sealed frame that came in a meeting.
func (m *Media) Wires() [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([][]byte(nil), m.wires...)
}

// Opened counts the frames that came and opened.
func (m *Media) Opened() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count
}

// Missed counts the frames that were made and could not be sealed.
func (m *Media) Missed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.noKey
}

// OpenedOf counts the frames of another room that came and opened.
func (m *Media) OpenedOf(other *Media) int {
	made := other.Made()
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, data := range made {
		if _, ok := m.opened[string(data)]; ok {
			n++
		}
	}
	return n
}

// OpenedAmong counts which of the given frames came and opened.
func (m *Media) OpenedAmong(frames map[string]bool) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for data := range frames {
		if _, ok := m.opened[data]; ok {
			n++
		}
	}
	return n
}
