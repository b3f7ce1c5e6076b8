// SPDX-License-Identifier: Apache-2.0

//go:build e2e

// Package e2e boots the image under test, and judges it from outside.
package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"incamera/buildroot/e2e/harness"
	"incamera/buildroot/e2e/panel"
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

// panelReady is what roomd says once it serves the panel.
const panelReady = `"msg":"ready","part":"panel"`

// nameless is what a box calls itself before it is set up.
const nameless = "In Camera"

// panel waits until roomd says that it serves the panel of a box that belongs to
// no site yet, and asks it for its name.
func (r *boot) panel(t *testing.T) {
	t.Helper()
	r.expect(t, panelReady, "in-camera: stopped", "Kernel panic", "Dependency failed for")
	for {
		name, err := r.name()
		if err == nil {
			if name != nameless {
				t.Fatalf("the panel says that the box is %q", name)
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

// name asks the panel, as a panel does.
func (r *boot) name() (string, error) {
	ctx, cancel := context.WithTimeout(r.ctx, 10*time.Second)
	defer cancel()
	c, err := panel.Dial(ctx, r.Panel, panelHost)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.Name, nil
}
