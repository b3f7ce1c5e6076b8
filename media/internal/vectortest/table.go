// SPDX-License-Identifier: Apache-2.0

package vectortest

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// A Table says of each vector file how many of its cases passed and which were
// skipped why. The zero value is empty.
type Table struct {
	rows                   strings.Builder
	cases, passed, skipped int
}

// Add adds a file. What is skipped is counted by its reason.
func (t *Table) Add(file string, cases, passed int, skipped map[string]int) {
	total, why := 0, make([]string, 0, len(skipped))
	for _, reason := range slices.Sorted(maps.Keys(skipped)) {
		total += skipped[reason]
		why = append(why, fmt.Sprintf("%s: %d", reason, skipped[reason]))
	}
	t.cases, t.passed, t.skipped = t.cases+cases, t.passed+passed, t.skipped+total
	t.row(file, fmt.Sprint(cases), fmt.Sprint(passed), fmt.Sprint(total), strings.Join(why, "; "))
}

// Absent adds a file that is not there.
func (t *Table) Absent(file string) { t.row(file, "-", "-", "all", "the file is absent") }

func (t *Table) row(file, cases, passed, skipped, why string) {
	t.rows.WriteString(strings.TrimRight(fmt.Sprintf("%-52s %5s %6s %7s  %s", file, cases, passed, skipped, why), " ") + "\n")
}

// Print logs the table, and writes it to a file called name in the folder that
// VECTOR_TABLES names: go test shows no log of a test that passes, so make test
// prints those files.
func (t *Table) Print(tb testing.TB, name string) {
	tb.Helper()
	all := Table{}
	all.row(name, "cases", "passed", "skipped", "why")
	all.rows.WriteString(t.rows.String())
	all.row("total", fmt.Sprint(t.cases), fmt.Sprint(t.passed), fmt.Sprint(t.skipped), "")
	text := all.rows.String()
	tb.Log("\n" + text)
	folder := os.Getenv("VECTOR_TABLES")
	if folder == "" {
		return
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		tb.Errorf("test vectors: %v", err)
		return
	}
	defer func() { _ = root.Close() }()
	if err := root.WriteFile(strings.ReplaceAll(name, "/", "-")+".txt", []byte(text+"\n"), 0o600); err != nil {
		tb.Errorf("test vectors: %v", err)
	}
}
