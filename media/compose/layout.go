// SPDX-License-Identifier: Apache-2.0

package compose

import "image"

// MaxGrid is how many tiles a grid shows.
const MaxGrid = 9

// maxStrip is how many tiles stand beside a large one.
const maxStrip = 4

// Grid divides a stage into n tiles of one size, 1 to 9: 1, 2 beside each
// other, 2 by 2, 3 by 2, 3 by 3, with the last row centred. For more than 9 it
// gives 9 places. All sides are even.
func Grid(stage image.Rectangle, n int) []image.Rectangle {
	n = min(n, MaxGrid)
	if n <= 0 {
		return nil
	}
	if n == 1 {
		return []image.Rectangle{even(stage)}
	}
	columns := 3
	if n <= 4 {
		columns = 2
	}
	rows := (n + columns - 1) / columns
	gap := spacing(stage)
	w := (stage.Dx() - gap*(columns+1)) / columns
	h := (stage.Dy() - gap*(rows+1)) / rows
	// Pictures are 16 by 9: a tile of another shape would be bars.
	w = min(w, h*16/9) &^ 1
	h = min(h, w*9/16) &^ 1
	if w < 2 || h < 2 {
		return nil
	}
	places := make([]image.Rectangle, 0, n)
	top := stage.Min.Y + (stage.Dy()-rows*h-(rows-1)*gap)/2
	for row := range rows {
		inRow := min(columns, n-row*columns)
		left := stage.Min.X + (stage.Dx()-inRow*w-(inRow-1)*gap)/2
		for i := range inRow {
			x, y := (left+i*(w+gap))&^1, (top+row*(h+gap))&^1
			places = append(places, image.Rect(x, y, x+w, y+h))
		}
	}
	return places
}

// Speaker puts the first of n tiles large and up to 4 others in a strip at the
// right. It serves for shared content too, with the content first.
func Speaker(stage image.Rectangle, n int) []image.Rectangle {
	n = min(n, 1+maxStrip)
	if n <= 0 {
		return nil
	}
	if n == 1 {
		return []image.Rectangle{even(stage)}
	}
	gap := spacing(stage)
	// A strip of a fifth leaves four fifths in height and in width, so the
	// large picture keeps the shape of the stage.
	w := (stage.Dx()/5 - gap) &^ 1
	h := min(w*9/16, (stage.Dy()-gap*(maxStrip+1))/maxStrip) &^ 1
	large := image.Rect(stage.Min.X+gap, stage.Min.Y+gap, stage.Max.X-2*gap-w, stage.Max.Y-gap)
	large = Fit(large, 16, 9)
	if w < 2 || h < 2 || large.Empty() {
		return nil
	}
	places := []image.Rectangle{large}
	strip := n - 1
	x := (stage.Max.X - gap - w) &^ 1
	top := stage.Min.Y + (stage.Dy()-strip*h-(strip-1)*gap)/2
	for i := range strip {
		y := (top + i*(h+gap)) &^ 1
		places = append(places, image.Rect(x, y, x+w, y+h))
	}
	return places
}

// Corner is the place of the self view: a sixth of the stage, at the bottom
// right.
func Corner(stage image.Rectangle) image.Rectangle {
	gap := 2 * spacing(stage)
	w := min(stage.Dx()/6, (stage.Dy()-2*gap)*16/9) &^ 1
	h := (w * 9 / 16) &^ 1
	if w < 2 || h < 2 {
		return image.Rectangle{}
	}
	return even(image.Rect(stage.Max.X-gap-w, stage.Max.Y-gap-h, stage.Max.X-gap, stage.Max.Y-gap))
}

// Fit gives the largest part of box, in its middle, that has the shape of a
// picture of width by height. Its sides are even.
func Fit(box image.Rectangle, width, height int) image.Rectangle {
	if width <= 0 || height <= 0 || box.Dx() < 2 || box.Dy() < 2 {
		return image.Rectangle{}
	}
	w, h := box.Dx(), box.Dy()
	if w*height > h*width {
		w = h * width / height
	} else {
		h = w * height / width
	}
	w, h = max(w&^1, 2), max(h&^1, 2)
	x := (box.Min.X + (box.Dx()-w)/2 + 1) &^ 1
	y := (box.Min.Y + (box.Dy()-h)/2 + 1) &^ 1
	if x+w > box.Max.X {
		x -= 2
	}
	if y+h > box.Max.Y {
		y -= 2
	}
	return image.Rect(x, y, x+w, y+h)
}

// Halve gives the middle of a picture of width by height that fills place at
// exactly half its size, if no more than 4 in 100 of its lines or columns is lost.
//
// libyuv halves six times as fast as it scales by any other factor, and the
// tiles of a grid on 1080 lines are a little smaller than half of 720 lines.
func Halve(place image.Rectangle, width, height int) (image.Rectangle, bool) {
	w, h := width-2*place.Dx(), height-2*place.Dy()
	if w < 0 || h < 0 || w > width/25 || h > height/25 {
		return image.Rectangle{}, false
	}
	x, y := w/2&^1, h/2&^1
	return image.Rect(x, y, x+2*place.Dx(), y+2*place.Dy()), true
}

// spacing is the distance between tiles: 8 pixels at 1080 lines.
func spacing(stage image.Rectangle) int { return max(stage.Dy()/120, 2) &^ 1 }

// even brings every side inwards to an even pixel, as I420 demands.
func even(r image.Rectangle) image.Rectangle {
	return image.Rect((r.Min.X+1)&^1, (r.Min.Y+1)&^1, r.Max.X&^1, r.Max.Y&^1)
}
