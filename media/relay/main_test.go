// SPDX-License-Identifier: Apache-2.0

package relay_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails if a goroutine of ours, or of the WebSocket below, outlives
// the tests. It polls, as a connection's last goroutine may be about to return.
func TestMain(m *testing.M) {
	code := m.Run()
	for deadline := time.Now().Add(5 * time.Second); code == 0; time.Sleep(10 * time.Millisecond) {
		left := leaked()
		if left == "" {
			break
		}
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

func leaked() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for _, g := range strings.Split(string(buf), "\n\n")[1:] { // the first is this one
		if strings.Contains(g, "incamera/media/relay.") || strings.Contains(g, "coder/websocket") || strings.Contains(g, "net/http.") {
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}
