// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"encoding/binary"
	"time"

	"incamera/media/frame"
)

// A Scene is the view of a camera into one room: somebody at a table who talks
// with their hands, a window, a plant, and the room's name on the wall. Rooms
// of different names look different.
//
// A picture is a function of the room, the size and its number alone. A Scene
// may be shared by goroutines.
type Scene struct {
	width, height int
	view          view
	back          []byte // what does not move, as Picture.Pix
	grain         []byte // film noise, from 0 to grainLevels-1, longer than a row by grainShift
	look          look
	pot           paintedPlant
}

const (
	grainLevels = 4
	grainShift  = 4096 // places in grain at which a row may begin
)

// NewScene prepares the scene of a room in a size that [frame.CheckSize]
// accepts. It takes some tenths of a second; drawing is cheap.
func NewScene(room string, width, height int) (*Scene, error) {
	if err := frame.CheckSize(width, height); err != nil {
		return nil, err
	}
	s := &Scene{width: width, height: height, view: newView(width, height), look: newLook(room)}
	r := script("grain", room)
	s.grain = make([]byte, width+grainShift)
	for i := range s.grain {
		s.grain[i] = byte(r.IntN(grainLevels))
	}
	s.back = s.look.background(width, height, room)
	s.pot = s.look.plant(room)
	return s, nil
}

// Draw makes p the picture with this number, taken at pts. It keeps p's memory
// if that is large enough.
func (s *Scene) Draw(p *frame.Picture, number uint64, pts time.Duration) {
	p.Width, p.Height, p.Number, p.PTS = s.width, s.height, number, pts
	p.Pix = append(p.Pix[:0], s.back...)
	b := brush{p, s.view}
	t := float64(number%frameCycle) / 30
	s.look.sky(b, t)
	s.pot.draw(b, t)
	s.look.person(b, t)
	s.look.front(b)
	s.film(p)
}

// frameCycle is the number of pictures after which the scene repeats, an hour
// at 30 a second: it keeps the arguments of sine small and exact.
const frameCycle = 108000

// film adds grain to the luma plane, eight pixels at a time. A byte cannot
// overflow into the next: paints end at 225, the background too.
func (s *Scene) film(p *frame.Picture) {
	luma := p.Y()
	for y := range s.height {
		row := luma[y*s.width : (y+1)*s.width]
		grain := s.grain[scatter(p.Number*8192+uint64(y))%grainShift:][:len(row)]
		n := len(row) &^ 7
		for x := 0; x < n; x += 8 {
			binary.LittleEndian.PutUint64(row[x:], binary.LittleEndian.Uint64(row[x:])+binary.LittleEndian.Uint64(grain[x:]))
		}
		for x := n; x < len(row); x++ {
			row[x] += grain[x]
		}
	}
}

// scatter is the finaliser of SplitMix64: neighbours end far apart.
func scatter(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
