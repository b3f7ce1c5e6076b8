// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"embed"
	"encoding/binary"
	"encoding/json"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"

	"incamera/media/frame"
)

//go:embed stage
var stageFiles embed.FS

// stagePolicy lets the page load its own files and talk to its own room.
const stagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// patience is how long a page may take to accept a message or to ask for the
// next one. Somebody who debugs the page may stop it for that long.
const patience = 20 * time.Second

// Handler serves the display to browsers on this computer:
//
//	GET /           a dark page that fills the window with the stage
//	GET /watch      WebSocket: a JPEG for each message of the page, 10 a second at most
//	GET /listen     WebSocket: what the loudspeaker plays, 16-bit little-endian mono at 48 kHz
//	GET /stage.jpg  the picture that is shown
//	GET /witness    the Report of the Witness as JSON
//
// speaker may be nil: there is nothing to listen to. Requests that come from
// another computer, or under a name that is not of this computer, are refused;
// so are WebSockets of pages from elsewhere.
func (d *Display) Handler(speaker *Duplex) http.Handler {
	mux := http.NewServeMux()
	for path, file := range map[string]string{
		"GET /{$}": "stage.html", "GET /stage.css": "stage.css", "GET /stage.js": "stage.js", "GET /loudspeaker.js": "loudspeaker.js",
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, stageFiles, "stage/"+file)
		})
	}
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /watch", d.watch)
	mux.HandleFunc("GET /listen", func(w http.ResponseWriter, r *http.Request) {
		if speaker == nil {
			http.Error(w, "this display has no loudspeaker", http.StatusNotFound)
			return
		}
		d.listen(w, r, speaker)
	})
	mux.HandleFunc("GET /stage.jpg", func(w http.ResponseWriter, _ *http.Request) {
		picture, _, err := d.JPEG()
		if err != nil {
			http.Error(w, "the stage could not be encoded", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "image/jpeg")
		w.Header().Set("Content-Length", strconv.Itoa(len(picture)))
		_, _ = w.Write(picture) // a browser that is gone needs none
	})
	mux.HandleFunc("GET /witness", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(d.witness.Report())
	})
	return local(mux)
}

// local lets in this computer alone. The Host must be a name of this computer:
// otherwise a foreign page could reach the stage under a name of its own that
// resolves to 127.0.0.1.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", stagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		remote, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil || !net.ParseIP(remote).IsLoopback() {
			http.Error(w, "the stage is shown on its own computer only", http.StatusForbidden)
			return
		}
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
			host = host[1 : len(host)-1]
		}
		if host != "localhost" && !net.ParseIP(host).IsLoopback() {
			http.Error(w, "unknown host", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// watch sends a picture for each message that the page sends.
func (d *Display) watch(w http.ResponseWriter, r *http.Request) {
	select {
	case <-d.closed:
		http.Error(w, "the display is dark", http.StatusServiceUnavailable)
		return
	default:
	}
	c, err := websocket.Accept(w, r, nil) // it compares Origin with Host
	if err != nil {
		return // Accept has answered
	}
	defer c.CloseNow() //nolint:errcheck // the connection is over
	c.SetReadLimit(16)
	tick := time.NewTicker(streamInterval)
	defer tick.Stop()
	var sent uint64
	for first := true; ; first = false {
		if err := within(r.Context(), func(ctx context.Context) error { _, _, err := c.Read(ctx); return err }); err != nil {
			return
		}
		for {
			picture, n, err := d.JPEG()
			if err != nil {
				return
			}
			if first || n != sent {
				sent = n
				if within(r.Context(), func(ctx context.Context) error { return c.Write(ctx, websocket.MessageBinary, picture) }) != nil {
					return
				}
				break
			}
			select {
			case <-tick.C:
			case <-d.closed:
				_ = c.Close(websocket.StatusGoingAway, "the display is dark")
				return
			case <-r.Context().Done():
				return
			}
		}
		select { // ten a second
		case <-tick.C:
		case <-d.closed:
			_ = c.Close(websocket.StatusGoingAway, "the display is dark")
			return
		case <-r.Context().Done():
			return
		}
	}
}

// listen sends what the loudspeaker plays until the page goes.
func (d *Display) listen(w http.ResponseWriter, r *http.Request, speaker *Duplex) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()              //nolint:errcheck // the connection is over
	ctx := c.CloseRead(r.Context()) // the page says nothing
	ear := speaker.Listen()
	defer ear.Close()
	var pcm frame.PCM
	message := make([]byte, 0, 2*frame.PeriodSamples)
	for {
		if err := within(ctx, func(ctx context.Context) error { return ear.Next(ctx, &pcm) }); err != nil {
			_ = c.Close(websocket.StatusGoingAway, "the loudspeaker is silent")
			return
		}
		message = message[:0]
		for _, v := range &pcm.Samples {
			message = binary.LittleEndian.AppendUint16(message, uint16(int16(math.Round(float64(bounded(v))*32767))))
		}
		if within(ctx, func(ctx context.Context) error { return c.Write(ctx, websocket.MessageBinary, message) }) != nil {
			return
		}
	}
}

func within(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return f(ctx)
}
