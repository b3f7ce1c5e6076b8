// SPDX-License-Identifier: Apache-2.0

package audio

import (
	"math"
	"sync/atomic"

	"incamera/media/frame"
)

// Silence is the lowest level that is told, in dB of full scale.
const Silence = -96

// A Level says how loud something is.
type Level struct {
	RMS   float32 // dB of full scale, Silence to 0, smoothed over some 300 ms
	Peak  float32 // dB of full scale; rises at once, falls by 20 dB a second
	Voice bool    // somebody speaks, or did in the last 300 ms
}

// A Meter measures sound. One goroutine calls Add; anyone may call Level. The
// zero value is ready and shows silence.
type Meter struct {
	power, peak float64 // linear
	floor       float64 // power of the room's own noise
	hold        int     // periods for which Voice stays
	rise        int     // periods in a row that sounded like a voice

	shown atomic.Uint64 // packed by pack
}

const (
	smooth = 0.12               // of a period in the RMS: about 300 ms to settle
	fall   = 0.9772372209558107 // -0.2 dB a period: 20 dB a second
	voice  = 8                  // a voice has 9 dB more power than the room's noise
	faint  = 1e-5               // and at least -50 dB
	hold   = 30                 // 300 ms: longer than a gap between words
	rise   = 3                  // 30 ms: a knock on the table is shorter
	lull   = 1e-9               // the least noise of a room, -90 dB
	settle = 1.0023             // the floor doubles in 3 s where noise lasts
)

// Add measures the next 10 ms.
func (m *Meter) Add(pcm *[frame.PeriodSamples]float32) {
	var sum float64
	var peak float32
	for _, v := range pcm {
		sum += float64(v) * float64(v)
		peak = max(peak, v, -v)
	}
	now := sum / frame.PeriodSamples
	if math.IsNaN(now) || math.IsInf(now, 0) {
		return
	}
	m.power += (now - m.power) * smooth
	m.peak = max(float64(peak), m.peak*fall)

	// The floor follows down at once and up slowly, so speech does not lift
	// it and an air conditioner does.
	m.floor = max(min(now, m.floor*settle), lull)
	if now > voice*m.floor && now > faint {
		m.rise++
	} else {
		m.rise = 0
	}
	switch {
	case m.rise >= rise:
		m.hold = hold
	case m.hold > 0:
		m.hold--
	}
	m.shown.Store(pack(Level{decibels(m.power), decibels(m.peak * m.peak), m.hold > 0}))
}

// Level gives the last measurement.
func (m *Meter) Level() Level { return unpack(m.shown.Load()) }

// decibels converts power.
func decibels(power float64) float32 {
	if power <= 0 {
		return Silence
	}
	return float32(min(max(10*math.Log10(power), Silence), 0))
}

// pack keeps a level in one word, so that a reader never sees half of one:
// hundredths of a decibel below 0 in 16 bits each, then voice. The zero word,
// of a meter that never measured, is silence.
func pack(l Level) uint64 {
	w := uint64(uint16((l.RMS-Silence)*100)) | uint64(uint16((l.Peak-Silence)*100))<<16
	if l.Voice {
		w |= 1 << 32
	}
	return w
}

func unpack(w uint64) Level {
	return Level{
		RMS:   float32(uint16(w))/100 + Silence,
		Peak:  float32(uint16(w>>16))/100 + Silence,
		Voice: w>>32 != 0,
	}
}
