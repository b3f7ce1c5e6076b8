// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"math"

	"incamera/media/frame"
)

// fullLuma and fullChroma convert from limited range, 16-235 and 16-240, to
// the full range of JFIF.
var fullLuma, fullChroma = func() (luma, chroma [256]uint8) {
	for i := range luma {
		luma[i] = uint8(min(max((float64(i)-16)*255/219, 0), 255) + 0.5)
		chroma[i] = uint8(min(max((float64(i)-128)*255/224+128, 0), 255) + 0.5)
	}
	return luma, chroma
}()

// fullRange copies p to dst in the full range that package image expects, and
// returns dst.
func fullRange(dst, p *frame.Picture) *frame.Picture {
	dst.CopyFrom(p)
	luma := dst.Y()
	for i, v := range luma {
		luma[i] = fullLuma[v]
	}
	colour := dst.Pix[len(luma):]
	for i, v := range colour {
		colour[i] = fullChroma[v]
	}
	return dst
}

// maxPSNR stands for equal pictures, whose PSNR is infinite and so no JSON.
const maxPSNR = 99

// psnr compares two planes of one size, in decibels.
func psnr(a, b []byte) float64 { return decibels(squares(a, b), float64(len(a))) }

// squares is the sum of the squared differences.
func squares(a, b []byte) float64 {
	var sum int64
	for i, v := range a {
		d := int64(v) - int64(b[i])
		sum += d * d
	}
	return float64(sum)
}

// decibels is the peak signal to noise ratio of n samples.
func decibels(squares, n float64) float64 {
	if squares == 0 {
		return maxPSNR
	}
	return min(10*math.Log10(255*255*n/squares), maxPSNR)
}
