// SPDX-License-Identifier: Apache-2.0

package kept

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type state struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

func TestFile(t *testing.T) {
	f := File(filepath.Join(t.TempDir(), "folder", "state.json"))
	var got state
	if err := f.Load(&got); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("no file: %v", err)
	}
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if err := f.Save(state{"a", n}); err != nil {
			t.Fatal(err)
		}
		if err := f.Load(&got); err != nil || got != (state{"a", n}) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	info, err := os.Stat(string(f))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if all, err := os.ReadDir(filepath.Dir(string(f))); err != nil || len(all) != 1 {
		t.Errorf("%d files are left, %v", len(all), err)
	}
	if err := os.WriteFile(string(f), []byte(`{"name":"b","later":[1]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Load(&got); err != nil || got.Name != "b" {
		t.Errorf("of a newer release: %+v, %v", got, err)
	}
	for what, text := range map[string]string{"torn": `{"name":"b`, "endless": `{"name":"` + strings.Repeat("x", maxFile) + `"}`} {
		if err := os.WriteFile(string(f), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.Load(&got); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := f.Load(&got); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
}

// TestUnsaved: what cannot be written leaves the file as it was.
func TestUnsaved(t *testing.T) {
	f := File(filepath.Join(t.TempDir(), "state.json"))
	if err := f.Save(state{"a", 1}); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(func() {}); err == nil {
		t.Error("a function was saved")
	}
	var got state
	if err := f.Load(&got); err != nil || got != (state{"a", 1}) {
		t.Errorf("%+v, %v", got, err)
	}
}
