// SPDX-License-Identifier: Apache-2.0

package frame

// A Mode is what a display shows: its size in pixels, both even, and how many
// pictures it can take a second.
type Mode struct {
	Width, Height int
	Rate          int // hertz
}
