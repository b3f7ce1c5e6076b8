// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"incamera/device/panel/ui"
)

// A browser is one page of Chromium, with what it complained about.
type browser struct {
	t   testing.TB
	ctx context.Context

	mu         sync.Mutex
	complaints []string
}

const chromium = "/usr/bin/chromium"

// open starts Chromium with a profile of its own.
func open(t *testing.T) *browser {
	t.Helper()
	missing := ""
	if _, err := exec.LookPath(chromium); err != nil {
		missing = chromium + " is not installed"
	} else if newPage(ui.Files()).files["/app.js"].text == nil {
		missing = "the page is not bundled: run make ui"
	}
	if missing != "" {
		if os.Getenv("REQUIRE_BROWSER") == "1" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	flags := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(chromium), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.Headless,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.WSURLReadTimeout(time.Minute),
	}
	for _, name := range []string{"disable-gpu", "disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage"} {
		flags = append(flags, chromedp.Flag(name, true))
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), flags...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	b.run(chromedp.Func(b.prepare))
	return b
}

// prepare listens for complaints and asks for less motion.
func (b *browser) prepare(ctx context.Context, target *chromedp.Target) error {
	go func() {
		for e, err := range cdp.Events(b.ctx, target, runtime.ExceptionThrown) {
			if err == nil {
				b.complain("exception: " + e.ExceptionDetails.Text)
			}
		}
	}()
	go func() {
		for e, err := range cdp.Events(b.ctx, target, runtime.ConsoleAPICalled) {
			if err == nil && (e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning) {
				b.complain(fmt.Sprintf("console: %s", e.Args[0].Value))
			}
		}
	}()
	go func() { // violations of the content policy are among these
		for e, err := range cdp.Events(b.ctx, target, cdplog.EntryAdded) {
			if err == nil && (e.Entry.Level == cdplog.EntryLevelError || e.Entry.Level == cdplog.EntryLevelWarning) {
				b.complain(fmt.Sprintf("log: %s %s", e.Entry.Text, e.Entry.URL))
			}
		}
	}()
	if _, err := cdp.Call(ctx, target, cdplog.Enable, cdp.Empty{}); err != nil {
		return err
	}
	if _, err := cdp.Call(ctx, target, runtime.Enable, cdp.Empty{}); err != nil {
		return err
	}
	still := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}}
	_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, still)
	return err
}

func (b *browser) complain(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, text)
}

// heard returns what the browser complained about, and forgets it.
func (b *browser) heard() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.complaints
	b.complaints = nil
	return out
}

func (b *browser) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// eval runs a script and returns what it is.
func eval[T any](b *browser, script string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script))
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// until polls a script until it is true.
func (b *browser) until(script string) {
	b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !eval[bool](b, "!!("+script+")"); {
		if time.Now().After(deadline) {
			b.t.Fatalf("never true: %s; the page says\n%s\nand complains %q", script, eval[string](b, `document.body.innerText`), b.heard())
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-b.ctx.Done():
			b.t.Fatal(b.ctx.Err())
		}
	}
}

func (b *browser) touch(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf("document.querySelector(%q)", selector))
	b.run(chromedp.Click(chromedp.CSS(selector)))
}

func (b *browser) size(width, height int64) {
	b.t.Helper()
	b.run(chromedp.EmulateViewport(width, height))
}

// shoot stores a picture of the page.
func (b *browser) shoot(folder, name string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+".png"), png, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
