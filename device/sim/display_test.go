// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"image"
	"image/jpeg"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"incamera/media/frame"
)

func newDisplay(t testing.TB, width, height, rate int) *Display {
	t.Helper()
	d, err := NewDisplay(frame.Mode{Width: width, Height: height, Rate: rate})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestPresentKeepsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisplay(t, 64, 48, 60)
		if d.Mode() != (frame.Mode{Width: 64, Height: 48, Rate: 60}) {
			t.Errorf("Mode = %+v", d.Mode())
		}
		began := time.Now()
		var first time.Duration
		var last *frame.Picture
		for n := range 120 {
			p := d.Next()
			if p == last {
				t.Fatal("the canvas is the picture that is shown")
			}
			last = p
			at, err := d.Present(p)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				first = at
			}
			if want := time.Duration(n) * time.Second / 60; at-first != want || time.Since(began) != want {
				t.Fatalf("picture %d is shown at %v, after %v; want %v", n, at-first, time.Since(began), want)
			}
		}
		// Late by a picture and a half: the next blank counts.
		time.Sleep(25 * time.Millisecond)
		at, err := d.Present(d.Next())
		if err != nil || at-first < time.Since(began)-time.Second/60 || at-first > time.Since(began) {
			t.Errorf("shown at %v, %v; it is %v", at-first, err, time.Since(began))
		}
		if _, err := d.Present(frame.NewPicture(64, 48)); err == nil {
			t.Error("a foreign picture was presented")
		}
		_ = d.Close()
		_ = d.Close()
		if _, err := d.Present(d.Next()); err == nil {
			t.Error("a picture was presented after Close")
		}
	})
	for _, m := range []frame.Mode{{}, {Width: 63, Height: 48, Rate: 60}, {Width: 64, Height: 48}, {Width: 64, Height: 48, Rate: 1000}} {
		if _, err := NewDisplay(m); err == nil {
			t.Errorf("a display of %+v was made", m)
		}
	}
}

func TestPresentAllocatesNothing(t *testing.T) {
	d := newDisplay(t, 640, 360, 240)
	if _, err := d.Present(d.Next()); err != nil {
		t.Fatal(err)
	}
	Stamp{Number: 1}.Write(d.Next())
	least := 1.0
	for range 10 { // other goroutines of the process count, too: the least is ours
		least = min(least, testing.AllocsPerRun(10, func() {
			if _, err := d.Present(d.Next()); err != nil {
				t.Fatal(err)
			}
		}))
	}
	if least != 0 {
		t.Errorf("Present allocates %v times", least)
	}
}

