// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestNodes checks the declaration: names that survive the way to HTTP and
// back, no name twice, words for each, and types that hold together.
func TestNodes(t *testing.T) {
	name := regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)
	seen := map[string]bool{}
	for _, n := range Nodes() {
		if seen[n.Path] || n.Text == "" {
			t.Errorf("%s stands twice or says nothing", n.Path)
		}
		seen[n.Path] = true
		root, rest, _ := strings.Cut(n.Path, "/")
		if want := map[Kind]string{Value: "Status", Command: "Command", Event: "Event"}[n.Kind]; root != want {
			t.Errorf("%s is not in %s", n.Path, want)
		}
		var parts []string
		for part := range strings.SplitSeq(rest, "/") {
			if part == "+" {
				parts = append(parts, "Some-id.9")
				continue
			}
			if !name.MatchString(part) {
				t.Errorf("%s is no name", part)
			}
			parts = append(parts, kebab(part))
		}
		path, b := fromKebab(root, strings.Join(parts, "/"))
		if b == nil || b.node == nil || b.node.Path != n.Path || strings.ReplaceAll(path, "Some-id.9", "+") != n.Path {
			t.Errorf("%s comes back from HTTP as %s", n.Path, path)
		}
		for _, f := range n.Fields {
			if !name.MatchString(f.Name) || f.Text == "" {
				t.Errorf("%s has the field %q %q", n.Path, f.Name, f.Text)
			}
		}
	}
}

// TestTypes checks that the page's types have the same names as the tree.
func TestTypes(t *testing.T) {
	text, err := os.ReadFile("ui/src/tree.ts")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if n.Kind != Value || n.Explicit {
			continue
		}
		parts := strings.Split(n.Path, "/")
		leaf := parts[len(parts)-1]
		if !regexp.MustCompile(`\b` + leaf + `\?:`).Match(text) {
			t.Errorf("tree.ts does not know %s", n.Path)
		}
		for _, word := range n.Type.Of {
			if !strings.Contains(string(text), `"`+word+`"`) {
				t.Errorf("tree.ts does not know that %s may be %s", n.Path, word)
			}
		}
	}
}

// TestPublish has values that fit and values that do not.
func TestPublish(t *testing.T) {
	type any2 = map[string]any
	for _, tt := range []struct {
		name string
		path string
		v    any
		want string // what is at the path after; empty: nothing was published
	}{
		{"enum", "Call/State", "Idle", `"Idle"`},
		{"other word", "Call/State", "Sleeping", ""},
		{"number", "Audio/Volume", 7, "7"},
		{"too much", "Audio/Volume", 101, ""},
		{"fraction", "Audio/Volume", 1.5, ""},
		{"not a number", "Audio/Volume", math.NaN(), ""},
		{"text for flag", "Audio/Silent", "true", ""},
		{"list", "Audio/Mute/Sources", []string{"Panel"}, `["Panel"]`},
		{"no list", "Audio/Mute/Sources", []string(nil), `[]`},
		{"long list", "Call/Codecs", make([]string, maxEntries+1), ""},
		{"time", "Call/Since", start.In(time.FixedZone("x", 3600)), `"2026-11-03T09:02:00.000Z"`},
		{"no time", "Call/Since", "yesterday", ""},
		{"not declared", "Call/Weather", "rain", ""},
		{"event as state", "Call/Incoming", "x", ""},
		{"id with a slash", "Lobby/Waiting/a/b", Waiting{}, ""},
		{"id of a script", "Lobby/Waiting/__proto__", any2{"Name": "x"}, ""},
		{"controls", "System/Name", "Sa\u202elle\x00 3\xff", `"Salle 3` + "\ufffd" + `"`},
		{"markup stays text", "System/Name", "<b>", `"<b>"`},
		{"long", "System/Name", strings.Repeat("é", 500), `"` + strings.Repeat("é", maxText-1) + `…"`},
		{"branch with a stranger", "Audio/Mute", any2{"State": "On", "Sources": []string{}, "Colour": "red"}, ""},
		{"text for a branch", "Audio/Mute", "On", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBox(t)
			seq := b.srv.store.now()
			b.srv.Publish(func(tx *Tx) {
				tx.Set("Stage/Layout", "Speaker") // as it is: takes no Seq
				tx.Set(tt.path, tt.v)
			})
			if tt.want == "" {
				if b.srv.store.now() != seq {
					t.Error("was published")
				}
				return
			}
			got, refusal := b.srv.store.get("Status/"+tt.path, RolePanel)
			if refusal != nil {
				t.Fatal(refusal)
			}
			if text, _ := encode(got.Value); string(text) != tt.want {
				t.Errorf("got %s, want %s", text, tt.want)
			}
		})
	}
}

