// SPDX-License-Identifier: Apache-2.0

package vectortest

import (
	"os"
	"strings"
	"testing"
)

// Print logs a table of what was compared, and writes it to a file called name
// in the folder that VECTOR_TABLES names: go test shows no log of a test that
// passes, so make test prints those files.
func Print(tb testing.TB, name, table string) {
	tb.Helper()
	text := name + "\n" + strings.TrimRight(table, "\n") + "\n"
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
