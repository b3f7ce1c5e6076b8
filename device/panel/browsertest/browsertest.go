// SPDX-License-Identifier: Apache-2.0

// Package browsertest gives tests a page in Debian's Chromium, and what the
// page complains about.
package browsertest

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"incamera/device/panel/ui"
)

// A Browser is one page of Chromium, with what it complained about.
type Browser struct {
	T   testing.TB // may be replaced by that of a subtest
	ctx context.Context

	mu         sync.Mutex
	complaints []string
}

const chromium = "/usr/bin/chromium"

// Open starts Chromium with a profile of its own and more flags.
func Open(t *testing.T, more ...chromedp.ExecAllocatorOption) *Browser {
	t.Helper()
	missing := ""
	if _, err := exec.LookPath(chromium); err != nil {
		missing = chromium + " is not installed"
	} else if _, err := fs.Stat(ui.Files(), "app.js"); err != nil {
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
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(flags, more...)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &Browser{T: t, ctx: ctx}
	b.Run(chromedp.Func(b.prepare))
	return b
}

// prepare listens for complaints and asks for less motion.
func (b *Browser) prepare(ctx context.Context, target *chromedp.Target) error {
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

func (b *Browser) complain(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, text)
}

// Heard returns what the browser complained about, and forgets it.
func (b *Browser) Heard() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.complaints
	b.complaints = nil
	return out
}

// Run carries out actions of chromedp.
func (b *Browser) Run(actions ...chromedp.Action[chromedp.Void]) {
	b.T.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.T.Fatal(err)
	}
}

// Eval runs a script and returns what it is.
func Eval[T any](b *Browser, script string) T {
	b.T.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script))
	if err != nil {
		b.T.Fatal(err)
	}
	return v
}

// Until polls a script until it is true.
func (b *Browser) Until(script string) {
	b.T.Helper()
	for deadline := time.Now().Add(20 * time.Second); !Eval[bool](b, "!!("+script+")"); {
		if time.Now().After(deadline) {
			b.T.Fatalf("never true: %s; the page says\n%s\nand complains %q", script, Eval[string](b, `document.body.innerText`), b.Heard())
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-b.ctx.Done():
			b.T.Fatal(b.ctx.Err())
		}
	}
}

// Touch waits for an element and clicks it.
func (b *Browser) Touch(selector string) {
	b.T.Helper()
	b.Until(fmt.Sprintf("document.querySelector(%q)", selector))
	b.Run(chromedp.Click(chromedp.CSS(selector)))
}

// Write waits for a place to write, empties it and types a text.
func (b *Browser) Write(selector, text string) {
	b.T.Helper()
	b.Until(fmt.Sprintf("document.querySelector(%q)", selector))
	Eval[bool](b, fmt.Sprintf("(e => { e.focus(); e.select(); return true })(document.querySelector(%q))", selector))
	b.Run(chromedp.KeyEvent(text))
	b.Until(fmt.Sprintf("document.querySelector(%q)?.value === %q", selector, text))
}

// Cookies returns the cookies of the page, those that it cannot see included.
func (b *Browser) Cookies() []*network.Cookie {
	b.T.Helper()
	var out []*network.Cookie
	b.Run(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		got, err := cdp.Call(ctx, target, network.GetCookies, network.GetCookiesParams{})
		if err == nil {
			out = got.Cookies
		}
		return err
	}))
	return out
}

// Size sets the size of the page in pixels.
func (b *Browser) Size(width, height int64) {
	b.T.Helper()
	b.Run(chromedp.EmulateViewport(width, height))
}

// Shoot stores a picture of the page as name.png in the folder.
func (b *Browser) Shoot(folder, name string) {
	b.T.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+".png"), png, 0o600)
	}
	if err != nil {
		b.T.Fatal(err)
	}
}

// Pictures returns the folder for pictures of the screens: SCREENSHOTS, or one
// that goes with the test.
func Pictures(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return t.TempDir()
	}
	if err := os.MkdirAll(folder, 0o750); err != nil { //nolint:gosec // who runs the tests names the folder
		t.Fatal(err)
	}
	return folder
}
