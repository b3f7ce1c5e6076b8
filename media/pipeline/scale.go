// SPDX-License-Identifier: Apache-2.0

package pipeline

import "incamera/media/frame"

// taps is how many source pixels one pixel can cover in one direction: a ratio
// of up to 2 and a bit, anywhere between pixels.
const taps = 4

// A tap is where a pixel comes from, and how much of each: the weights are of
// 256.
type tap struct {
	start  int
	weight [taps]uint32
}

// A scaler makes pictures smaller by averaging areas: each pixel is the mean of
// those that it covers. It halves while it can, which is cheap, and does the
// rest with weights.
type scaler struct {
	half           [2]frame.Picture // of the halvings, in turn
	sizes          [4]int           // that the taps are for
	across, down   []tap            // of the luma plane
	acrossC, downC []tap            // of the chroma planes
	sums           []uint32         // one row, in 256ths
}

// fitted is the largest size with the shape of width x height that a step
// allows, with even sides. It never enlarges.
func fitted(width, height int, s Step) (w, h int) {
	limit := s.Height * 16 / 9
	if width <= limit && height <= s.Height {
		return width, height
	}
	if width*s.Height <= height*limit { // its height is what is too large
		return max(width*s.Height/height&^1, 2), s.Height &^ 1
	}
	return limit &^ 1, max(height*limit/width&^1, 2)
}

// scale sets dst to src in the given size, which is not larger than src's, with
// src's instant and number.
func (s *scaler) scale(dst, src *frame.Picture, width, height int) {
	from := src
	for i := 0; from.Width >= 2*width && from.Height >= 2*height; i++ {
		to := &s.half[i%2]
		if (from.Width/2)&^1 == width && (from.Height/2)&^1 == height {
			to = dst
		}
		resize(to, from.Width/2&^1, from.Height/2&^1)
		halve(to.Y(), from.Y(), to.Width, from.Width)
		halve(to.Cb(), from.Cb(), to.Width/2, from.Width/2)
		halve(to.Cr(), from.Cr(), to.Width/2, from.Width/2)
		from = to
	}
	switch {
	case from == dst:
	case from.Width == width && from.Height == height:
		dst.CopyFrom(from)
	default:
		resize(dst, width, height)
		s.build(from.Width, width, from.Height, height)
		s.plane(dst.Y(), from.Y(), width, from.Width, s.across, s.down)
		s.plane(dst.Cb(), from.Cb(), width/2, from.Width/2, s.acrossC, s.downC)
		s.plane(dst.Cr(), from.Cr(), width/2, from.Width/2, s.acrossC, s.downC)
	}
	dst.PTS, dst.Number = src.PTS, src.Number
}

func resize(p *frame.Picture, width, height int) {
	if n := width * height * 3 / 2; cap(p.Pix) < n {
		p.Pix = make([]byte, n)
	} else {
		p.Pix = p.Pix[:n]
	}
	p.Width, p.Height = width, height
}

// halve averages squares of four pixels. An odd row or column is left out.
func halve(dst, src []byte, width, stride int) {
	for len(dst) >= width && width > 0 {
		a, b, row := src[:2*width], src[stride:stride+2*width], dst[:width]
		for x := range row {
			i := 2 * x
			row[x] = byte((uint(a[i]) + uint(a[i+1]) + uint(b[i]) + uint(b[i+1]) + 2) / 4)
		}
		dst, src = dst[width:], src[min(2*stride, len(src)):]
	}
}

// build computes the taps of both directions, once for each pair of sizes.
func (s *scaler) build(fromW, toW, fromH, toH int) {
	sizes := [4]int{fromW, toW, fromH, toH}
	if s.sizes == sizes {
		return
	}
	s.sizes = sizes
	s.across, s.down = tapsFor(fromW, toW), tapsFor(fromH, toH)
	s.acrossC, s.downC = tapsFor(fromW/2, toW/2), tapsFor(fromH/2, toH/2)
	s.sums = make([]uint32, fromW+taps)
}

// tapsFor divides from pixels among to, at most from: pixel i covers from
// i*from/to to (i+1)*from/to, in units of 1/to of a source pixel. What lies
// beyond the last pixel has no weight.
func tapsFor(from, to int) []tap {
	list := make([]tap, to)
	for i := range list {
		begin, end := i*from, (i+1)*from
		t := &list[i]
		t.start = begin / to
		left := uint32(256)
		last := 0
		for k := range taps {
			covered := min(end, (t.start+k+1)*to) - max(begin, (t.start+k)*to)
			if covered > 0 {
				t.weight[k] = uint32(256 * covered / from)
				left -= t.weight[k]
				last = k
			}
		}
		t.weight[last] += left // what rounding left over
	}
	return list
}

// narrow reports whether no pixel covers more than two, as in 1080 to 720.
func narrow(list []tap) bool {
	for i := range list {
		if list[i].weight[2]|list[i].weight[3] != 0 {
			return false
		}
	}
	return true
}

// plane scales one plane: rows first, into sums of 256ths, then columns.
func (s *scaler) plane(dst, src []byte, width, stride int, across, down []tap) {
	rows := len(src) / stride
	row := func(y int) []byte { return src[min(y, rows-1)*stride:][:stride] }
	sums := s.sums[:stride+taps]
	clear(sums[stride:])
	flat := narrow(across)
	for y := range down {
		t := &down[y]
		a, b := row(t.start), row(t.start+1)
		if w := t.weight; w[2]|w[3] == 0 {
			w0, w1, out := w[0], w[1], sums[:len(a)]
			b = b[:len(out)]
			for x := range out {
				out[x] = uint32(a[x])*w0 + uint32(b[x])*w1
			}
		} else {
			c, d := row(t.start+2), row(t.start+3)
			for x := range a {
				sums[x] = uint32(a[x])*w[0] + uint32(b[x])*w[1] + uint32(c[x])*w[2] + uint32(d[x])*w[3]
			}
		}
		out := dst[y*width:][:width]
		list := across[:len(out)]
		if flat {
			for x := range out {
				t := &list[x]
				v := sums[t.start : t.start+2]
				out[x] = byte((v[0]*t.weight[0] + v[1]*t.weight[1] + 1<<15) >> 16)
			}
			continue
		}
		for x := range out {
			t := &list[x]
			v := sums[t.start : t.start+taps]
			out[x] = byte((v[0]*t.weight[0] + v[1]*t.weight[1] + v[2]*t.weight[2] + v[3]*t.weight[3] + 1<<15) >> 16)
		}
	}
}