// TestCollections bounds them.
func TestCollections(t *testing.T) {
	b := newBox(t)
	b.srv.Publish(func(tx *Tx) {
		for i := range 1000 {
			tx.Set(fmt.Sprintf("Lobby/Waiting/w%d", i), Waiting{Name: "x", Verdict: "none", Why: "NotInvited"})
		}
	})
	if n := b.srv.store.entries("Status/Lobby/Waiting"); n != collections["Status/Lobby/Waiting"] {
		t.Errorf("%d wait", n)
	}
}

// FuzzRequest checks that what is accepted as a request is one: valid JSON-RPC
// 2.0 with an id, no key twice, and written again it reads the same.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"Tree.Get","params":{"Path":"Status"}}`,
		`{"jsonrpc":"2.0","id":"a","method":"Command/Audio/Mute"}`,
		`{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}`, `[]`, `[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]`, `{"jsonrpc":"2.0","id":1e3,"method":"x"}`,
		"{\"jsonrpc\":\"2.0\",\"id\":\"\\ud800\",\"method\":\"x\"}", `{"a":{"b":1,"b":2}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		req, refusal := parseRequest(data)
		if !json.Valid(req.id) {
			t.Fatalf("the id to answer to is %q", req.id)
		}
		if refusal != nil {
			if _, known := meanings[refusal.Reason]; !known {
				t.Fatalf("unknown reason %s", refusal.Reason)
			}
			return
		}
		if len(data) > 0 && !json.Valid(data) {
			t.Fatal("accepted what is no JSON")
		}
		text, err := encode(map[string]any{"jsonrpc": "2.0", "id": req.id, "method": req.method, "params": req.params})
		if err != nil {
			t.Fatal(err)
		}
		again, refusal := parseRequest(text)
		if refusal != nil || again.method != req.method || string(again.id) != string(req.id) {
			t.Fatalf("written again as %s: %v", text, refusal)
		}
		if a, _ := encode(req.params); !slices.Equal(a, func() []byte { b, _ := encode(again.params); return b }()) {
			t.Fatal("other parameters")
		}
	})
}

// FuzzQuery checks queries against a naive twin that tries every way to read
// them, and that Explicit nodes need their name.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{"Status/**", "**", "Status/*/Mute", "Status/Roster/Members/x/Name", "Status/**/Name", "Event/Lobby/*", "Status/Audio/Levels", "*/*"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, q string) {
		p, refusal := parseQuery(q, RolePanel)
		if refusal != nil {
			return
		}
		var source strings.Builder
		source.WriteString("^")
		for _, s := range p {
			switch s {
			case "**":
				source.WriteString("(?:/[^/]+)*")
			case "*":
				source.WriteString("/[^/]+")
			default:
				source.WriteString("/" + regexp.QuoteMeta(s))
			}
		}
		twin, err := regexp.Compile(source.String() + "$")
		if err != nil {
			return // a name that no expression can hold
		}
		for _, n := range nodes {
			path := strings.ReplaceAll(n.Path, "+", "x")
			if got, want := p.matches(strings.Split(path, "/")), twin.MatchString("/"+path); got != want {
				t.Fatalf("%q matches %s: %v, want %v", q, path, got, want)
			}
			if p.matches(strings.Split(path, "/")) && !p.touches(strings.Split(path, "/")[:2]) {
				t.Fatalf("%q matches %s and does not touch above it", q, path)
			}
		}
	})
}

func BenchmarkDelta(b *testing.B) {
	room := newBox(b)
	for i := range 60 {
		room.srv.Publish(func(tx *Tx) {
			tx.Set(fmt.Sprintf("Roster/Members/m%d", i), Member{Name: "x", Verdict: "none", Link: "Good"})
		})
	}
	f := newFeed(room.srv.store, everything(b, RolePanel), 0)
	f.start()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		room.srv.Publish(func(tx *Tx) { tx.Set("Audio/Volume", i%100) })
		if f.collect(time.Time{}) == nil {
			b.Fatal("nothing new")
		}
	}
}
