// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"incamera/media/mls"
)

// A row says how a scenario went, over all suites and roles it was run with.
type row struct {
	peer, scenario string
	suites         []string
	epochs         int // in which all members agreed on exporter and authenticator
	letters        int // application messages opened; of davey, media frames
	met            int // defects of the second table that stopped a client
	failed         []string
	defect         string // of the peer, seen again in this run
}

// results is what TestMain prints.
var results struct {
	sync.Mutex
	rows []*row
}

// report adds to the row of a scenario when the test ends.
func report(t *testing.T, peer, scenario string, s *mls.Suite, m *meeting) {
	t.Helper()
	t.Cleanup(func() {
		r, unlock := rowOf(peer, scenario)
		defer unlock()
		suite := suiteName(s)
		if !slices.Contains(r.suites, suite) {
			r.suites = append(r.suites, suite)
		}
		r.epochs += m.epochs
		r.letters += m.opened
		r.met += m.met
		if t.Failed() && !slices.Contains(r.failed, suite) {
			r.failed = append(r.failed, suite)
		}
	})
}

// defect notes a defect of the peer after the test has shown it. One that the
// peer no longer has fails its test, and the way around it goes.
func defect(t *testing.T, peer, what, consequence string) {
	t.Helper()
	t.Cleanup(func() {
		r, unlock := rowOf(peer, what)
		defer unlock()
		r.defect = consequence
		if t.Failed() {
			r.failed = append(r.failed, "not shown")
		}
	})
}

func rowOf(peer, scenario string) (r *row, unlock func()) {
	results.Lock()
	for _, r := range results.rows {
		if r.peer == peer && r.scenario == scenario {
			return r, results.Unlock
		}
	}
	r = &row{peer: peer, scenario: scenario}
	results.rows = append(results.rows, r)
	return r, results.Unlock
}

func suiteName(s *mls.Suite) string {
	if s.ID() >= 0xF000 {
		return fmt.Sprintf("0x%04X", uint16(s.ID()))
	}
	return strconv.Itoa(int(s.ID()))
}

func TestMain(m *testing.M) {
	m.Run() // its result becomes the exit code
	printTable()
}

func printTable() {
	var b strings.Builder
	fmt.Fprintln(&b, "\n| peer | suites | scenario | epochs equal | messages or frames | result |\n|---|---|---|---:|---:|---|")
	for _, r := range results.rows {
		if r.defect != "" {
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d | %s |\n", r.peer, strings.Join(r.suites, ", "), r.scenario, r.epochs, r.letters, r.result("passed"))
	}
	fmt.Fprintln(&b, "\n| peer | its known defect | consequence here | seen |\n|---|---|---|---|")
	for _, r := range results.rows {
		if r.defect != "" {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.peer, r.scenario, r.defect, r.result("yes"))
		}
	}
	fmt.Print(b.String())
}

func (r *row) result(good string) string {
	if len(r.failed) > 0 {
		return "FAILED: " + strings.Join(r.failed, ", ")
	}
	if r.met > 0 {
		return fmt.Sprintf("%s; a defect below stopped a client of the peer %d times", good, r.met)
	}
	return good
}

// random returns the source of a test's choices: MLS_SEED, or a new seed. It is
// printed, so that a schedule that failed can be had again.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("MLS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("MLS_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}
