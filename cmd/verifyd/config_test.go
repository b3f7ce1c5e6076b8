// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"incamera/secureboot/enrol"
)

func goodConfig() config {
	hash := strings.Repeat("ab", 32)
	return config{
		Version: 1, Listen: "127.0.0.1:0", Store: "sqlite:verifier.db", Keys: "keys", BundleKeys: "bundle.pem", LogKey: "log",
		KeyPolicies: []string{hash}, Policy: policyConfig{ID: "site"}, CertificateDays: 30,
		Staff: []staffConfig{{Name: "first", TokenSHA256: hash}},
	}
}

func TestConfig(t *testing.T) {
	for _, test := range []struct {
		want   string // in the error; "" for none
		change func(*config)
	}{
		{"", func(*config) {}},
		{"version 2", func(c *config) { c.Version = 2 }},
		{"listen", func(c *config) { c.Listen = "here" }},
		{"store", func(c *config) { c.Store = "mysql:x" }},
		{"keys", func(c *config) { c.Keys = "" }},
		{"bundle_keys", func(c *config) { c.BundleKeys = "" }},
		{"log_key", func(c *config) { c.LogKey = "" }},
		{"key_policies", func(c *config) { c.KeyPolicies = nil }},
		{"key_policies", func(c *config) { c.KeyPolicies = []string{"AB"} }},
		{"policy", func(c *config) { c.Policy.ID = "" }},
		{"certificate_days", func(c *config) { c.CertificateDays = 31 }},
		{"certificate_days", func(c *config) { c.CertificateDays = 0 }},
		{"staff", func(c *config) { c.Staff = nil }},
		{"staff", func(c *config) { c.Staff[0].TokenSHA256 = "" }},
		{"staff", func(c *config) { c.Staff = append(c.Staff, c.Staff[0]) }},
	} {
		c := goodConfig()
		test.change(&c)
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parseConfig(b)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("parseConfig: %v; want %q", err, test.want)
		}
	}
	b, err := json.Marshal(goodConfig())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"unknown member": bytes.Replace(b, []byte(`{"version"`), []byte(`{"colour":1,"version"`), 1),
		"trailing bytes": append(bytes.Clone(b), '1'),
		"no object":      []byte("null,"),
	} {
		if _, err := parseConfig(text); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestInit founds a site and refuses keys that others may read.
func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "site")
	var out, errs bytes.Buffer
	args := []string{"init", "-dir", dir, "-site", "Example", "-domain", "rooms.example", "-networks", "192.0.2.0/24"}
	if err := run(t.Context(), args, &out, &errs); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), args, &out, &errs); err == nil {
		t.Error("init wrote over a site")
	}
	b, err := os.ReadFile(filepath.Join(dir, "verifier.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c config
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	token := strings.Fields(out.String()[strings.Index(out.String(), "shown once"):])[2]
	if hexHash([]byte(token)) != c.Staff[0].TokenSHA256 || bytes.Contains(b, []byte(token)) {
		t.Errorf("the token printed is not that of the configuration, or is in it: %s", out.String())
	}
	c.Keys = filepath.Join(dir, "keys")
	v := &service{}
	if _, err := v.readKeys(c); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"issuing.key", "result.key", "note.key", "tls.key"} {
		path := filepath.Join(c.Keys, name)
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := v.readKeys(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s may be read by others: %v", name, err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(c.Keys, "root.key")); err == nil {
		t.Error("the root's key lies where the verifier looks")
	}
}

// TestBundleFolder: releases lie beside the database unless the file says where.
func TestBundleFolder(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct{ store, bundles, want string }{
		{"sqlite:verifier.db", "", dir + "/bundles"},
		{"sqlite:/var/lib/verifier/x.db", "", "/var/lib/verifier/bundles"},
		{"sqlite:/var/lib/verifier/x.db", "releases", dir + "/releases"},
		{"postgres://host/db", "", dir + "/bundles"},
		{"postgres://host/db", "/srv/releases", "/srv/releases"},
	} {
		c := goodConfig()
		c.Store, c.Bundles = test.store, test.bundles
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "verifier.json")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err = readConfig(path); err != nil || c.Bundles != test.want {
			t.Errorf("%s, %q: bundles in %q, %v; want %q", test.store, test.bundles, c.Bundles, err, test.want)
		}
	}
}

func FuzzConfig(f *testing.F) {
	b, err := json.Marshal(goodConfig())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := parseConfig(in)
		if err == nil && (len(c.Staff) == 0 || len(c.KeyPolicies) == 0 || c.life() > enrol.MaxLife || c.life() < time.Hour) {
			t.Errorf("taken: %+v", c)
		}
	})
}

// TestAuditChain changes, takes out and adds a line behind the program's back.
func TestAuditChain(t *testing.T) {
	s, err := openStore(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 5 {
		if err := s.update(t.Context(), func(x *txn) error { return x.audit(time.Unix(int64(i), 0), "a", "b", "c") }); err != nil {
			t.Fatal(err)
		}
	}
	lines := func() error {
		return s.update(t.Context(), func(x *txn) error { _, err := x.auditLines(); return err })
	}
	if err := lines(); err != nil {
		t.Fatal(err)
	}
	for _, query := range []string{
		`UPDATE audit SET subject = 'd' WHERE seq = 3`,
		`DELETE FROM audit WHERE seq = 3`,
		`INSERT INTO audit SELECT 6, at, who, act, subject, hash FROM audit WHERE seq = 5`,
	} {
		err := s.update(t.Context(), func(x *txn) error {
			if _, err := x.exec(query); err != nil {
				return err
			}
			if _, err := x.auditLines(); err == nil {
				t.Errorf("not seen: %s", query)
			}
			return errNone // roll back
		})
		if err == nil {
			t.Error("not rolled back")
		}
	}
}
