// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// A page is the bundled page, in memory.
type page struct {
	files map[string]asset
	hash  string // of all files: a panel reloads when it changes
}

type asset struct {
	kind string
	gzip bool // the text is compressed
	text []byte
	etag string
}

// served are the kinds of files that the page consists of.
var served = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".wasm": "application/wasm",
}

func newPage(files fs.FS) *page {
	p := &page{files: map[string]asset{}}
	all := sha256.New()
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return p // the page is missing, and is said to be
	}
	for _, e := range entries { // in order of names
		name, packed := strings.CutSuffix(e.Name(), ".gz")
		kind := served[path.Ext(name)]
		if kind == "" || !e.Type().IsRegular() {
			continue
		}
		text, err := fs.ReadFile(files, e.Name())
		if err != nil {
			continue
		}
		sum := sha256.Sum256(text)
		all.Write(sum[:])
		p.files["/"+name] = asset{kind, packed, text, `"` + hex.EncodeToString(sum[:12]) + `"`}
	}
	p.hash = "sha256:" + hex.EncodeToString(all.Sum(nil))
	return p
}

const missingPage = "The panel's page is not part of this build. Run \"make ui\" and build again.\n"

func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.problem(w, r, refusef(ReadOnly, "the page can only be read"))
		return
	}
	name := r.URL.Path
	pairs := name == "/pair" || (name == "/" && s.unpaired(r))
	switch {
	case pairs:
		name = "/pair.html"
	case name == "/":
		name = "/index.html"
	}
	if _, there := s.page.files["/index.html"]; !there {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(missingPage)) // fails only if the client is gone
		return
	}
	a, there := s.page.files[name]
	if !there {
		s.problem(w, r, refusef(UnknownPath, "there is nothing here"))
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Content-Security-Policy", pagePolicy(r, pairs))
	if a.gzip {
		h.Set("Content-Encoding", "gzip") // every browser that has WebAssembly takes it
	}
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), display-capture=()")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", a.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.text))
}

// pagePolicy is the content policy of the page. The host is written out because
// older Safari does not count WebSockets as 'self'; it is one of the room's own
// names by now.
//
// The page of pairing alone may load the module that takes the PIN.
func pagePolicy(r *http.Request, pairs bool) string {
	scripts := "script-src 'self'"
	if pairs {
		scripts += " 'wasm-unsafe-eval'"
	}
	socket := "wss://"
	if r.TLS == nil {
		socket = "ws://" // on loopback only
	}
	return strings.Join([]string{
		"default-src 'none'", scripts, "style-src 'self'", "img-src 'self'",
		"connect-src 'self' " + socket + r.Host,
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
		"require-trusted-types-for 'script'", "trusted-types 'none'",
	}, "; ")
}
