// SPDX-License-Identifier: Apache-2.0

package audio

import (
	"slices"
	"sync"
	"sync/atomic"

	"incamera/media/frame"
)

// A Mixer adds up what the members of a meeting say, sets the volume and keeps
// the sum below full scale. Mix is called by the sound loop alone; all other
// methods may be called by anyone at any time.
type Mixer struct {
	mu      sync.Mutex               // of writers
	sources atomic.Pointer[[]Source] // replaced, never changed
	volume  atomic.Int32

	gain    float32 // of the last sample
	limiter Limiter
	part    [frame.PeriodSamples]float32
}

// NewMixer returns a mixer without sources, at the given volume from 0 to 100.
func NewMixer(volume int) *Mixer {
	m := &Mixer{}
	m.sources.Store(&[]Source{})
	m.SetVolume(volume)
	m.gain = loudness(m.Volume())
	return m
}

// Add lets s be heard, from the next period on. To add it twice does nothing.
func (m *Mixer) Add(s Source) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := *m.sources.Load()
	if slices.Contains(old, s) {
		return
	}
	list := append(slices.Clone(old), s)
	m.sources.Store(&list)
}

// Remove silences s. The period that is being mixed may still hold it.
func (m *Mixer) Remove(s Source) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(*m.sources.Load()), func(o Source) bool { return o == s })
	m.sources.Store(&list)
}

// SetVolume takes 0, silence, to 100, as it came. What lies outside is brought
// inside.
func (m *Mixer) SetVolume(v int) { m.volume.Store(int32(min(max(v, 0), 100))) }

// Volume is what SetVolume set.
func (m *Mixer) Volume() int { return int(m.volume.Load()) }

// Mix fills dst with the next 10 ms of everybody. A change of volume takes the
// whole period, so that it does not click.
func (m *Mixer) Mix(dst *[frame.PeriodSamples]float32) {
	clear(dst[:])
	for _, s := range *m.sources.Load() {
		if !s.Period(&m.part) {
			continue
		}
		for i, v := range m.part {
			dst[i] += v
		}
	}
	gain := m.gain
	step := (loudness(m.Volume()) - gain) / frame.PeriodSamples
	for i := range dst {
		gain += step
		dst[i] *= gain
	}
	m.gain = loudness(m.Volume())
	m.limiter.Process(dst)
}

// loudness turns steps that a hand feels as equal into a factor: by the square,
// 50 is 12 dB below 100.
func loudness(v int) float32 {
	f := float32(v) / 100
	return f * f
}

const (
	ceiling = 0.89 // -1 dB: room for the filters of the converter
	attack  = 48   // 1 ms, in samples
	release = 0.05 // of the way back in each period: 200 ms
	absurd  = 1000 // no sum of members comes near it
)

// A Limiter keeps sound below -1 dB of full scale. It looks ahead within one
// period: it turns down within 1 ms and up within some 200 ms; the few samples
// that come before the turn are rounded off. The zero value is ready.
type Limiter struct {
	cut float32 // 1 - gain, so that the zero value does nothing
}

// Process limits dst in place. What is not a number, or absurdly large, becomes
// silence: it would stay in every filter behind it for ever.
func (l *Limiter) Process(dst *[frame.PeriodSamples]float32) {
	var peak float32
	for i, v := range dst {
		if !(v > -absurd && v < absurd) { // true of what is not a number, too
			dst[i] = 0
			continue
		}
		peak = max(peak, v, -v)
	}
	goal := l.cut * (1 - release)
	if peak*(1-goal) > ceiling {
		goal = 1 - ceiling/peak
	}
	if l.cut < 1e-4 && goal < 1e-4 {
		l.cut = 0
		return
	}
	step := (goal - l.cut) / attack
	cut := l.cut
	for i, v := range dst {
		if i < attack {
			cut += step
		} else {
			cut = goal
		}
		dst[i] = round(v * (1 - cut))
	}
	l.cut = goal
}

// round bends what is above the ceiling so that it never reaches 1.
func round(v float32) float32 {
	const room = 1 - ceiling
	switch {
	case v > ceiling:
		over := v - ceiling
		return ceiling + room*over/(over+room)
	case v < -ceiling:
		over := -v - ceiling
		return -ceiling - room*over/(over+room)
	}
	return v
}
