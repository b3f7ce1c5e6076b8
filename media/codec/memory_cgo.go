// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package codec

/*
#include <malloc.h>

// Without these glibc gives each thread an arena of its own and keeps what a
// codec freed, for ever: five calls cost 130 MB that nobody uses.
static void ic_bound_memory(void) {
#ifdef M_ARENA_MAX
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 256 << 10);
	mallopt(M_TRIM_THRESHOLD, 256 << 10);
#endif
}
*/
import "C"

// BoundMemory tells the C library to give back what the codecs free: pictures
// of 720p have their own mappings, and there is one arena for all threads. It
// is called once, before the first codec is made.
func BoundMemory() { C.ic_bound_memory() }
