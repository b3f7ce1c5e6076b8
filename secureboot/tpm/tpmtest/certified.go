// SPDX-License-Identifier: Apache-2.0

//go:build simtpm

package tpmtest

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"
	"time"

	"incamera/secureboot/tpm"
)

// Certified starts a swtpm as its maker ships a chip: with certificates for its
// EKs (P-384 at [tpm.IndexCertP384], and RSA) in NV, and the SHA-256 bank alone.
// It returns the maker's certificates too, issuer first, root last.
func Certified(t testing.TB, opts ...tpm.Option) (*Chip, []*x509.Certificate) {
	t.Helper()
	state, maker := t.TempDir(), t.TempDir()
	write := func(name, format string, args ...any) string {
		path := filepath.Join(maker, name)
		if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	issuer := filepath.Join(maker, "issuer.pem")
	ca := write("ca.conf", "statedir=%[1]s\nsigningkey=%[1]s/key.pem\nissuercert=%[2]s\ncertserial=%[1]s/serial\n", maker, issuer)
	options := write("ca.options", "--platform-manufacturer Test --platform-version 1 --platform-model Test\n")
	config := write("setup.conf", "create_certs_tool=swtpm_localca\ncreate_certs_tool_config=%s\ncreate_certs_tool_options=%s\n", ca, options)
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	//nolint:gosec // the paths are the test's own
	cmd := exec.CommandContext(ctx, "swtpm_setup", "--tpm2", "--tpmstate", state, "--create-ek-cert",
		"--pcr-banks", "sha256", "--config", config, "--runas", self.Username)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("swtpm_setup, of the package swtpm-tools: %v\n%s", err, out)
	}
	var certs []*x509.Certificate
	for _, path := range []string{issuer, filepath.Join(maker, "swtpm-localca-rootca-cert.pem")} {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(content)
		if block == nil {
			t.Fatalf("%s: no PEM", path)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, c)
	}
	return SwtpmAt(t, state, opts...), certs
}