// TestJPEGIsFullRange: white on the stage is white in the browser.
func TestJPEGIsFullRange(t *testing.T) {
	d := newDisplay(t, 64, 48, 240)
	for _, tt := range []struct{ y, want byte }{{16, 0}, {235, 255}, {126, 128}} {
		d.Next().Fill(tt.y, 128, 128)
		if _, err := d.Present(d.Next()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(streamInterval) // the encoding before is kept for that long
		b, _, err := d.JPEG()
		if err != nil {
			t.Fatal(err)
		}
		img, err := jpeg.Decode(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if r, g, b, _ := img.At(30, 20).RGBA(); absDiff(r>>8, tt.want) > 2 || absDiff(g>>8, tt.want) > 2 || absDiff(b>>8, tt.want) > 2 {
			t.Errorf("luma %d is shown as %d %d %d; want %d", tt.y, r>>8, g>>8, b>>8, tt.want)
		}
	}
}

func absDiff(a uint32, b byte) int { return max(int(a)-int(b), int(b)-int(a)) }

func TestNobodyWatchesNothingIsEncoded(t *testing.T) {
	d := newDisplay(t, 64, 48, 240)
	for range 5 {
		if _, err := d.Present(d.Next()); err != nil {
			t.Fatal(err)
		}
	}
	if d.encoded != nil {
		t.Error("a picture was encoded for nobody")
	}
	a, n, err := d.JPEG()
	b, m, err2 := d.JPEG()
	if err != nil || err2 != nil || n != 5 || m != 5 || &a[0] != &b[0] {
		t.Errorf("two who watch get different encodings of pictures %d and %d: %v, %v", n, m, err, err2)
	}
}

// get returns a response whose body has been read.
func get(t *testing.T, url, host string, header http.Header) (status int, head http.Header, body []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	for k, v := range header {
		r.Header[k] = v
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, body
}

func TestStageOverHTTP(t *testing.T) {
	d := newDisplay(t, 64, 48, 240)
	server := httptest.NewServer(d.Handler(nil))
	defer server.Close()
	for _, tt := range []struct {
		path, host, kind string
		status           int
	}{
		{"/", "", "text/html; charset=utf-8", 200},
		{"/", "localhost:8080", "text/html; charset=utf-8", 200},
		{"/", "[::1]:8080", "text/html; charset=utf-8", 200},
		{"/stage.js", "", "text/javascript; charset=utf-8", 200},
		{"/loudspeaker.js", "", "text/javascript; charset=utf-8", 200},
		{"/stage.css", "", "text/css; charset=utf-8", 200},
		{"/stage.jpg", "", "image/jpeg", 200},
		{"/witness", "", "application/json", 200},
		{"/listen", "", "text/plain; charset=utf-8", 404}, // no loudspeaker
		{"/stage.go", "", "text/plain; charset=utf-8", 404},
		{"/../display.go", "", "", 404},
		{"/", "rebound.example", "text/plain; charset=utf-8", 421},
		{"/", "rebound.example:80", "text/plain; charset=utf-8", 421},
		{"/witness", "10.0.0.7", "text/plain; charset=utf-8", 421},
		{"/witness", "localhost.example", "text/plain; charset=utf-8", 421},
	} {
		status, head, _ := get(t, server.URL+tt.path, tt.host, nil)
		if status != tt.status || tt.kind != "" && head.Get("Content-Type") != tt.kind {
			t.Errorf("%s at %q: %d, %s; want %d, %s", tt.path, tt.host, status, head.Get("Content-Type"), tt.status, tt.kind)
		}
		if csp := head.Get("Content-Security-Policy"); tt.status == 200 && (!strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe")) {
			t.Errorf("%s has the policy %q", tt.path, csp)
		}
	}
	if _, _, page := get(t, server.URL+"/", "", nil); bytes.Contains(page, []byte("style=")) || bytes.Contains(page, []byte("<script>")) {
		t.Error("the page has inline code or style")
	}

	r := httptest.NewRequest(http.MethodGet, "/stage.jpg", nil)
	r.Host, r.RemoteAddr = "localhost", "192.0.2.7:1234"
	w := httptest.NewRecorder()
	d.Handler(nil).ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("another computer gets %d", w.Code)
	}
}

func TestWatchAndListen(t *testing.T) {
	d := newDisplay(t, 64, 48, 60)
	duplex := newDuplex(t, Sound{})
	server := httptest.NewServer(d.Handler(duplex))
	defer server.Close()
	address := "ws" + strings.TrimPrefix(server.URL, "http")

	for _, path := range []string{"/watch", "/listen"} {
		status, _, _ := get(t, server.URL+path, "", http.Header{
			"Origin": {"https://elsewhere.example"}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"},
			"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
		})
		if status != http.StatusForbidden {
			t.Errorf("a page from elsewhere gets %d from %s", status, path)
		}
	}

	watch, _, err := websocket.Dial(t.Context(), address+"/watch", nil) //nolint:bodyclose // the library closes it
	if err != nil {
		t.Fatal(err)
	}
	defer watch.CloseNow()
	listen, _, err := websocket.Dial(t.Context(), address+"/listen", nil) //nolint:bodyclose // the library closes it
	if err != nil {
		t.Fatal(err)
	}
	defer listen.CloseNow()

	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // the room: a stage and its sound
		defer close(stopped)
		var play, heard frame.PCM
		play.Samples[0] = 0.5
		for {
			select {
			case <-stop:
				return
			default:
			}
			d.Next().Fill(100, 128, 128)
			if _, err := d.Present(d.Next()); err != nil {
				t.Error(err)
				return
			}
			if err := duplex.Exchange(t.Context(), &play, &heard); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	var last []byte
	for n := range 3 {
		if err := watch.Write(t.Context(), websocket.MessageText, nil); err != nil {
			t.Fatal(err)
		}
		kind, b, err := watch.Read(t.Context())
		if err != nil || kind != websocket.MessageBinary {
			t.Fatalf("picture %d: %v, %v", n, kind, err)
		}
		if _, err := jpeg.Decode(bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		last = b
	}
	if config, err := jpeg.DecodeConfig(bytes.NewReader(last)); err != nil || config.Width != 64 || config.Height != 48 {
		t.Errorf("the picture is %+v, %v", config, err)
	}
	kind, sound, err := listen.Read(t.Context())
	if err != nil || kind != websocket.MessageBinary || len(sound) != 2*frame.PeriodSamples {
		t.Fatalf("sound: %v, %d bytes, %v", kind, len(sound), err)
	}
	if v := int16(binary.LittleEndian.Uint16(sound)); v < 16380 || v > 16387 {
		t.Errorf("the first sample is %d; want a half of full scale", v)
	}
	close(stop)
	<-stopped
	_ = d.Close() // whoever watches learns it
	if err := watch.Write(t.Context(), websocket.MessageText, nil); err != nil {
		return
	}
	for {
		if _, _, err := watch.Read(t.Context()); err != nil {
			return
		}
	}
}

// present shows the room's picture with this number, taken latency ago.
func present(t *testing.T, d *Display, s *Scene, number uint32, latency time.Duration, change func(p *frame.Picture)) {
	t.Helper()
	p := d.Next()
	s.Draw(p, uint64(number), 0)
	d.pace.skip()
	Stamp{number, d.pace.tick() - latency}.Write(p)
	if change != nil {
		change(p)
	}
	if _, err := d.Present(p); err != nil {
		t.Fatal(err)
	}
}

// TestWitness runs where drawing takes no time.
func TestWitness(t *testing.T) { synctest.Test(t, testWitness) }

func testWitness(t *testing.T) {
	d := newDisplay(t, 640, 360, 240)
	d.pace = newPacer(240, time.Second)
	s := newScene(t, "Curie", 640, 360)
	w := d.Witness()
	if r := w.Report(); r.Frames != 0 || r.FirstPictureMS != -1 || r.LatencyP95MS != -1 || r.PSNRMinDB != -1 {
		t.Errorf("before anything happened: %+v", r)
	}
	w.Expect("Curie")
	dark := func(p *frame.Picture) { p.Fill(16, 128, 128) }
	present(t, d, s, 0, 0, dark)
	present(t, d, s, 0, 0, dark)
	for n := range uint32(40) {
		latency := 50 * time.Millisecond
		if n%10 == 9 {
			latency = 180 * time.Millisecond
		}
		present(t, d, s, 5+n, latency, nil)
	}
	present(t, d, s, 44, 0, nil) // once more
	present(t, d, s, 48, 50*time.Millisecond, nil)
	present(t, d, s, 47, 200*time.Millisecond, nil)
	r := w.Report()
	want := Report{
		Room: "Curie", Presented: 45, Unread: 2, Frames: 41, Repeats: 1, Missing: 3, Backwards: 1, First: 5, Last: 48,
		Compared: 2, PSNRMeanDB: maxPSNR, PSNRMinDB: maxPSNR,
	}
	if r.LatencyP50MS < 50 || r.LatencyP50MS > 52 || r.LatencyP95MS < 180 || r.LatencyP95MS > 182 || r.LatencyMaxMS < 179 || r.LatencyMaxMS > 181 {
		t.Errorf("latency %v, %v, %v ms; want 51, 181, 180", r.LatencyP50MS, r.LatencyP95MS, r.LatencyMaxMS)
	}
	if r.FirstPictureMS == -1 || r.LongestGapMS <= 0 {
		t.Errorf("first picture after %v ms, longest gap %v ms", r.FirstPictureMS, r.LongestGapMS)
	}
	r.LatencyP50MS, r.LatencyP95MS, r.LatencyMaxMS, r.FirstPictureMS, r.LongestGapMS = 0, 0, 0, 0, 0
	if r != want {
		t.Errorf("report\n%+v; want\n%+v", r, want)
	}

	// Another room's picture, a restart, and a tile.
	w.Expect("Nobel")
	present(t, d, s, 900, 0, nil)
	present(t, d, s, 3, 0, nil)
	if r := w.Report(); r.PSNRMinDB > 25 || r.Restarts != 1 || r.Missing != 0 || r.Frames != 2 {
		t.Errorf("Curie in place of Nobel: %+v", r)
	}
	w.ExpectIn("", image.Rect(320, 0, 640, 180), 640)
	present(t, d, s, 7, 0, func(p *frame.Picture) {
		q, half := new(frame.Picture), frame.NewPicture(320, 180)
		q.CopyFrom(p)
		fit(half, q)
		p.Fill(16, 128, 128)
		for y := range 180 {
			copy(p.Y()[y*640+320:], half.Y()[y*320:(y+1)*320])
		}
	})
	if r := w.Report(); r.Frames != 1 || r.First != 7 || r.Compared != 0 {
		t.Errorf("on a tile: %+v", r)
	}
	if b, err := json.Marshal(w.Report()); err != nil || !bytes.Contains(b, []byte(`"latency_p95_ms"`)) {
		t.Errorf("as JSON: %s, %v", b, err)
	}
}

// TestGreyStageFails: a stage that shows nothing passes for nothing.
func TestGreyStageFails(t *testing.T) {
	d := newDisplay(t, 640, 360, 240)
	d.pace = newPacer(240, time.Second)
	s := newScene(t, "Curie", 640, 360)
	d.Witness().Expect("Curie")
	for n := range uint32(10) {
		present(t, d, s, n, 0, func(p *frame.Picture) { p.Fill(126, 128, 128) })
	}
	if r := d.Witness().Report(); r.Frames != 0 || r.Unread != 10 {
		t.Errorf("a grey stage: %+v", r)
	}
	// A stamp over grey is read, but looks nothing like the room.
	present(t, d, s, 20, 0, func(p *frame.Picture) { p.Fill(126, 128, 128); Stamp{Number: 20}.Write(p) })
	if r := d.Witness().Report(); r.Frames != 1 || r.PSNRMinDB > 20 || r.FirstPictureMS <= 0 {
		t.Errorf("grey under a stamp: %+v", r)
	}
}

func BenchmarkJPEG720p(b *testing.B) {
	d := newDisplay(b, 1280, 720, 60)
	newScene(b, "Curie", 1280, 720).Draw(d.shown, 0, 0)
	b.ReportAllocs()
	b.SetBytes(int64(len(d.shown.Pix)))
	for b.Loop() {
		d.encoded = nil
		if _, _, err := d.JPEG(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWitness720p(b *testing.B) {
	d := newDisplay(b, 1280, 720, 60)
	s := newScene(b, "Curie", 1280, 720)
	p := frame.NewPicture(1280, 720)
	s.Draw(p, 0, 0)
	d.Witness().Expect("Curie")
	b.ReportAllocs()
	b.SetBytes(int64(len(p.Pix)))
	n := uint32(0)
	for b.Loop() { // every thirtieth is drawn again and compared
		Stamp{Number: n}.Write(p)
		n++
		d.witness.observe(p, 0)
	}
}
