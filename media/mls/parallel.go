// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// onAllCores calls each for 0 to n-1 and returns when all calls have. What is
// worth it is signatures and public keys, of which a tree has hundreds. No
// goroutine outlives the call.
func onAllCores(n int, each func(i int)) {
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			each(i)
		}
	}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}
