// SPDX-License-Identifier: Apache-2.0

// Package vectortest finds published test vectors for the tests of secureboot.
//
// The files are other people's and no part of this repository: they lie in
// shared/vectors beside the checkout. Where they are absent a test is skipped,
// and with REQUIRE_VECTORS=1 in the environment it fails.
//
// The go command caches a test's result without looking at files outside the
// module, so a skip outlives the files' arrival: make test runs uncached. It
// does look at the environment, so CI never gets a result cached without
// REQUIRE_VECTORS.
package vectortest

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Load returns the file called name, such as "attest/expected-eventlog.txt".
// It skips or fails the test if it cannot.
func Load(tb testing.TB, name string) []byte {
	tb.Helper()
	required := os.Getenv("REQUIRE_VECTORS") == "1" // asked first: see the package comment
	b, err := os.ReadFile(filepath.Join(dir(tb), filepath.FromSlash(name)))
	switch {
	case errors.Is(err, fs.ErrNotExist) && !required:
		tb.Skipf("needs ../shared/vectors/%s", name)
	case err != nil:
		tb.Fatalf("test vectors: %v", err)
	}
	return b
}

// LoadJSON decodes the JSON file called name into v, as [Load] finds it.
func LoadJSON(tb testing.TB, name string, v any) {
	tb.Helper()
	if err := json.Unmarshal(Load(tb, name), v); err != nil {
		tb.Fatalf("test vectors: %s: %v", name, err)
	}
}

// dir returns shared/vectors beside the checkout, which is the nearest folder
// upwards that holds go.mod: go test runs a test in its package's folder.
func dir(tb testing.TB) string {
	tb.Helper()
	root, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			return filepath.Join(root, "..", "shared", "vectors")
		}
		if root == filepath.Dir(root) {
			tb.Fatal("test vectors: no go.mod above the test's folder")
		}
		root = filepath.Dir(root)
	}
}
