// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// A branch is one level of the declared tree. A leaf has a node; the one child
// of a collection is called "+".
type branch struct {
	node     *Node
	children map[string]*branch
}

// schema is the declared tree; its first level is Status, Command and Event.
var schema = sync.OnceValue(func() *branch {
	root := &branch{}
	for i := range nodes {
		b := root
		for name := range strings.SplitSeq(nodes[i].Path, "/") {
			if b.children == nil {
				b.children = map[string]*branch{}
			}
			if b.children[name] == nil {
				b.children[name] = &branch{}
			}
			b = b.children[name]
		}
		b.node = &nodes[i]
	}
	return root
})

// schemaHash names the declaration, so that a client sees that it changed.
var schemaHash = sync.OnceValue(func() string {
	text, err := json.Marshal(nodes)
	if err != nil {
		panic(err) // nodes holds nothing but texts and numbers
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
})

// validID is what an id of a collection may be: a path of the tree, of a URL and
// a property of a script carry it unescaped. It cannot begin with "_", so that
// it is no "__proto__".
var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$`)

// collection reports whether the children of b are named by ids.
func (b *branch) collection() bool { return b.children["+"] != nil }

// child returns what name leads to, or nil.
func (b *branch) child(name string) *branch {
	if b.collection() {
		if validID.MatchString(name) {
			return b.children["+"]
		}
		return nil
	}
	return b.children[name]
}

// lookup returns the declaration of path, or nil.
func lookup(path string) *branch {
	b := schema()
	for name := range strings.SplitSeq(path, "/") {
		if b = b.child(name); b == nil {
			return nil
		}
	}
	return b
}

// kebab spells a name as HTTP does: BootId is boot-id.
func kebab(name string) string {
	var out strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			out.WriteByte('-')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}

// fromKebab finds the path below root that HTTP spells as path. Ids are spelled
// alike on both sides.
func fromKebab(root, path string) (string, *branch) {
	b, out := schema().children[root], root
	for part := range strings.SplitSeq(path, "/") {
		if b.collection() {
			b = b.child(part)
		} else {
			var next *branch
			for name, c := range b.children {
				if kebab(name) == part {
					part, next = name, c
					break
				}
			}
			b = next
		}
		if b == nil {
			return "", nil
		}
		out += "/" + part
	}
	return out, b
}

// fit checks v, as encoding/json decodes it, against t and returns what is kept:
// names that come from other rooms are cleaned and cut, nothing else is mended.
func (t Type) fit(v any) (any, *Refusal) {
	switch t.Base {
	case Text:
		s, ok := v.(string)
		if !ok {
			return nil, refusef(InvalidParams, "must be a string")
		}
		if t.Of != nil && !slices.Contains(t.Of, s) {
			return nil, refusef(InvalidParams, "must be one of %s", strings.Join(t.Of, ", "))
		}
		return clean(s, t.Max), nil
	case Number:
		n, ok := v.(json.Number)
		if !ok {
			return nil, refusef(InvalidParams, "must be a number")
		}
		i, err := n.Int64()
		if err != nil {
			return nil, refusef(InvalidParams, "must be a whole number")
		}
		if i < int64(t.Min) || i > int64(t.Max) {
			r := refusef(ValueOutOfRange, "must be %d to %d", t.Min, t.Max)
			r.Min, r.Max = t.Min, t.Max
			return nil, r
		}
		return int(i), nil
	case Flag:
		if _, ok := v.(bool); !ok {
			return nil, refusef(InvalidParams, "must be true or false")
		}
		return v, nil
	case Instant:
		s, ok := v.(string)
		if !ok {
			return nil, refusef(InvalidParams, "must be a time")
		}
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return nil, refusef(InvalidParams, "must be a time of RFC 3339")
		}
		return at.UTC().Format("2006-01-02T15:04:05.000Z07:00"), nil
	case Texts:
		list, ok := v.([]any)
		if v == nil {
			list, ok = []any{}, true // a nil slice of Go
		}
		if !ok || len(list) > t.Max {
			return nil, refusef(InvalidParams, "must be a list of at most %d strings", t.Max)
		}
		out := make([]string, len(list))
		for i, e := range list {
			s, ok := e.(string)
			if !ok {
				return nil, refusef(InvalidParams, "must be a list of strings")
			}
			out[i] = clean(s, maxText)
		}
		return out, nil
	}
	return nil, refusef(Internal, "no such type")
}

// clean takes from a text what could make it read otherwise than it is (controls
// and marks of direction) and cuts it to limit runes.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if utf8.RuneCountInString(s) > limit {
		s = string([]rune(s)[:limit-1]) + "…"
	}
	return s
}
