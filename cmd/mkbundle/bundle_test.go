// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"incamera/secureboot/evidence"
	"incamera/secureboot/seal"
	"incamera/secureboot/update"
)

var (
	callRelease = with(callSigned, "-uki", "signed.efi", "-out", "release")
	callBundle  = []string{
		"bundle", "-uki", "signed.efi", "-system", "system", "-policies", "policies.cbor", "-reference", "release", "-log", "keys/log.hashes",
		"-log-public", "keys/log.pub", "-bundle-key", "keys/bundle.key", "-root", "keys/root.pub", "-db", "keys/db.crt", "-out", "in-camera-1.5.0.bundle",
	}
)

// signed returns a folder in which a build came as far as the bundle.
func signed(t *testing.T) string {
	t.Helper()
	dir := built(t)
	cmd := exec.CommandContext(t.Context(), "sbsign", "--key", "keys/db.key", "--cert", "keys/db.crt", "--output", "signed.efi", "uki.efi")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sbsign (make deps installs it): %v\n%s", err, out)
	}
	must(t, dir, callRelease...)
	put(t, dir, "system", bytes.Repeat([]byte("system "), 1<<18))
	return dir
}

// trust is what a room of these keys trusts.
func trust(t *testing.T, dir string) update.Trust {
	t.Helper()
	log, err := note.NewVerifier(strings.TrimSpace(string(get(t, dir, "keys/log.pub"))))
	if err != nil {
		t.Fatal(err)
	}
	db, err := readCertificate(filepath.Join(dir, "keys/db.crt"))
	if err != nil {
		t.Fatal(err)
	}
	return update.Trust{
		Board: "qemu-arm64/debian", BundleKey: publicKey(t, dir, "keys/bundle.pub"), Log: []note.Verifier{log},
		Root: seal.RootKey{Generation: 1, Key: publicKey(t, dir, "keys/root.pub")}, DB: []*x509.Certificate{db},
	}
}

