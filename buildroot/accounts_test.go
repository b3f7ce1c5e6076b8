// SPDX-License-Identifier: Apache-2.0

package buildroot

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestAccounts checks that numbers are fixed, nobody can log in, and that the
// page, the unit, udev and tmpfiles speak of the same accounts.
func TestAccounts(t *testing.T) {
	users := map[string]string{}
	groups := map[string]string{}
	seen := map[string]bool{}
	for _, line := range lines(t, "board/common/users.table") {
		f := strings.Fields(line)
		if len(f) < 9 {
			t.Fatalf("users.table: %q has %d fields", line, len(f))
		}
		user, uid, group, gid, password, home, shell := f[0], f[1], f[2], f[3], f[4], f[5], f[6]
		for kind, id := range map[string]string{"user ": uid, "group ": gid} {
			if kind == "user " && user == "-" {
				continue // a group alone
			}
			if n, err := strconv.Atoi(id); err != nil || n < 800 || n > 899 {
				t.Errorf("users.table: %q: number %s; want a fixed one from 800 to 899", line, id)
			}
			if seen[kind+id] {
				t.Errorf("users.table: %s%s twice", kind, id)
			}
			seen[kind+id] = true
		}
		if password != "*" || home != "-" || shell != "-" {
			t.Errorf("users.table: %q may log in", line)
		}
		groups[group] = gid
		if user != "-" {
			users[user] = uid
		}
	}
	listed := map[string]string{}
	for _, cells := range fields(t, "board/README.md", "name") {
		listed[cells[0]] = cells[1]
	}
	for name, id := range groups {
		if listed[name] != id {
			t.Errorf("board/README.md: the number of %s is %q; want %s", name, listed[name], id)
		}
	}
	unit := read(t, units+"/roomd.service")
	for _, want := range []string{"\nUser=roomd\n", "\nGroup=roomd\n", "\nSupplementaryGroups=audio tpm video\n"} {
		if !strings.Contains(unit, want) {
			t.Errorf("roomd.service does not say %q", strings.TrimSpace(want))
		}
	}
	known := []string{"root", "audio", "video"} // of both systems
	for name := range groups {
		known = append(known, name)
	}
	for _, line := range lines(t, overlay+"/usr/lib/tmpfiles.d/in-camera.conf") {
		if f := strings.Fields(line); !slices.Contains(known, f[3]) || !slices.Contains(known, f[4]) {
			t.Errorf("tmpfiles: nobody has the account of %q", line)
		}
	}
	for _, m := range regexp.MustCompile(`(?:OWNER|GROUP)="(\w+)"`).FindAllStringSubmatch(read(t, overlay+"/usr/lib/udev/rules.d/60-in-camera.rules"), -1) {
		if !slices.Contains(known, m[1]) {
			t.Errorf("udev: nobody has the account %s", m[1])
		}
	}
}

// TestPermissions checks that what runs belongs to root and that no other writes
// to it.
func TestPermissions(t *testing.T) {
	for _, line := range lines(t, "board/common/perms.table") {
		f := strings.Fields(line)
		if len(f) != 10 {
			t.Fatalf("perms.table: %q has %d fields", line, len(f))
		}
		mode, err := strconv.ParseUint(f[2], 8, 16)
		if err != nil || mode&0o7022 != 0 || f[3] != "0" || f[4] != "0" {
			t.Errorf("perms.table: %q: root's, and written by root only", line)
		}
	}
	for _, path := range overlayFiles(t) {
		if strings.HasSuffix(path, "~") || filepath.Base(path) == ".gitkeep" {
			t.Errorf("%s would be in the image", path)
		}
	}
	table := read(t, "board/common/perms.table")
	for _, path := range unitFiles(t) {
		for _, m := range regexp.MustCompile(`(?m)^ExecStart=(\S+)`).FindAllStringSubmatch(read(t, path), -1) {
			system := slices.Contains([]string{"/usr/sbin/nft", "/usr/bin/systemctl"}, m[1])
			if !system && !strings.Contains(table, m[1]+" f 0755 0 0 ") {
				t.Errorf("%s starts %s, which perms.table does not have", path, m[1])
			}
		}
	}
}

