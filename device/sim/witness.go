// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"image"
	"sync"
	"time"

	"incamera/media/frame"
)

// A Witness reads the [Stamp] of a remote room off each picture that a
// [Display] presents, and keeps account: what arrived, in which order, how long
// it took, and how good it looks. Camera and display are on one computer, or
// the latency means nothing.
type Witness struct {
	stage image.Rectangle

	mu    sync.Mutex // guards what follows
	state witnessed
}

// A Report is the account of a [Witness]. Times are in milliseconds.
type Report struct {
	Room      string `json:"room"`      // whose pictures were expected
	Presented uint64 `json:"presented"` // pictures of the stage
	Unread    uint64 `json:"unread"`    // of them without a stamp
	Frames    uint64 `json:"frames"`    // pictures of the room, each counted once
	Repeats   uint64 `json:"repeats"`   // presented again, as on a stage faster than the camera
	Missing   uint64 `json:"missing"`   // numbers left out
	Backwards uint64 `json:"backwards"` // older than the one before: wrong order
	Restarts  uint64 `json:"restarts"`  // the camera began again: a lower number of a later picture
	First     uint32 `json:"first_number"`
	Last      uint32 `json:"last_number"`

	FirstPictureMS float64 `json:"first_picture_ms"` // from Expect to the first stamp; -1: none
	LatencyP50MS   float64 `json:"latency_p50_ms"`   // from capture to vertical blank; -1: none
	LatencyP95MS   float64 `json:"latency_p95_ms"`
	LatencyMaxMS   float64 `json:"latency_max_ms"`
	LongestGapMS   float64 `json:"longest_gap_ms"` // between two pictures of the room

	Compared   uint64  `json:"compared"`     // pictures compared with what the camera saw
	PSNRMeanDB float64 `json:"psnr_mean_db"` // of luma; 99: equal; -1: none compared
	PSNRMinDB  float64 `json:"psnr_min_db"`
}

// witnessed is the account itself.
type witnessed struct {
	report    Report
	tile      image.Rectangle // where the room is on the stage
	width     int             // of the room's camera
	scene     *Scene          // nil: nothing to compare with
	scratch   frame.Picture
	since     time.Duration
	lastShown time.Duration           // the instant of its presentation
	lastTaken time.Duration           // and of its capture
	latency   [histogramMS + 1]uint64 // by whole milliseconds, the rest in the last
	sumPSNR   float64
}

const (
	histogramMS  = 3000
	compareEvery = 30 // pictures
)

func newWitness(mode frame.Mode) *Witness {
	w := &Witness{stage: image.Rect(0, 0, mode.Width, mode.Height)}
	w.Expect("")
	return w
}

func fresh(room string, tile image.Rectangle, width int) witnessed {
	s := witnessed{tile: tile, width: width}
	if room != "" && tile.Dx() == width && tile.Dy()*7/10 > StampHeight {
		s.scene, _ = NewScene(room, width, tile.Dy()) // nil if no camera films this size
	}
	s.since = frame.Now()
	s.report = Report{
		Room: room, FirstPictureMS: -1, LatencyP50MS: -1, LatencyP95MS: -1, LatencyMaxMS: -1,
		PSNRMeanDB: -1, PSNRMinDB: -1,
	}
	return s
}

// Expect begins a new account: the room's pictures are to fill the stage. With
// an empty name pictures are counted, not compared.
func (w *Witness) Expect(room string) { w.ExpectIn(room, w.stage, w.stage.Dx()) }

// ExpectIn begins a new account: the room's pictures, width pixels wide at its
// camera, are to fill the tile of the stage. Scaled pictures are counted, not
// compared.
func (w *Witness) ExpectIn(room string, tile image.Rectangle, width int) {
	s := fresh(room, tile, width)
	w.mu.Lock()
	w.state = s
	w.mu.Unlock()
}

// Report returns the account so far.
func (w *Witness) Report() Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.state.report
	if r.Frames > 0 {
		r.LatencyP50MS, r.LatencyP95MS = w.state.quantile(0.50), w.state.quantile(0.95)
	}
	if r.Compared > 0 {
		r.PSNRMeanDB = w.state.sumPSNR / float64(r.Compared)
	}
	return r
}

// observe reads one presented picture; at is when it was shown.
func (w *Witness) observe(p *frame.Picture, at time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.state
	r := &s.report
	r.Presented++
	stamp, ok := ReadStampIn(p, s.tile, s.width)
	switch {
	case !ok:
		r.Unread++
		return
	case r.Frames == 0:
		r.First = stamp.Number
		r.FirstPictureMS = milliseconds(at - s.since)
	default:
		switch ahead := (stamp.Number - r.Last) & stampMask; {
		case ahead == 0:
			r.Repeats++
			return
		case ahead <= stampMask/2:
			r.Missing += uint64(ahead - 1)
		case stamp.Time < s.lastTaken:
			r.Backwards++
			return
		default:
			r.Restarts++
		}
		r.LongestGapMS = max(r.LongestGapMS, milliseconds(at-s.lastShown))
	}
	r.Frames++
	r.Last, s.lastShown, s.lastTaken = stamp.Number, at, stamp.Time
	took := milliseconds(at - stamp.Time)
	r.LatencyMaxMS = max(r.LatencyMaxMS, took)
	s.latency[min(max(int(took), 0), histogramMS)]++
	if r.Frames%compareEvery == 1 && s.scene != nil {
		s.compare(p, stamp)
	}
}

// compare takes the rows between 64, below the stamp, and 70 % of the height,
// above the names that a stage lays over the picture.
func (s *witnessed) compare(p *frame.Picture, stamp Stamp) {
	tile := s.tile
	top, bottom := StampHeight, tile.Dy()*7/10
	s.scene.Draw(&s.scratch, uint64(stamp.Number), 0)
	var sum, n float64
	for y := top; y < bottom; y++ {
		a := s.scratch.Pix[y*tile.Dx():][:tile.Dx()]
		b := p.Pix[(tile.Min.Y+y)*p.Width+tile.Min.X:][:tile.Dx()]
		sum, n = sum+squares(a, b), n+float64(len(a))
	}
	db := decibels(sum, n)
	r := &s.report
	if r.Compared == 0 || db < r.PSNRMinDB {
		r.PSNRMinDB = db
	}
	r.Compared++
	s.sumPSNR += db
}

// quantile returns the upper bound of the millisecond below which the part q of
// all latencies lies.
func (s *witnessed) quantile(q float64) float64 {
	var sum uint64
	for ms, n := range s.latency {
		if sum += n; float64(sum) >= q*float64(s.report.Frames) {
			return float64(ms + 1)
		}
	}
	return histogramMS
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
