// SPDX-License-Identifier: Apache-2.0

package panel

import (
	"slices"
	"strings"
)

const (
	maxQueries  = 32  // in one subscription
	maxQuery    = 256 // bytes
	maxSegments = 8   // deeper than the tree
)

// A pattern is a parsed query: names, "*" for one level, "**" for any number of
// levels, none included. A plain path stands for all that lies below it.
type pattern []string

// parseQuery checks a query against the declared tree: one that can never match
// is a mistake, and an explicit path that the role may not read is refused
// (wildcards just leave it out).
func parseQuery(q string, role Role) (pattern, *Refusal) {
	if len(q) > maxQuery {
		return nil, refusef(InvalidParams, "a query has at most %d bytes", maxQuery)
	}
	p := pattern(strings.Split(q, "/"))
	if len(p) > maxSegments {
		return nil, refusef(UnknownPath, "a query has at most %d levels", maxSegments)
	}
	if root := p[0]; root != "Status" && root != "Event" && root != "*" && root != "**" {
		r := refusef(UnknownPath, "a query begins with Status or Event")
		return nil, r
	}
	for i, s := range p { // what follows is exponential in these
		if s == "**" && slices.Contains(p[i+1:], "**") {
			return nil, refusef(InvalidParams, "a query has at most one \"**\"")
		}
	}
	plain := !slices.ContainsFunc(p, func(s string) bool { return s == "*" || s == "**" })
	if p[len(p)-1] != "**" {
		p = append(p, "**")
	}
	known, allowed := false, false
	for i := range nodes {
		n := &nodes[i]
		if n.Kind == Command || !p.matches(strings.Split(n.Path, "/")) {
			continue
		}
		known = true
		allowed = allowed || role.includes(n.Role)
	}
	switch {
	case !known:
		return nil, refusef(UnknownPath, "nothing can match the query")
	case plain && !allowed:
		return nil, refusef(ForbiddenRole, "the role may not read this")
	}
	return p, nil
}

// matches reports whether the pattern covers path. A "+" in the path, as
// declarations have it, stands for any id.
func (p pattern) matches(path []string) bool {
	for i, s := range p {
		if s == "**" {
			rest := p[i+1:]
			for j := i; j <= len(path); j++ {
				if rest.matches(path[j:]) {
					return true
				}
			}
			return false
		}
		if i >= len(path) {
			return false
		}
		if s != "*" && s != path[i] && (path[i] != "+" || !validID.MatchString(s)) {
			return false
		}
	}
	return len(p) == len(path)
}

// touches reports whether something at or below path may be covered.
func (p pattern) touches(path []string) bool {
	for i, name := range path {
		if i >= len(p) {
			return false
		}
		if p[i] == "**" {
			return true
		}
		if p[i] != "*" && p[i] != name {
			return false
		}
	}
	return true
}

// names reports whether the pattern says the parent of n's last name itself, as
// nodes that wildcards leave out demand.
func (p pattern) names(n *Node) bool {
	path := strings.Split(n.Path, "/")
	need := path[:len(path)-1]
	if len(need) == 2 { // a leaf directly below its branch must be named itself
		need = path
	}
	return len(p) >= len(need) && slices.Equal(p[:len(need)], need)
}

// A reader is what one client may see of the store through its queries.
type reader struct {
	role     Role
	patterns []pattern
}

func (r reader) sees(path string, n *Node) bool {
	if !r.role.includes(n.Role) {
		return false
	}
	segments := strings.Split(path, "/")
	for _, p := range r.patterns {
		if p.matches(segments) && (!n.Explicit || p.names(n)) {
			return true
		}
	}
	return false
}

// seesUnder reports whether something at or below path may be seen.
func (r reader) seesUnder(path string, n *Node) bool {
	segments := strings.Split(path, "/")
	return r.role.includes(n.Role) && slices.ContainsFunc(r.patterns, func(p pattern) bool { return p.touches(segments) })
}

// metered reports whether the reader asks for level meters, which have a rate of
// their own.
func (r reader) metered() bool {
	return slices.ContainsFunc(r.patterns, func(p pattern) bool {
		return slices.ContainsFunc(nodes, func(n Node) bool { return n.Explicit && p.names(&n) })
	})
}