// TestNoPrivateKeys looks for what signs, in the whole tree.
func TestNoPrivateKeys(t *testing.T) {
	private := regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----`)
	if !private.MatchString("-----BEGIN EC " + "PRIVATE KEY-----") {
		t.Fatal("the pattern finds no private key")
	}
	walk(t, ".", func(path string, d fs.DirEntry) {
		if !d.Type().IsRegular() {
			return
		}
		if slices.Contains([]string{".key", ".p12", ".pfx"}, filepath.Ext(path)) || private.MatchString(read(t, path)) {
			t.Errorf("%s is a private key", path)
		}
		if filepath.Dir(path) == "ota" && !slices.Contains([]string{".md", ".pem", ".crt"}, filepath.Ext(path)) {
			t.Errorf("%s: ota is for public keys", path)
		}
	})
}

// structs returns the structs of roomd and of what it shares with other programs,
// by package and name. They are read and not imported: roomd is a program.
func structs(t *testing.T) map[string]*ast.StructType {
	t.Helper()
	found := map[string]*ast.StructType{}
	for _, path := range append(glob(t, "../cmd/roomd/*.go"), glob(t, "../cmd/internal/*/*.go")...) {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if s, ok := spec.Type.(*ast.StructType); ok {
					found[filepath.Base(filepath.Dir(path))+"."+spec.Name.Name] = s
				}
			}
			return true
		})
	}
	return found
}

// members returns the JSON names of the fields of a struct, those of embedded
// structs included.
func members(t *testing.T, all map[string]*ast.StructType, name string) []string {
	t.Helper()
	s, ok := all[name]
	if !ok {
		t.Fatalf("no struct %s", name)
	}
	var names []string
	for _, field := range s.Fields.List {
		if field.Tag != nil {
			if m := regexp.MustCompile(`json:"([a-z_]+)`).FindStringSubmatch(field.Tag.Value); m != nil {
				names = append(names, m[1])
			}
		}
		if len(field.Names) == 0 { // embedded
			pkg, _, _ := strings.Cut(name, ".")
			switch e := field.Type.(type) {
			case *ast.Ident:
				names = append(names, members(t, all, pkg+"."+e.Name)...)
			case *ast.SelectorExpr:
				names = append(names, members(t, all, fmt.Sprint(e.X)+"."+e.Sel.Name)...)
			}
		}
	}
	if names == nil {
		t.Fatalf("%s has no members", name)
	}
	slices.Sort(names)
	return names
}

const exampleFile = overlay + "/usr/share/in-camera/room.json.example"

// unlikeImages are members for a room that is no image. In one, release and boots
// say the same, and roomd takes one or the other.
var unlikeImages = map[string][]string{"roomd.trustConfig": {"board", "boot_count", "software", "version"}}

// TestExample compares the members of the example with those that roomd reads:
// it refuses unknown ones, and an example that lacks one teaches nothing.
func TestExample(t *testing.T) {
	var room map[string]json.RawMessage
	if err := json.Unmarshal([]byte(read(t, exampleFile)), &room); err != nil {
		t.Fatal(err)
	}
	var trust, join, paired map[string]json.RawMessage
	if err := json.Unmarshal(room["trust"], &trust); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(trust["join"], &join); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(room["paired"], &paired); err != nil {
		t.Fatal(err)
	}
	var rooms []map[string]json.RawMessage
	if err := json.Unmarshal(room["rooms"], &rooms); err != nil || len(rooms) == 0 {
		t.Fatalf("rooms: %v", err)
	}
	all := structs(t)
	for typeName, example := range map[string]map[string]json.RawMessage{
		"roomd.config": room, "roomd.directoryEntry": rooms[0], "roomd.trustConfig": trust, "roomd.joinConfig": join, "roomd.pairedConfig": paired,
	} {
		var got []string
		for name := range example {
			got = append(got, name)
		}
		slices.Sort(got)
		want := slices.DeleteFunc(members(t, all, typeName), func(name string) bool { return slices.Contains(unlikeImages[typeName], name) })
		if !slices.Equal(got, want) {
			t.Errorf("%s: the example has %v; roomd reads %v", typeName, got, want)
		}
	}
	// Every path of the example is one that the page explains or the image has.
	page := read(t, "board/README.md")
	for name, value := range trust {
		var path string
		if json.Unmarshal(value, &path) != nil || !strings.HasPrefix(path, "/run/") {
			continue
		}
		if !strings.Contains(page, "`"+path+"`") {
			t.Errorf("trust.%s: board/README.md does not say who writes %s", name, path)
		}
	}
}
