// SPDX-License-Identifier: Apache-2.0

package buildroot

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	units = overlay + "/usr/lib/systemd/system"
	etc   = overlay + "/etc/systemd/system"
)

// minSystemd is the first systemd whose judgement counts: 252 runs in the CI
// image, and security --offline came with 250.
const minSystemd = 250

func systemd(t *testing.T, name string) string {
	t.Helper()
	path := tool(t, name)
	_, out := run(t, exec.CommandContext(t.Context(), path, "--version"))
	m := regexp.MustCompile(`^systemd (\d+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("%s --version: %q", name, out)
	}
	if version, _ := strconv.Atoi(m[1]); version < minSystemd {
		t.Skipf("systemd %s is older than %d", m[1], minSystemd)
	}
	return path
}

func unitFiles(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, pattern := range []string{units + "/*.service", units + "/*.mount", units + "/*.socket", units + "/*.timer", etc + "/*.service"} {
		for _, path := range glob(t, pattern) {
			if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// sandboxes are the daemons, each with what systemd-analyze may print for it and
// with what the sum forgives and a room does not.
var sandboxes = map[string]struct {
	max  float64
	says []string
}{
	// It speaks to the network, cameras, sound and the TPM, which alone cost 1.5.
	"roomd": {2.0, []string{"CapabilityBoundingSet=", "AmbientCapabilities=", "NoNewPrivileges=yes", "ProtectSystem=strict", "DevicePolicy=closed"}},
	// It is root and mounts, which alone costs 1.2, and no network is there.
	"boxd": {1.5, []string{
		"CapabilityBoundingSet=CAP_SYS_ADMIN", "AmbientCapabilities=", "NoNewPrivileges=yes", "ProtectSystem=strict", "DevicePolicy=closed",
		"PrivateMounts=yes", "PrivateNetwork=yes", "RestrictNamespaces=yes",
	}},
}

func TestSandbox(t *testing.T) {
	analyze := systemd(t, "systemd-analyze")
	exposure := func(name, text string) float64 {
		dir := t.TempDir()
		write(t, dir+"/"+name+".service", text)
		cmd := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--no-pager", "--json=off", dir+"/"+name+".service")
		_, out := run(t, cmd)
		m := regexp.MustCompile(`Overall exposure level for ` + name + `.service: ([0-9.]+)`).FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("systemd-analyze security: %s", out)
		}
		level, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return level
	}
	for name, want := range sandboxes {
		text := read(t, units+"/"+name+".service")
		level := exposure(name, text)
		t.Logf("exposure of %s: %.1f of 10", name, level)
		if level > want.max {
			t.Errorf("exposure of %s: %.1f; want at most %.1f", name, level, want.max)
		}
		for _, line := range want.says {
			if strings.Count(text, "\n"+line+"\n") != 1 || strings.Count(text, "\n"+strings.SplitAfter(line, "=")[0]) != 1 {
				t.Errorf("%s.service does not say %q once", name, line)
			}
		}
	}
	bare := exposure("roomd", "[Service]\nExecStart=/usr/bin/roomd\n")
	if bare < 9 {
		t.Errorf("exposure of a unit without a sandbox: %.1f; the tool judges nothing", bare)
	}
}

// TestBoxSocket checks that of all accounts the room's daemon alone can ask boxd,
// which does not ask who it is.
func TestBoxSocket(t *testing.T) {
	text := read(t, units+"/boxd.socket")
	for _, want := range []string{"SocketUser=root", "SocketGroup=roomd", "SocketMode=0660"} {
		if strings.Count(text, "\n"+want+"\n") != 1 {
			t.Errorf("boxd.socket does not say %q", want)
		}
	}
	listens := regexp.MustCompile(`(?m)^Listen\w+=(.*)$`).FindAllStringSubmatch(text, -1)
	if len(listens) != 1 || listens[0][1] != "/run/in-camera/box.sock" {
		t.Errorf("boxd listens at %v", listens)
	}
	for _, line := range lines(t, "board/common/users.table") {
		if f := strings.Fields(line); f[0] != "roomd" && (f[2] == "roomd" || slices.Contains(strings.Split(f[7], ","), "roomd")) {
			t.Errorf("%s is in the group roomd as well", f[0])
		}
	}
}

// gone lists what systemd 258 no longer reads and 252 did: units use neither.
var gone = []string{
	"BlockIOAccounting", "BlockIODeviceWeight", "BlockIOReadBandwidth", "BlockIOWeight", "BlockIOWriteBandwidth",
	"CPUAccounting", "CPUShares", "MemoryLimit", "StartupBlockIOWeight", "StartupCPUShares",
}

// TestDirectives checks each directive against what the installed systemd says
// that it knows.
func TestDirectives(t *testing.T) {
	known := map[string]bool{}
	_, out := run(t, exec.CommandContext(t.Context(), systemd(t, "systemd"), "--dump-configuration-items"))
	section := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		} else if name, _, ok := strings.Cut(line, "="); ok {
			known[section+name] = true
		}
	}
	for _, name := range []string{"Alias", "WantedBy", "RequiredBy", "Also"} { // read by systemctl
		known["[Install]"+name] = true
	}
	if len(known) < 800 || known["[Service]ExecStrat"] {
		t.Fatalf("systemd knows %d directives", len(known))
	}
	for _, path := range unitFiles(t) {
		section := ""
		for _, line := range lines(t, path) {
			name, _, ok := strings.Cut(line, "=")
			switch {
			case strings.HasPrefix(line, "["):
				section = line
			case !ok || !known[section+name]:
				t.Errorf("%s: systemd does not know %q in %s", path, line, section)
			case slices.Contains(gone, name):
				t.Errorf("%s: systemd 258 no longer knows %s", path, name)
			}
		}
	}
}

// TestVerify has systemd load the units as it would at a start. Programs of the
// room are not on this computer: /bin/true stands for them.
func TestVerify(t *testing.T) {
	analyze := systemd(t, "systemd-analyze")
	verify := func(t *testing.T, change func(string) string) (int, string) {
		t.Helper()
		dir := t.TempDir()
		args := []string{"verify", "--man=no", "--recursive-errors=no"}
		for _, path := range unitFiles(t) {
			text := regexp.MustCompile(`(?m)^ExecStart=\S+`).ReplaceAllString(read(t, path), "ExecStart=/bin/true")
			copied := filepath.Join(dir, filepath.Base(path))
			write(t, copied, change(text))
			args = append(args, copied)
		}
		cmd := exec.CommandContext(t.Context(), analyze, args...)
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":/usr/lib/systemd/system", "SYSTEMD_LOG_LEVEL=warning")
		return run(t, cmd)
	}
	if status, out := verify(t, func(s string) string { return s }); status != 0 || out != "" {
		t.Errorf("systemd-analyze verify: status %d\n%s", status, out)
	}
	broken := func(s string) string { return strings.ReplaceAll(s, "ProtectSystem=strict", "ProtectSytem=strict") }
	if _, out := verify(t, broken); !strings.Contains(out, "ProtectSytem") {
		t.Errorf("systemd-analyze verify took a misspelt directive: %q", out)
	}
}

// shells are the units that give someone a prompt, or measure in the place of
// ours: each is masked or replaced.
var shells = []string{
	"getty@.service", "serial-getty@.service", "console-getty.service", "container-getty@.service", "debug-shell.service",
	"emergency.service", "rescue.service", "systemd-firstboot.service",
	"systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "systemd-pcrphase-initrd.service",
}

func TestNoLogin(t *testing.T) {
	for _, name := range shells {
		if target, err := os.Readlink(filepath.Join(etc, name)); err == nil && target == "/dev/null" {
			continue
		}
		text := read(t, filepath.Join(etc, name))
		if strings.Contains(text, "sulogin") || !strings.Contains(text, "ExecStart=/usr/bin/systemctl --no-block --force reboot\n") {
			t.Errorf("%s does not restart the room", name)
		}
	}
	walk(t, overlay, func(path string, d fs.DirEntry) {
		if d.Type()&fs.ModeSymlink == 0 {
			return
		}
		if target, err := os.Readlink(path); err != nil || target != "/dev/null" {
			t.Errorf("%s leads to %s: links of the overlay mask units and do nothing else", path, target)
		}
	})
	for _, config := range boards {
		symbols := defconfig(t, config)
		for _, name := range []string{"BR2_TARGET_ENABLE_ROOT_LOGIN", "BR2_TARGET_GENERIC_GETTY", "BR2_TARGET_GENERIC_REMOUNT_ROOTFS_RW"} {
			if symbols[name] != "n" {
				t.Errorf("%s: %s is not off", config, name)
			}
		}
	}
}

// TestPreset checks that all of our units start, and that nothing starts that is
// not listed.
func TestPreset(t *testing.T) {
	preset := lines(t, overlay+"/usr/lib/systemd/system-preset/00-in-camera.preset")
	if preset[len(preset)-1] != "disable *" {
		t.Error("what the preset does not list may start")
	}
	for _, path := range glob(t, units+"/*.*") {
		if _, err := os.Stat(strings.TrimSuffix(path, ".service") + ".path"); err == nil {
			continue // that one starts it
		}
		if !slices.Contains(preset, "enable "+filepath.Base(path)) {
			t.Errorf("%s is not enabled", path)
		}
		if !strings.Contains(read(t, path), "[Install]") {
			t.Errorf("%s cannot be enabled", path)
		}
	}
	for _, line := range preset[:len(preset)-1] {
		name, ok := strings.CutPrefix(line, "enable ")
		if _, err := os.Stat(filepath.Join(units, name)); !ok || (err != nil && !strings.HasPrefix(name, "systemd-")) {
			t.Errorf("preset: %q enables nothing", line)
		}
	}
}

// TestWritable checks that what a service may expect to write to can be written,
// though the root cannot.
func TestWritable(t *testing.T) {
	if mount := read(t, units+"/tmp.mount"); !strings.Contains(mount, "\nWhere=/tmp\n") || !strings.Contains(mount, ",nosuid,nodev,noexec,") {
		t.Error("tmp.mount is not a /tmp in which nothing runs")
	}
	writable := regexp.MustCompile(`^/(run|var/lib)/in-camera(-roomd)?(/|$)|^/run/systemd/network$`)
	for _, path := range unitFiles(t) {
		for _, m := range regexp.MustCompile(`(?m)^(?:ReadWritePaths|ConditionPathExists)=(.*)$`).FindAllStringSubmatch(read(t, path), -1) {
			if !writable.MatchString(m[1]) {
				t.Errorf("%s: %s is on no partition that can be written", path, m[1])
			}
		}
	}
}

// testOnly are words of what CI brings into its image and no room has.
var testOnly = regexp.MustCompile(`(?i)swtpm|simtpm|sim:|\bvivid\b|snd-aloop|virtio-serial|debug-shell\b|test-overlay|/e2e/`)

// TestNothingOfTests checks that the overlay and the boards' configurations bring
// no simulator and no debug shell into a release.
func TestNothingOfTests(t *testing.T) {
	for _, path := range append(overlayFiles(t), glob(t, "configs/*")...) {
		if word := testOnly.FindString(read(t, path)); word != "" {
			t.Errorf("%s: %q", path, word)
		}
	}
	if !strings.Contains(read(t, "package/in-camera/in-camera.mk"), "\nIN_CAMERA_TAGS = release apm1 dynamic\n") {
		t.Error("Buildroot does not build a release")
	}
}

func TestTmpfiles(t *testing.T) {
	path := tool(t, "systemd-tmpfiles")
	root := t.TempDir()
	for _, dir := range []string{"etc", "run", "var/lib"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// Whoever runs this test has not the room's accounts: its own stand for them.
	me, group := strconv.Itoa(os.Getuid()), strconv.Itoa(os.Getgid())
	text := read(t, overlay+"/usr/lib/tmpfiles.d/in-camera.conf")
	text = regexp.MustCompile(` (roomd roomd|root root) `).ReplaceAllString(text, " "+me+" "+group+" ")
	write(t, root+"/etc/in-camera.conf", text)
	if status, out := run(t, exec.CommandContext(t.Context(), path, "--create", "--root="+root, root+"/etc/in-camera.conf")); status != 0 {
		t.Fatalf("systemd-tmpfiles: status %d\n%s", status, out)
	}
	for dir, mode := range map[string]fs.FileMode{"run/in-camera": 0o755, "run/systemd/network": 0o755, "var/lib/in-camera-box": 0o700, "var/lib/in-camera": 0o700, "var/lib/in-camera/identity": 0o700} {
		if info, err := os.Stat(filepath.Join(root, dir)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want %o", dir, info, err, mode)
		}
	}
}

// TestProfiles checks the files that mkbundle reference takes.
func TestProfiles(t *testing.T) {
	for board := range boards {
		var p struct {
			Board      string `json:"board"`
			FirstStage string `json:"first_stage"`
			VerifiedBy string `json:"verified_by"`
		}
		d := json.NewDecoder(strings.NewReader(read(t, "board/"+board+"/profile.json")))
		d.DisallowUnknownFields()
		if err := d.Decode(&p); err != nil {
			t.Fatalf("%s: %v", board, err)
		}
		variant := "buildroot"
		if board == "qemu-arm64" {
			variant = "debian"
		}
		if p.Board != board+"/"+variant || p.FirstStage == "" || (p.VerifiedBy == "") != (board == "qemu-arm64") {
			t.Errorf("%s: %+v", board, p)
		}
	}
}
