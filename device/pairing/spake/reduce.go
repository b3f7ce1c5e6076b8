// SPDX-License-Identifier: Apache-2.0

package spake

import (
	"encoding/binary"
	"math/bits"
)

// wideSize is how many bytes become one scalar: 64 bits more than the order has,
// so that no scalar is more likely than another (RFC 9383, section 3.2).
const wideSize = 40

// The order n of P-256, and c = 2^256 - n, which has 224 bits. The least limb
// comes first.
var (
	order = [4]uint64{0xf3b9cac2fc632551, 0xbce6faada7179e84, 0xffffffffffffffff, 0xffffffff00000000}
	fold  = [4]uint64{0x0c46353d039cdaaf, 0x4319055258e8617b, 0x0000000000000000, 0x00000000ffffffff}
)

// reduce returns a number, the greatest byte first, modulo n. It takes the same
// time for each.
//
// A number t*2^256 + r is t*c + r modulo n, with c below 2^224 - 2^191. Of 320
// bits, t has 64. After one step it is below 2^32. After two it is at most 1, and
// if it is 1, r is below 2^256 - 2^224, so that after three it is 0. What is left
// is below 2^256, and so below 2n.
func reduce(wide [wideSize]byte) (out [32]byte) {
	var r [4]uint64
	top := binary.BigEndian.Uint64(wide[:8])
	for i := range r {
		r[i] = binary.BigEndian.Uint64(wide[32-8*i:])
	}
	for range 3 {
		var carry, over uint64
		for i := range r {
			high, low := bits.Mul64(top, fold[i])
			low, over = bits.Add64(low, carry, 0)
			high += over // cannot overflow: a product is at most (2^64-1)^2
			r[i], over = bits.Add64(r[i], low, 0)
			carry = high + over
		}
		top = carry
	}
	var less [4]uint64
	var borrow uint64
	for i := range r {
		less[i], borrow = bits.Sub64(r[i], order[i], borrow)
	}
	keep := -borrow // all ones when r is below n
	for i := range r {
		binary.BigEndian.PutUint64(out[24-8*i:], r[i]&keep|less[i]&^keep)
	}
	return out
}
