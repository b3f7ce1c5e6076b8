// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"incamera/secureboot/enrol"
)

// runInit founds a site: it makes its keys and a configuration to fill in. The
// root's key is for paper or a safe; the verifier runs without it.
func runInit(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("verifyd init", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", "", "`folder` to write to; it must not exist yet")
	name := flags.String("site", "", "`name` of the organisation, as panels show it")
	domain := flags.String("domain", "", "DNS `domain` under which rooms have their names")
	networks := flags.String("networks", "", "`networks` that certificates may name addresses in, such as 10.0.0.0/8,fd00::/8")
	listen := flags.String("listen", ":8444", "`address` of the API")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	site := enrol.Site{Name: *name, Domain: *domain}
	for _, s := range strings.FieldsFunc(*networks, func(r rune) bool { return r == ',' }) {
		_, network, err := net.ParseCIDR(s)
		if err != nil {
			return fmt.Errorf("networks: %w", err)
		}
		site.Networks = append(site.Networks, *network)
	}
	if *dir == "" {
		return errors.New("init: -dir is missing")
	}
	if err := os.Mkdir(*dir, 0o700); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	token, err := found(*dir, site, *listen, time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, `The site %q is founded in %s.

Take root.key away from this computer: only a new issuing key needs it.
Fill in bundle_keys, log_key and key_policies in verifier.json.
This token has the security role and is shown once:

  %s
`, site.Name, *dir, token)
	return err
}

// found writes a site's folder and returns the token of its first member of staff.
func found(dir string, site enrol.Site, listen string, now time.Time) (string, error) {
	keys := filepath.Join(dir, "keys")
	if err := os.Mkdir(keys, 0o700); err != nil {
		return "", fmt.Errorf("init: %w", err)
	}
	made := map[string]*ecdsa.PrivateKey{}
	for name, path := range map[string]string{"root": dir, "issuing": keys, "result": keys, "tls": keys} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return "", fmt.Errorf("init: %w", err)
		}
		made[name] = key
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return "", fmt.Errorf("init: %w", err)
		}
		if err := writePEM(filepath.Join(path, name+".key"), "PRIVATE KEY", der); err != nil {
			return "", err
		}
	}
	root, err := enrol.NewRoot(site, made["root"], now)
	if err != nil {
		return "", err
	}
	issuing, err := enrol.NewIssuing(site, root, made["root"], made["issuing"].Public(), now)
	if err != nil {
		return "", err
	}
	authority, err := enrol.NewAuthority(root, issuing, made["issuing"])
	if err != nil {
		return "", err
	}
	// As long as any certificate: those who hold the pin of its key do not mind
	// its end, and verifyd renews nothing of its own.
	chain, err := authority.IssueService("verifier", &made["tls"].PublicKey, now)
	if err != nil {
		return "", err
	}
	for name, ders := range map[string][][]byte{"root.pem": {root.Raw}, "issuing.pem": {issuing.Raw}, "tls.pem": chain} {
		if err := writePEM(filepath.Join(keys, name), "CERTIFICATE", ders...); err != nil {
			return "", err
		}
	}
	private, public, err := note.GenerateKey(rand.Reader, "verifier."+site.Domain)
	if err != nil {
		return "", fmt.Errorf("init: %w", err)
	}
	if err := os.WriteFile(filepath.Join(keys, "note.key"), []byte(private+"\n"+public+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("init: %w", err)
	}
	var secret [20]byte
	_, _ = rand.Read(secret[:]) // never fails
	token := hex.EncodeToString(secret[:])
	sum := sha256.Sum256([]byte(token))
	b, err := json.MarshalIndent(config{
		Version: 1, Listen: listen, Store: "sqlite:verifier.db", Bundles: "bundles", Keys: "keys",
		KeyPolicies: []string{}, Policy: policyConfig{ID: site.Domain}, CertificateDays: 30,
		Staff: []staffConfig{{Name: "first", TokenSHA256: hex.EncodeToString(sum[:])}},
	}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("init: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "verifier.json"), append(b, '\n'), 0o600); err != nil {
		return "", fmt.Errorf("init: %w", err)
	}
	return token, nil
}

func writePEM(path, kind string, ders ...[]byte) error {
	var b []byte
	for _, der := range ders {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	return nil
}
