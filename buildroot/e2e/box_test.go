// SPDX-License-Identifier: Apache-2.0

//go:build e2e

// Package e2e boots the image under test, and judges it from outside.
package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coder/websocket"

	"incamera/buildroot/e2e/harness"
)

// bootFor bounds one boot: emulated, on a busy computer.
const bootFor = 4 * time.Minute

// A box is a machine under test.
type box struct {
	*harness.Machine

	releases string // folder of the releases A, B and C
	image    string // of these, what post-image.sh made of A
	keys     string
}

func newBox(t *testing.T) *box {
	t.Helper()
	return newBoxNumber(t, 0)
}

// The releases that the build makes for the tests: the one that a box leaves the
// factory with, one that raises the floor, and one that does not become healthy.
const (
	versionA = "1.0.0"
	versionB = "1.1.0"
	versionC = "1.2.0"
)

// newBoxNumber is newBox for a network of several.
func newBoxNumber(t *testing.T, number int) *box {
	t.Helper()
	image, keys := os.Getenv("E2E_IMAGE"), os.Getenv("E2E_KEYS")
	if image == "" || keys == "" {
		t.Fatal("run by make e2e, which builds the image and says where it is")
	}
	m, err := harness.New(t.Context(), t.TempDir(), number, filepath.Join(image, "disk.img"), keys)
	if err != nil {
		t.Fatal(err)
	}
	return &box{m, filepath.Dir(image), image, keys}
}

// A boot is a box that is on.
type boot struct {
	*harness.Run

	ctx context.Context //nolint:containedctx // one boot
}

// boot switches the box on; it goes off with the test.
func (b *box) boot(t *testing.T, name string) *boot {
	t.Helper()
	return b.bootWith(t, name, bootFor, harness.Options{})
}

// bootWith switches the box on, with what it has besides, for a time at most.
func (b *box) bootWith(t *testing.T, name string, limit time.Duration, o harness.Options) *boot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	r, err := b.Boot(ctx, name, o)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Stop()
		cancel()
		if t.Failed() {
			log, err := os.ReadFile(filepath.Join(b.Dir, name+".log"))
			t.Logf("console of boot %q (%v):\n%s", name, err, log)
		}
	})
	return &boot{r, ctx}
}

// stopped is what no boot may say that is to go well.
var stopped = []string{"in-camera: stopped", "Kernel panic", "RECOVERY:", "Access Denied"}

// expect waits for ok, and fails the test at once where the boot goes wrong.
func (r *boot) expect(t *testing.T, ok string, fail ...string) string {
	t.Helper()
	rest, err := r.Expect(r.ctx, ok, fail...)
	if err != nil {
		t.Fatal(err)
	}
	return rest
}

// setUp plays the person who sets a new room up, and returns its recovery key.
func (b *box) setUp(t *testing.T, r *boot) string {
	t.Helper()
	key := r.expect(t, "in-camera: RECOVERY KEY ", stopped...)
	r.expect(t, "then type it here", stopped...)
	if err := r.Type(key); err != nil {
		t.Fatal(err)
	}
	r.expect(t, "in-camera: unlocked the data by the TPM", stopped...)
	return key
}

// panel waits until roomd says that it serves the panel, and asks it for the
// room's name.
func (r *boot) panel(t *testing.T) {
	t.Helper()
	r.expect(t, `"msg":"ready","part":"panel"`, "in-camera: stopped", "Kernel panic", "Dependency failed for")
	for {
		name, err := r.name()
		if err == nil {
			if name != "Vauban" {
				t.Fatalf("the panel says that the room is %q", name)
			}
			return
		}
		select {
		case <-r.Off():
			t.Fatalf("the box went off; before that the panel: %v", err)
		case <-r.ctx.Done():
			t.Fatalf("the panel did not answer in time: %v", err)
		case <-time.After(askStep):
		}
	}
}

// askStep is how often to ask a panel that does not answer yet.
const askStep = 200 * time.Millisecond

// name opens the panel's API as a panel does, and returns the room's name in
// Session.Hello, which comes first.
func (r *boot) name() (string, error) {
	ctx, cancel := context.WithTimeout(r.ctx, 10*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+r.Panel+"/v1/ws", &websocket.DialOptions{
		Subprotocols: []string{"in-camera.v1"}, Host: "127.0.0.1:7445", // the panel serves its own address only
	})
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.CloseNow() }() // it is of no more use
	_, b, err := conn.Read(ctx)
	if err != nil {
		return "", err
	}
	var hello struct {
		Method string
		Params struct{ Room struct{ Name string } }
	}
	if err := json.Unmarshal(b, &hello); err != nil || hello.Method != "Session.Hello" {
		return "", fmt.Errorf("the panel greets with %q (%w)", b, err)
	}
	return hello.Params.Room.Name, nil
}
