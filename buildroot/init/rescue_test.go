// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"incamera/secureboot/provision"
	"incamera/secureboot/seal"
)

// A safe is data that one key opens, once.
type safe struct {
	key    []byte
	opened int
}

func (s *safe) open(_ context.Context, key seal.Secret) error {
	if !bytes.Equal(key, s.key) {
		return errNotOpened
	}
	s.opened++
	return nil
}

// storeWith keeps a secret, wrapped for a recovery key, in a folder.
func storeWith(t *testing.T, key seal.RecoveryKey, secret []byte) string {
	t.Helper()
	dir := t.TempDir()
	store, err := seal.OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	wrapped, err := key.Wrap(seal.State, secret)
	if err != nil {
		t.Fatal(err)
	}
	b, err := wrapped.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Put(provision.Wrapped, 1, b); err != nil {
		t.Fatal(err)
	}
	return dir
}

var firstRoot = release{root: seal.RootKey{Generation: 1}}

// Only the recovery key opens the data. What it says before is the cause and what
// helps; the key that opened it goes back.
func TestRescue(t *testing.T) {
	secret := bytes.Repeat([]byte{7}, 32)
	key := seal.NewRecoveryKey()
	dir := storeWith(t, key, secret)
	var out bytes.Buffer
	talk := newPrompt(strings.NewReader("\nsesame\n"+seal.NewRecoveryKey().Text()+"\n "+key.Text()+" \nnot read\n"), &out, nil)
	data := &safe{key: secret}
	got, err := rescue(t.Context(), data, dir, firstRoot, talk, fmt.Errorf("beneath: %w", seal.ErrForeign))
	if err != nil || !bytes.Equal(got, secret) || data.opened != 1 {
		t.Fatalf("rescue: %v; opened %d times", err, data.opened)
	}
	want := []string{
		"in-camera: RECOVERY: the room's data stays locked, cause foreign",
		"  what happened: beneath: " + seal.ErrForeign.Error(),
		"  what helps: " + remedies[seal.UseRecoveryKey],
		"  what helps: " + remedies[seal.ProvisionAgain],
		"  nothing was changed or erased",
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != len(want)+3 || !slices.Equal(lines[:len(want)], want) {
		t.Errorf("it says\n%s", out.String())
	}
	for _, line := range lines[len(want):] {
		if !strings.HasPrefix(line, "in-camera: not unlocked: ") {
			t.Errorf("it says %q", line)
		}
	}
	if strings.Contains(out.String(), key.Text()) {
		t.Error("it says the key")
	}
}

// The right key of a store that belongs to other data, and stores with nothing to
// open, end in another question, and never in the data.
func TestRescueOpensNothing(t *testing.T) {
	key, secret := seal.NewRecoveryKey(), bytes.Repeat([]byte{7}, 32)
	whole := storeWith(t, key, secret)
	damaged := storeWith(t, key, secret)
	if err := os.WriteFile(damaged+"/"+provision.Wrapped+".1", []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		dir  string
		data []byte
		r    release
	}{
		"other data":      {whole, bytes.Repeat([]byte{8}, 32), firstRoot},
		"damaged":         {damaged, secret, firstRoot},
		"nothing kept":    {t.TempDir(), secret, firstRoot},
		"no store":        {whole + "/gone", secret, firstRoot},
		"of another root": {whole, secret, release{root: seal.RootKey{Generation: 2}}},
	} {
		t.Run(name, func(t *testing.T) {
			data := &safe{key: c.data}
			var out bytes.Buffer
			got, err := rescue(t.Context(), data, c.dir, c.r, newPrompt(strings.NewReader(key.Text()+"\n"), &out, nil), errEmpty)
			if !errors.Is(err, io.EOF) || got != nil || data.opened != 0 {
				t.Errorf("rescue: %v; opened %d times", err, data.opened)
			}
			if n := strings.Count(out.String(), "in-camera: not unlocked: "); n != 1 {
				t.Errorf("it says\n%s", out.String())
			}
		})
	}
}

// declared are the names that a file of package seal declares by a keyword, with
// a prefix.
func declared(t *testing.T, kind token.Token, prefix, typed string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../secureboot/seal/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != kind {
			continue
		}
		for _, s := range g.Specs {
			v, ok := s.(*ast.ValueSpec)
			if !ok {
				continue
			}
			id, _ := v.Type.(*ast.Ident)
			for _, n := range v.Names {
				if strings.HasPrefix(n.Name, prefix) && (typed == "" || id != nil && id.Name == typed) {
					names = append(names, n.Name)
				}
			}
		}
	}
	if len(names) < 4 {
		t.Fatalf("package seal declares %q", names)
	}
	return names
}

// Each refusal of package seal has a name on the screen, each remedy a sentence,
// and those who read the screen by a program rely on the names.
func TestEveryCauseHasAName(t *testing.T) {
	errs := map[string]struct {
		err  error
		name string
	}{
		"ErrNotApproved": {seal.ErrNotApproved, "not_approved"},
		"ErrRetired":     {seal.ErrRetired, "retired"},
		"ErrUntrusted":   {seal.ErrUntrusted, "untrusted"},
		"ErrPolicies":    {seal.ErrPolicies, "policies_damaged"},
		"ErrForeign":     {seal.ErrForeign, "foreign"},
		"ErrSilent":      {seal.ErrSilent, "tpm_silent"},
		"ErrVersion":     {seal.ErrVersion, "newer_format"},
	}
	for _, name := range declared(t, token.VAR, "Err", "") {
		e, ok := errs[name]
		if !ok {
			t.Errorf("seal.%s is new, and the screen does not know it", name)
			continue
		}
		if got := causeName(fmt.Errorf("above: %w", &seal.Error{Cause: e.err, Err: io.EOF})); got != e.name {
			t.Errorf("seal.%s is %q on the screen; want %q", name, got, e.name)
		}
	}
	for _, e := range []struct {
		err  error
		name string
	}{
		{errEmpty, "data_empty"}, {errNotOpened, "key_refused"}, {errNoTPM, "tpm_silent"}, {errData, "foreign"}, {io.EOF, "unknown"},
	} {
		if got := causeName(e.err); got != e.name {
			t.Errorf("%v is %q on the screen; want %q", e.err, got, e.name)
		}
	}

	texts := map[string]seal.Remedy{
		"OtherSlot": seal.OtherSlot, "UseRecoveryKey": seal.UseRecoveryKey, "NewerRelease": seal.NewerRelease,
		"ReinstallSlot": seal.ReinstallSlot, "ProvisionAgain": seal.ProvisionAgain, "CallService": seal.CallService,
	}
	for _, name := range declared(t, token.CONST, "", "Remedy") {
		r, ok := texts[name]
		if !ok || remedies[r] == "" {
			t.Errorf("seal.%s has no sentence on the screen", name)
		}
	}
}
