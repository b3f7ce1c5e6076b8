// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"incamera/device/panel/ui"
)

// TestWords checks that the page has words in every language for each code that
// the room may say of a set-up or an update. The updater's codes are read from
// its source, as the islands do not import one another.
func TestWords(t *testing.T) {
	source, err := os.ReadFile("../../secureboot/update/update.go")
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, m := range regexp.MustCompile(`(?m)^\t\w+\s+Reason = "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		keys = append(keys, "up.why."+m[1])
	}
	if len(keys) < 16 {
		t.Fatalf("only %d codes found in the updater's source", len(keys))
	}
	for path, prefix := range map[string]string{"Status/Enrolment/LastError": "setup.err.", "Status/Updates/State": "up."} {
		for _, word := range lookup(path).node.Type.Of {
			if word != "Idle" {
				keys = append(keys, prefix+word)
			}
		}
	}
	for _, language := range languages.Of {
		text, err := os.ReadFile("ui/src/texts/" + language + ".ts")
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			said := regexp.MustCompile(`(?m)^  "` + regexp.QuoteMeta(key) + `": "([^"]{4,})",$`).FindSubmatch(text)
			switch {
			case said == nil:
				t.Errorf("%s has no words for %s", language, key)
			case strings.HasPrefix(key, "setup.err.") && bytes.Count(said[1], []byte("|")) != 1:
				t.Errorf("%s: %s needs a title and what to do", language, key)
			}
		}
	}
}

// TestSize holds the page to what panel.md allows: 150 KB compressed.
func TestSize(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	total := 0
	for _, name := range []string{"index.html", "app.js", "style.css", "icon.svg"} {
		text, err := fs.ReadFile(ui.Files(), name)
		if err != nil {
			if os.Getenv("REQUIRE_BROWSER") == "1" {
				t.Fatal(err)
			}
			t.Skip("the page is not bundled: run make ui")
		}
		total += len(text)
		if _, err := z.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("the page has %d bytes, %d compressed", total, packed.Len())
	if packed.Len() > 150<<10 {
		t.Errorf("the page has %d bytes compressed", packed.Len())
	}
}
