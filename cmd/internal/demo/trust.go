// SPDX-License-Identifier: Apache-2.0

//go:build simtpm && cgo && !release

package demo

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"incamera/secureboot/enrol"
	"incamera/secureboot/enrol/client"
	"incamera/secureboot/eventlog"
	"incamera/secureboot/measure/measuretest"
	"incamera/secureboot/measure/simboot"
	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
)

// What the demo's rooms claim to be.
const (
	board   = "demo/simulated"
	release = "1.0.0"
)

// A Trust is the demo's vendor, with a release and a build that nobody
// released, and its site: a verifier in a process of its own.
type Trust struct {
	Verifier string // https://host:port
	Token    string // of the security staff

	pin        [32]byte // of the verifier's TLS key
	dir, tools string
	cmd        *exec.Cmd
	done       chan struct{}
	staff      *client.Client
}

// NewTrust builds the release with mkbundle, founds the site with verifyd and
// starts the verifier, all in dir. The programs are in the folder tools. It ends
// with ctx, or by Stop.
func NewTrust(ctx context.Context, tools, dir string, port int) (*Trust, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	t := &Trust{dir: dir, tools: tools}
	if err := t.build(ctx); err != nil {
		return nil, fmt.Errorf("demo: release: %w", err)
	}
	if err := t.found(ctx, port); err != nil {
		return nil, fmt.Errorf("demo: site: %w", err)
	}
	return t, nil
}

// Dir is the folder of the vendor's files: keys, released, policies.cbor.
func (t *Trust) Dir() string { return t.dir }

// run calls one of the programs.
func (t *Trust) run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(t.tools, name), args...) //nolint:gosec // the caller names its own programs
	cmd.Dir = t.dir
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, args[0], err, bytes.TrimSpace(errOut.Bytes()))
	}
	return out.String(), nil
}

// put writes a file of the demo's folder.
func (t *Trust) put(name string, b []byte) error {
	return os.WriteFile(filepath.Join(t.dir, name), b, 0o600) //nolint:gosec // names are constants of this file
}

// build makes the release, and another build of the same version with another
// initial file system. The policy key has signed both, so both can use the
// room's keys; reference values exist of the release alone.
func (t *Trust) build(ctx context.Context) error {
	files := map[string][]byte{
		"stub": measuretest.Stub(), "linux": measuretest.Kernel(release), "sbom": []byte("{}"),
		"released.initrd": []byte("initial file system as released"),
		"altered.initrd":  []byte("initial file system with a listener in it"),
		"osrel":           []byte("ID=in-camera\nVERSION_ID=" + release + "\n"), "cmdline": []byte(measuretest.CommandLine),
		"board.json": []byte(`{"board": "` + board + `", "first_stage": "the simulation", "verified_by": ""}`),
	}
	for _, name := range []string{"released", "altered"} {
		if err := os.MkdirAll(filepath.Join(t.dir, name), 0o700); err != nil {
			return err
		}
		files[name+"/loader.efi"] = measuretest.Loader()
	}
	for name, b := range files {
		if err := t.put(name, b); err != nil {
			return err
		}
	}
	calls := [][]string{
		{"keys", "-out", "keys"},
		{"delegate", "-root-key", "keys/root.key", "-policy", "keys/policy.pub", "-policy-generation", "1", "-first", "-out", "delegations"},
	}
	for _, name := range []string{"released", "altered"} {
		calls = append(calls,
			[]string{"uki", "-stub", "stub", "-linux", "linux", "-initrd", name + ".initrd", "-osrel", "osrel", "-cmdline", "cmdline", "-out", name + "/uki.efi"},
			[]string{"policies", "-uki", name + "/uki.efi", "-rollback", "1", "-policy-key", "keys/policy.key", "-policy-generation", "1", "-root", "keys/root.pub", "-delegations", "delegations", "-out", name + "/policies.cbor"})
	}
	for _, call := range calls {
		if _, err := t.run(ctx, "mkbundle", call...); err != nil {
			return err
		}
	}
	if err := t.knownBoard(ctx); err != nil {
		return err
	}
	if err := t.merge(); err != nil {
		return err
	}
	_, err := t.run(ctx, "mkbundle", "reference", "-uki", "released/uki.efi", "-loader", "released/loader.efi",
		"-board", "board.json", "-board-log", "board.log", "-rollback", "1", "-sbom", "sbom", "-out", "reference",
		"-commit", strings.Repeat("0", 40), "-bundle-key", "keys/bundle.key", "-log", "keys/log.hashes", "-log-key", "keys/log.key")
	return err
}

