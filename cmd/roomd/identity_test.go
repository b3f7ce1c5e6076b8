// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"incamera/cmd/internal/site"
)

func issue(t *testing.T, name string) string {
	t.Helper()
	authority, err := site.New("Maison")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := authority.Issue(dir, name, net.IPv4(127, 0, 0, 1)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestIdentity(t *testing.T) {
	id, err := readIdentity(issue(t, "Vauban"))
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(*id) != "[redacted]" || fmt.Sprintf("%v", id) != "[redacted]" || strings.Contains(fmt.Sprintf("%+v", id), "D:") {
		t.Errorf("an identity prints as %v", id)
	}
	if id.key.(*ecdsa.PrivateKey).Equal(id.tls.PrivateKey) {
		t.Error("one key signs in meetings and for connections")
	}
}

func TestIdentityRefused(t *testing.T) {
	other := issue(t, "Curie")
	for _, tt := range []struct {
		name  string
		spoil func(dir string) error
		says  string
	}{
		{"no CA", func(dir string) error { return os.Remove(filepath.Join(dir, "site.pem")) }, "site.pem"},
		{"empty CA", func(dir string) error { return os.WriteFile(filepath.Join(dir, "site.pem"), nil, 0o600) }, "0 certificates"},
		{"huge file", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "tls.pem"), make([]byte, maxPEM+1), 0o600)
		}, "larger"},
		{"key for everyone", func(dir string) error { return os.Chmod(filepath.Join(dir, "mls.key"), 0o644) }, "chmod 600"},
		{"another room's key", func(dir string) error {
			b, err := os.ReadFile(filepath.Join(other, "mls.key"))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "mls.key"), b, 0o600)
		}, "another key"},
		{"no key", func(dir string) error { return os.WriteFile(filepath.Join(dir, "tls.key"), []byte("none"), 0o600) }, "PKCS #8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := issue(t, "Vauban")
			if err := tt.spoil(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := readIdentity(dir); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %v; want one that says %q", err, tt.says)
			}
		})
	}
}
