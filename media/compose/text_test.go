// SPDX-License-Identifier: Apache-2.0

package compose

import (
	"image/color"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "Vauban", "Vauban"},
		{"accents", "Grenoble Amphithéâtre", "Grenoble Amphithéâtre"},
		{"controls", "Vau\x00ban\x1b[2J", "Vauban[2J"},
		{"line break", "Vauban\nverified", "Vauban verified"},
		{"bidirectional override", "nabuaV\u202e (verified)", "nabuaV (verified)"},
		{"zero width", "Vau\u200bban\ufeff", "Vauban"},
		{"broken UTF-8", "Vau\xffban", "Vau\ufffdban"},
		{"too long", strings.Repeat("x", 1000), strings.Repeat("x", maxRunes)},
		{"only spaces", " \t ", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := clean(tt.in); got != tt.want {
				t.Errorf("clean(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func FuzzLabel(f *testing.F) {
	f.Add("Vauban", uint8(1), true, uint16(400))
	f.Add("\u202eVauban\x00 "+strings.Repeat("ﷺ", 100), uint8(9), false, uint16(20))
	letters, err := newTypesetter()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string, badge uint8, muted bool, width uint16) {
		if c := clean(name); utf8.RuneCountInString(c) > maxRunes || clean(c) != c {
			t.Errorf("clean(%q) = %q, not clean", name, c)
		}
		const size = 12
		s := letters.label(&Tile{Name: name, Badge: Badge(badge), Muted: muted}, &English, size, int(width))
		// Two marks and an ellipsis are never given up: 5 letters wide.
		if s != nil && (s.Width > max(int(width), 6*size)+2 || s.Width%2 != 0 || s.Height%2 != 0) {
			t.Errorf("label of %q in %d pixels is %dx%d", name, width, s.Width, s.Height)
		}
	})
}

func TestLabelGivesUpTheWordFirst(t *testing.T) {
	letters, err := newTypesetter()
	if err != nil {
		t.Fatal(err)
	}
	tile := Tile{Name: "Grenoble", Badge: Verified, Muted: true}
	full := letters.label(&tile, &English, 20, 10000).Width
	noWord := letters.label(&tile, &English, 20, full-1).Width
	word := letters.width(style{size: 20}, English.Verified)
	if d := full - noWord - word - 20/4; d < -2 || d > 2 {
		t.Errorf("label is %d wide, without the word (%d) %d", full, word, noWord)
	}
	if short := letters.label(&tile, &English, 20, noWord-10).Width; short > noWord-10 || short < noWord-60 {
		t.Errorf("shortened label is %d wide of %d", short, noWord-10)
	}
}

// TestMarksDiffer checks that badges can be told apart without their colours.
func TestMarksDiffer(t *testing.T) {
	letters, err := newTypesetter()
	if err != nil {
		t.Fatal(err)
	}
	shapes := map[Badge]string{}
	for _, b := range []Badge{Verified, Caution, Failed, Unverified} {
		if English.badge(b) == "" {
			t.Errorf("badge %d has no word", b)
		}
		s := letters.line([]piece{{style: style{size: 24}, mark: b.mark()}}, color.RGBA{})
		var shape strings.Builder
		for i, a := range s.alpha { // covered, and covered by the dark of the sign
			if a > 127 {
				shape.WriteByte('1' + byte(min(int(s.Y()[i])/100, 1)))
			} else {
				shape.WriteByte('0')
			}
		}
		for other, o := range shapes {
			var differ int
			for i := range o {
				if o[i] != shape.String()[i] {
					differ++
				}
			}
			if differ < 60 {
				t.Errorf("badges %d and %d differ in %d pixels of %d", b, other, differ, len(o))
			}
		}
		shapes[b] = shape.String()
	}
}

// TestContrast holds the colours to the 7 to 1 of the panel (WCAG 2.2).
func TestContrast(t *testing.T) {
	luminance := func(c color.RGBA) float64 {
		f := func(v uint8) float64 {
			x := float64(v) / 255
			if x <= 0.04045 {
				return x / 12.92
			}
			return math.Pow((x+0.055)/1.055, 2.4)
		}
		return 0.2126*f(c.R) + 0.7152*f(c.G) + 0.0722*f(c.B)
	}
	// The backdrop of a name, over a bright picture, is no darker than this.
	mix := func(a, b uint8) uint8 { return uint8((int(a)*int(backdrop.A) + int(b)*(255-int(backdrop.A))) / 255) }
	overGrey := color.RGBA{mix(backdrop.R, 120), mix(backdrop.G, 120), mix(backdrop.B, 120), 255}
	for name, pair := range map[string][2]color.RGBA{
		"name on ground":    {ink, ground},
		"name on panel":     {ink, panel},
		"name on backdrop":  {ink, overGrey},
		"soft on panel":     {soft, panel},
		"warning on ground": {warning, ground},
		"good on ground":    {good, ground},
		"bad on ground":     {bad, ground},
		"accent on ground":  {accent, ground},
	} {
		a, b := luminance(pair[0]), luminance(pair[1])
		if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < 7 {
			t.Errorf("%s: contrast %.1f, want 7", name, ratio)
		}
	}
}