func TestBundle(t *testing.T) {
	dir := signed(t)
	var said struct {
		Size           int64
		Version, Board string
		Rollback       uint64
		System         string `json:"system_sha256"`
	}
	if err := json.Unmarshal([]byte(must(t, dir, with(callBundle, "-json")...)), &said); err != nil {
		t.Fatal(err)
	}
	bundle := get(t, dir, "in-camera-1.5.0.bundle")
	m, err := update.Inspect(bytes.NewReader(bundle), trust(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	system := get(t, dir, "system")
	if m.Board != "qemu-arm64/debian" || m.Version != "1.5.0" || m.Rollback != 7 || m.FloorRaise != 0 || m.System.SHA256 != sha256.Sum256(system) {
		t.Errorf("manifest of %s for %s, %d, raise %d", m.Version, m.Board, m.Rollback, m.FloorRaise)
	}
	if said.Size != int64(len(bundle)) || said.Version != m.Version || said.Board != m.Board || said.Rollback != 7 || said.System != m.System.SHA256.String() {
		t.Errorf("said %+v", said)
	}
	if !bytes.HasSuffix(bundle, slices.Concat(system, get(t, dir, "signed.efi"))) {
		t.Error("the parts do not follow the manifest")
	}

	// Built again from the same, it is the same, signatures included.
	must(t, dir, with(callPolicies, "-out", "again.cbor")...)
	must(t, dir, with(callBundle, "-policies", "again.cbor", "-out", "again.bundle")...)
	if !bytes.Equal(get(t, dir, "again.bundle"), bundle) {
		t.Error("written twice, the bundle differs")
	}

	// The log grows; the bundle has it as it stood.
	must(t, dir, with(callSigned, "-out", "later")...)
	must(t, dir, callBundle...)
	// A raise of the floor is taken from the policies.
	must(t, dir, with(callDelegate, "-floor", "6", "-out", "raise")...)
	must(t, dir, with(callPolicies, "-delegations", "raise", "-out", "raising.cbor")...)
	must(t, dir, with(callBundle, "-policies", "raising.cbor", "-out", "raising.bundle")...)
	if m, err := update.Inspect(bytes.NewReader(get(t, dir, "raising.bundle")), trust(t, dir)); err != nil || m.FloorRaise != 6 {
		t.Errorf("raise: %+v, %v", m, err)
	}
}

func TestBundleRefusals(t *testing.T) {
	dir := signed(t)
	must(t, dir, "keys", "-out", "others")
	must(t, dir, with(callPolicies, "-rollback", "8", "-out", "other.cbor")...)
	put(t, dir, "empty", nil)
	put(t, dir, "short.hashes", nil)
	for _, c := range []struct {
		name string
		exit int
		want string
		args []string
	}{
		{"an image that is not signed", 1, "sig_invalid", with(callBundle, "-uki", "uki.efi")},
		{"another firmware key", 1, "sig_invalid", with(callBundle, "-db", "others/db.crt")},
		{"another bundle key", 1, "signature does not verify", with(callBundle, "-bundle-key", "others/bundle.key")},
		{"another log", 1, "checkpoint", with(callBundle, "-log-public", "others/log.pub")},
		{"a log that is shorter", 1, "empty", with(callBundle, "-log", "short.hashes")},
		{"policies of another number", 1, "untrusted", with(callBundle, "-policies", "other.cbor")},
		{"another root", 1, "untrusted", with(callBundle, "-root", "others/root.pub")},
		{"text as image", 1, "tampered", with(callBundle, "-uki", "osrel")},
		{"an empty system", 1, "empty: empty", with(callBundle, "-system", "empty")},
		{"no system", 1, "no such file", with(callBundle, "-system", "none")},
		{"a key for a certificate", 1, "not one CERTIFICATE", with(callBundle, "-db", "keys/db.key")},
		{"values that are not signed", 1, "no such file", with(callBundle, "-reference", "keys")},
		{"no flags", 2, "bundle needs -uki, -system", []string{"bundle"}},
	} {
		exit, stdout, stderr := mkbundle(t, dir, c.args...)
		if exit != c.exit || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("%s: exit %d, %q, stdout %q; want %d, %q", c.name, exit, stderr, stdout, c.exit, c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "in-camera-1.5.0.bundle")); err == nil {
		t.Error("a bundle that was refused is there")
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".mkbundle-*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

const twoPackages = "base-files 12.4+deb12u11 " + zeros + "\ncryptsetup-bin 2:2.6.1-4~deb12u2 " + zeros + "\n"

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

// TestSBOM lists a Go program, packages and a file.
func TestSBOM(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "lock", []byte(twoPackages))
	put(t, dir, "Image", []byte("kernel"))
	program := goProgram(t, dir)
	args := []string{"sbom", "-version", "1.5.0", "-binary", program, "-packages", "lock", "-file", "linux@6.12.48=Image", "-out", "sbom.json"}
	must(t, dir, args...)
	text := get(t, dir, "sbom.json")
	var b bom
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		t.Fatal(err)
	}
	if b.Format != "CycloneDX" || b.Spec != "1.6" || b.Version != 1 || b.Metadata.Component.Version != "1.5.0" {
		t.Errorf("%s %s, version %d, of %+v", b.Format, b.Spec, b.Version, b.Metadata.Component)
	}
	refs := map[string]*component{}
	for _, c := range b.Components {
		if c.Name == "" || c.Version == "" || !strings.HasPrefix(c.PURL, "pkg:") || len(c.Hashes) != 1 ||
			c.Hashes[0].Algorithm != "SHA-256" || !sums.MatchString(c.Hashes[0].Content) || refs[c.Ref] != nil {
			t.Errorf("component %+v", c)
		}
		refs[c.Ref] = c
	}
	sum := evidence.Digest(sha256.Sum256(get(t, dir, filepath.Base(program)))).String()
	kernel := evidence.Digest(sha256.Sum256([]byte("kernel"))).String()
	for purl, want := range map[string]string{
		"pkg:golang/incamera/cmd/mkbundle@1.5.0":                           sum,
		"pkg:deb/debian/base-files@12.4%2Bdeb12u11?distro=debian-12":       zeros,
		"pkg:deb/debian/cryptsetup-bin@2:2.6.1-4~deb12u2?distro=debian-12": zeros,
		"pkg:generic/linux@6.12.48?checksum=sha256:" + kernel:              kernel,
		"pkg:golang/golang.org/x/mod@v0.42.0":                              goSum(t, "golang.org/x/mod v0.42.0"),
		"pkg:golang/github.com/fxamacker/cbor/v2@v2.10.0":                  goSum(t, "github.com/fxamacker/cbor/v2 v2.10.0"),
	} {
		if c := refs[purl]; c == nil || c.Hashes[0].Content != want {
			t.Errorf("%s: %+v; want hash %s", purl, c, want)
		}
	}
	for _, d := range b.Dependencies {
		for _, ref := range d.DependsOn {
			if refs[ref] == nil {
				t.Errorf("%s depends on %s, which is not listed", d.Ref, ref)
			}
		}
	}
	if len(b.Dependencies) != 2 || len(b.Dependencies[1].DependsOn) < 5 {
		t.Errorf("dependencies: %v", b.Dependencies)
	}
	must(t, dir, with(args, "-out", "again.json")...)
	if !bytes.Equal(get(t, dir, "again.json"), text) {
		t.Error("written twice, the bill differs")
	}

	put(t, dir, "twice", []byte(twoPackages+twoPackages))
	put(t, dir, "half", []byte("base-files 12.4\n"))
	put(t, dir, "blank", []byte("\n"))
	put(t, dir, "Other", []byte("another kernel"))
	for _, c := range []struct {
		name string
		exit int
		want string
		args []string
	}{
		{"nothing", 2, "a bill of nothing", []string{"sbom", "-version", "1", "-out", "none.json"}},
		{"a package twice", 1, "comes twice", with(args, "-packages", "twice")},
		{"a line without hash", 1, "line 1", with(args, "-packages", "half")},
		{"a blank line", 1, "line 1", with(args, "-packages", "blank")},
		{"a file that is no Go program", 1, "lock: ", with(args, "-binary", "lock")},
		{"a file without version", 2, "name@version=file", with(args, "-file", "linux=Image")},
		{"a distribution with a blank", 2, "-distro", with(args, "-distro", "a b")},
	} {
		exit, stdout, stderr := mkbundle(t, dir, c.args...)
		if exit != c.exit || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("%s: exit %d, %q, stdout %q; want %d, %q", c.name, exit, stderr, stdout, c.exit, c.want)
		}
	}
}

// goProgram builds this program as a release is built.
func goProgram(t *testing.T, dir string) string {
	t.Helper()
	out := filepath.Join(dir, "mkbundle")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", out, "incamera/cmd/mkbundle")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, msg)
	}
	return out
}

// goSum returns the hash of a module as go.sum has it, in hexadecimal.
func goSum(t *testing.T, module string) string {
	t.Helper()
	for line := range strings.SplitSeq(string(get(t, "../..", "go.sum")), "\n") {
		if h1, ok := strings.CutPrefix(line, module+" h1:"); ok {
			return hexOfBase64(t, h1)
		}
	}
	t.Fatalf("go.sum has no %s", module)
	return ""
}

func hexOfBase64(t *testing.T, s string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}
