// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"incamera/media/relay"
	"incamera/media/relay/relaytest"
)

// BenchmarkRelay sends application messages to a meeting of 10 rooms over
// loopback TLS. One operation is one message, accepted and received by all.
func BenchmarkRelay(b *testing.B) {
	const members = 10
	for _, size := range []int{256, 4 << 10, 32 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			h := &house{site: relaytest.NewSite(b, "Example"), rooms: make(map[string]relay.Credentials)}
			h.owner = h.room(b, "vauban")
			s := h.server(b)
			s.Unlimited()
			h.addr = relaytest.Serve(b, s)
			conns := []*relay.Conn{h.open(b)}
			for i := 1; i < members; i++ {
				conns = append(conns, h.join(b, conns[0], fmt.Sprint("room ", i), uint64(i-1)))
			}
			msg := application(members-1, strings.Repeat("x", size))
			const inFlight = 16
			got, free := make(chan struct{}, members*inFlight), make(chan struct{}, inFlight)
			for _, c := range conns {
				go func() {
					for e := range c.Events() { // until the end
						if o, ok := e.(relay.Ordered); ok && len(o.Message) == len(msg) {
							got <- struct{}{}
						}
					}
				}()
			}
			go func() { // a message has arrived when all have it
				defer close(free)
				for range inFlight {
					free <- struct{}{}
				}
				for n := 1; ; n++ {
					select {
					case <-got:
					case <-b.Context().Done():
						return
					}
					if n%members == 0 {
						free <- struct{}{}
					}
				}
			}()
			b.ReportAllocs()
			b.SetBytes(int64(size))
			var wg sync.WaitGroup
			for i := 0; b.Loop(); i++ {
				<-free
				wg.Go(func() {
					if err := conns[i%members].Send(b.Context(), msg); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
			for range inFlight {
				<-free
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkSend is the time from a room to the log and back, in a meeting of
// 10.
func BenchmarkSend(b *testing.B) {
	h := &house{site: relaytest.NewSite(b, "Example"), rooms: make(map[string]relay.Credentials)}
	h.owner = h.room(b, "vauban")
	s := h.server(b)
	s.Unlimited()
	h.addr = relaytest.Serve(b, s)
	first := h.open(b)
	for i := 1; i < 10; i++ {
		c := h.join(b, first, fmt.Sprint("room ", i), uint64(i-1))
		go func() {
			for range c.Events() { // until the end
			}
		}()
	}
	go func() {
		for range first.Events() { // until the end
		}
	}()
	msg := application(9, strings.Repeat("x", 1024))
	b.ReportAllocs()
	for b.Loop() {
		if err := first.Send(b.Context(), msg); err != nil {
			b.Fatal(err)
		}
	}
}