// knownBoard starts the release once on a chip of its own: the log of a known
// good board, from which a build learns what firmware measures.
func (t *Trust) knownBoard(ctx context.Context) error {
	chip, err := tpm.Open(ctx, "sim:")
	if err != nil {
		return err
	}
	defer func() { _ = chip.Close() }() // a chip of a minute
	uki, err := os.ReadFile(filepath.Join(t.dir, "released", "uki.efi"))
	if err != nil {
		return err
	}
	log, _, err := simboot.Boot(chip, simboot.Typical(measuretest.Loader(), uki))
	if err != nil {
		return err
	}
	if _, err := eventlog.Parse(log); err != nil {
		return err
	}
	return t.put("board.log", log)
}

// merge makes one policies.cbor for both builds.
func (t *Trust) merge() error {
	var parts []*seal.Policies
	for _, name := range []string{"released", "altered"} {
		b, err := os.ReadFile(filepath.Join(t.dir, name, "policies.cbor"))
		if err != nil {
			return err
		}
		p, err := seal.ParsePolicies(b)
		if err != nil {
			return err
		}
		parts = append(parts, p)
	}
	all, err := seal.Merge(parts...)
	if err != nil {
		return err
	}
	b, err := all.Marshal()
	if err != nil {
		return err
	}
	return t.put("policies.cbor", b)
}

// token is how verifyd init shows the token of the security role.
var token = regexp.MustCompile(`(?m)^ +([0-9a-f]{40})$`)

// found founds the site, starts its verifier and gives it the release's
// reference values.
func (t *Trust) found(ctx context.Context, port int) error {
	addr, err := freeAddr(ctx, port)
	if err != nil {
		return err
	}
	out, err := t.run(ctx, "verifyd", "init", "-dir", "site", "-site", "Maison Demo", "-domain", "demo.example",
		"-networks", "127.0.0.0/8", "-listen", addr)
	if err != nil {
		return err
	}
	m := token.FindStringSubmatch(out)
	if m == nil {
		return errors.New("verifyd init shows no token")
	}
	t.Token, t.Verifier = m[1], "https://"+addr
	if err := t.put(tokenFile, []byte(t.Token+"\n")); err != nil {
		return err
	}
	if err := t.configure(); err != nil {
		return err
	}
	if err := t.start(ctx); err != nil {
		return err
	}
	document, err := os.ReadFile(filepath.Join(t.dir, "reference", "reference.cbor"))
	if err != nil {
		return err
	}
	proof, err := os.ReadFile(filepath.Join(t.dir, "reference", "reference.proof"))
	if err != nil {
		return err
	}
	return t.staff.AddReference(ctx, enrol.ReferenceDocument{Document: document, Proof: proof})
}

// configure fills in what verifyd init leaves open.
func (t *Trust) configure() error {
	path := filepath.Join(t.dir, "site", "verifier.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var c map[string]any
	if err := json.Unmarshal(b, &c); err != nil {
		return err
	}
	root, err := readRoot(filepath.Join(t.dir, "keys", "root.pub"))
	if err != nil {
		return err
	}
	policy, err := seal.AuthPolicy(root, seal.Identity)
	if err != nil {
		return err
	}
	logKey, err := os.ReadFile(filepath.Join(t.dir, "keys", "log.pub"))
	if err != nil {
		return err
	}
	c["bundle_keys"] = filepath.Join(t.dir, "keys", "bundle.pub")
	c["log_key"] = strings.TrimSpace(string(logKey))
	c["key_policies"] = []string{hex.EncodeToString(policy.Buffer)}
	// The chips are programs. This site accepts that, and every panel says so.
	c["policy"] = map[string]any{"id": "demo.example", "accept_unrooted": true}
	if b, err = json.MarshalIndent(c, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

func (t *Trust) start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(t.dir, "verifyd.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	t.cmd = exec.CommandContext(ctx, filepath.Join(t.tools, "verifyd"), "-config", filepath.Join(t.dir, "site", "verifier.json")) //nolint:gosec // as in run
	t.cmd.Stderr = log
	t.cmd.Cancel = func() error { return t.cmd.Process.Signal(syscall.SIGTERM) }
	t.cmd.WaitDelay = 10 * time.Second
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := t.cmd.Start(); err != nil {
		return err
	}
	t.done = make(chan struct{})
	go func() {
		_ = t.cmd.Wait() // how it ended is in its log
		close(t.done)
	}()
	if t.pin, err = verifierPin(filepath.Join(t.dir, "site", "keys", "tls.pem")); err != nil {
		return err
	}
	if t.staff, err = client.New(t.Verifier, client.WithKey(t.pin), client.WithToken(t.Token)); err != nil {
		return err
	}
	limit := time.After(20 * time.Second)
	for {
		_, err := t.staff.Site(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-t.done:
			b, _ := os.ReadFile(filepath.Join(t.dir, "verifyd.jsonl"))
			return fmt.Errorf("verifyd ended:\n%s", b)
		case <-limit:
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Stop ends the verifier.
func (t *Trust) Stop() error {
	t.staff.Close()
	_ = t.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-t.done:
		return nil
	case <-time.After(10 * time.Second):
		return errors.Join(errors.New("verifyd did not stop"), t.cmd.Process.Kill())
	}
}
