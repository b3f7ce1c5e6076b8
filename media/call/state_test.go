// SPDX-License-Identifier: Apache-2.0

package call

import "testing"

// TestEdges checks what must hold of any table: no state out of reach, no way
// into a meeting but by admission, and always a way out.
func TestEdges(t *testing.T) {
	reached := map[State]bool{Idle: true}
	for e, to := range edges {
		reached[to] = true
		if to == Connected && e.on != onAdmitted {
			t.Errorf("%v on %v connects without admission", e.from, e.on)
		}
		if to == e.from {
			t.Errorf("%v on %v goes nowhere", e.from, e.on)
		}
	}
	for s := Idle; s <= Leaving; s++ {
		if !reached[s] {
			t.Errorf("no edge leads to %v", s)
		}
		if s == Idle {
			continue
		}
		if to, ok := edges[edge{s, onFailed}]; !ok || to != Idle {
			t.Errorf("a failure does not end %v", s)
		}
		if s == Leaving {
			continue
		}
		if to, ok := edges[edge{s, onLeave}]; !ok || to != Idle && to != Leaving {
			t.Errorf("leave does not end %v: people could be stuck in a call", s)
		}
	}
}

func TestNames(t *testing.T) {
	if len(stateNames) != int(Leaving)+1 || len(triggerNames) != int(onDone)+1 {
		t.Fatal("a state or a trigger has no name")
	}
	seen := map[string]bool{}
	for s := Idle; s <= Leaving; s++ {
		if seen[s.String()] {
			t.Errorf("two states are called %v", s)
		}
		seen[s.String()] = true
	}
}
