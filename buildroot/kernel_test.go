// SPDX-License-Identifier: Apache-2.0

package buildroot

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// release are the fragments of a kernel that ships, test that of CI besides.
var (
	release = []string{"board/common/linux/base.config", "board/common/linux/hardening.config"}
	ciOnly  = "board/common/linux/test.config"
)

func fragment(t *testing.T, path string) map[string]string {
	t.Helper()
	symbols, err := parseConfig(read(t, path), "CONFIG_")
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return symbols
}

// ask merges fragments, of which no two may set the same symbol: the order in
// which they are read must not matter.
func ask(t *testing.T, paths ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, path := range paths {
		for name, value := range fragment(t, path) {
			if _, twice := all[name]; twice {
				t.Errorf("%s: another fragment has %s as well", path, name)
			}
			all[name] = value
		}
	}
	return all
}

// dropped lists what was asked for and is not so.
func dropped(asked, resolved map[string]string) []string {
	var bad []string
	for name, want := range asked {
		got, ok := resolved[name]
		if !ok {
			got = "n"
		}
		if got != want {
			bad = append(bad, name+"="+want)
		}
	}
	slices.Sort(bad)
	return bad
}

// TestResolved checks the fragments against what the kernel's own configuration
// made of them, without and with the devices of CI.
func TestResolved(t *testing.T) {
	qemu := append(slices.Clone(release), "board/qemu-arm64/linux.config")
	for name, paths := range map[string][]string{
		"kernel/resolved-release.config": qemu,
		"kernel/resolved.config":         append(slices.Clone(qemu), ciOnly),
	} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			resolved, err := parseConfig(strings.ReplaceAll(fromShared(t, name), "# CONFIG_ ", "# "), "CONFIG_")
			if err != nil {
				t.Fatal(err)
			}
			asked := ask(t, paths...)
			if len(asked) < 200 {
				t.Errorf("the fragments ask for %d symbols only", len(asked))
			}
			if bad := dropped(asked, resolved); bad != nil {
				t.Errorf("the kernel dropped %v", bad)
			}
		})
	}
}

// TestNoTestDevices checks that a kernel that ships has no line of test.config.
func TestNoTestDevices(t *testing.T) {
	resolved, err := parseConfig(fromShared(t, "kernel/resolved-release.config"), "CONFIG_")
	if err != nil {
		t.Fatal(err)
	}
	devices := ask(t, ciOnly)
	for _, name := range []string{"VIDEO_VIVID", "SND_ALOOP", "GPIO_SIM", "USB_DUMMY_HCD", "INPUT_UINPUT", "UHID"} {
		if devices["CONFIG_"+name] != "y" {
			t.Errorf("%s does not have %s", ciOnly, name)
		}
	}
	for name := range devices {
		if value, ok := resolved[name]; ok && value != "n" {
			t.Errorf("the release kernel has %s=%s", name, value)
		}
		for _, path := range append(glob(t, "board/*/linux.config"), release...) {
			if _, ok := fragment(t, path)[name]; ok {
				t.Errorf("%s: %s belongs to %s", path, name, ciOnly)
			}
		}
	}
}

// TestBoardFragments checks that what a board needs of its kernel is no more than
// drivers: nothing that base or hardening decides, and a TPM.
func TestBoardFragments(t *testing.T) {
	for board := range boards {
		path := "board/" + board + "/linux.config"
		asked := ask(t, append(slices.Clone(release), path)...)
		if asked["CONFIG_MODULES"] != "n" || asked["CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY"] != "y" {
			t.Errorf("%s: modules or no lockdown", board)
		}
		if asked["CONFIG_TCG_TIS"] != "y" && asked["CONFIG_TCG_TIS_SPI"] != "y" {
			t.Errorf("%s has no driver for its TPM", path)
		}
		for name, value := range fragment(t, path) {
			if value == "n" {
				t.Errorf("%s: %s is off for one board; hardening.config is for all", path, name)
			}
		}
	}
}

// off is what hardening.config must name: Buildroot fills what is left out with
// the kernel's defaults.
var off = []string{
	"MODULES", "KEXEC", "KEXEC_FILE", "DEVMEM", "DEBUG_FS", "HIBERNATION", "SWAP", "PROC_KCORE", "KPROBES",
	"MAGIC_SYSRQ", "COMPAT", "USERFAULTFD", "LEGACY_PTYS", "BT", "WLAN",
}

func TestHardening(t *testing.T) {
	hardening := fragment(t, "board/common/linux/hardening.config")
	for _, name := range off {
		if hardening["CONFIG_"+name] != "n" {
			t.Errorf("hardening.config does not say that %s is off", name)
		}
	}
}

// needs is what a kernel must have for what stands in the overlay. Starting from
// nothing, one can build a kernel that boots and cannot run systemd.
var needs = []struct {
	word    string // in some file of the overlay; "" for systemd and verity
	symbols string
}{
	{"", "INOTIFY_USER FHANDLE SIGNALFD TIMERFD EPOLL EVENTFD UNIX SYSFS PROC_FS DEVTMPFS TMPFS AUTOFS_FS TMPFS_POSIX_ACL TMPFS_XATTR"},
	{"", "CGROUPS CGROUP_BPF KCMP SECCOMP_FILTER NET_SCH_FQ_CODEL NAMESPACES USER_NS PID_NS NET_NS BPF_SYSCALL"},
	{"", "BLK_DEV_DM DM_VERITY DM_CRYPT CRYPTO_SHA256 CRYPTO_HMAC CRYPTO_XTS SQUASHFS SQUASHFS_ZSTD EXT4_FS VFAT_FS EXFAT_FS NLS_CODEPAGE_437"},
	{"", "TCG_TPM SECURITYFS EFI_STUB EFIVAR_FS EFI_PARTITION WATCHDOG KEYS HID_MULTITOUCH USB_VIDEO_CLASS SND_USB_AUDIO RD_ZSTD"},
	{"SystemCallFilter=", "SECCOMP SECCOMP_FILTER"},
	{"DeviceAllow=", "CGROUP_BPF"},
	{"TasksMax=", "CGROUP_PIDS"},
	{"PrivateNetwork=", "NET_NS"},
	{"DHCP=", "PACKET INET IPV6"},
	{"hook input", "NETFILTER NF_TABLES NF_TABLES_INET"},
	{"ct state", "NF_CONNTRACK NFT_CT"},
	{"reject with", "NFT_REJECT"},
	{"kernel.yama.ptrace_scope", "SECURITY_YAMA"},
	{"kernel.unprivileged_bpf_disabled", "BPF_SYSCALL"},
	{"RuntimeWatchdogSec=", "WATCHDOG"},
}

// without are the words that this kernel does not do: it has no such namespace,
// and no limit, log or route lookup in nftables.
var without = regexp.MustCompile(`(?m)^\s*(PrivateIPC|UTSNamespacePath|IPCNamespacePath)=|\blimit rate\b|\blog prefix\b|\bfib \w+ `)

func TestKernelDoes(t *testing.T) {
	asked := ask(t, release...)
	texts := map[string]string{}
	for _, path := range overlayFiles(t) {
		texts[path] = read(t, path)
		if word := without.FindString(texts[path]); word != "" {
			t.Errorf("%s: %q, which this kernel does not do", path, strings.TrimSpace(word))
		}
	}
	for _, n := range needs {
		used := n.word == ""
		for _, text := range texts {
			used = used || strings.Contains(text, n.word)
		}
		if !used {
			t.Errorf("nothing in the overlay says %q any more", n.word)
		}
		for _, symbol := range strings.Fields(n.symbols) {
			if asked["CONFIG_"+symbol] != "y" {
				t.Errorf("%s is not in base.config or hardening.config; systemd, verity or %q needs it", symbol, n.word)
			}
		}
	}
}

// TestCheckKconfig runs the program that Buildroot and make kernel run.
func TestCheckKconfig(t *testing.T) {
	const config = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_S=\"a b=c\"\nCONFIG_N=8\n"
	for name, c := range map[string]struct {
		fragment string
		status   int
		says     string
	}{
		"all":             {"CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_S=\"a b=c\"\nCONFIG_N=8\n", 0, ""},
		"off and unknown": {"# words\n\n# CONFIG_C is not set\n", 0, ""},
		"dropped":         {"CONFIG_A=y\nCONFIG_C=y\n", 1, "fragment:2: CONFIG_C=y: the kernel has n"},
		"off":             {"CONFIG_B=y\n", 1, "CONFIG_B=y"},
		"on":              {"# CONFIG_A is not set\n", 1, "the kernel has y"},
		"other number":    {"CONFIG_N=9\n", 1, "the kernel has 8"},
		"other text":      {"CONFIG_S=\"a b\"\n", 1, "CONFIG_S"},
		"prefix of one":   {"CONFIG_=y\n", 1, "not a line"},
		"spaces":          {"CONFIG_A = y\n", 1, "not a line"},
		"nothing asked":   {"# words\n", 2, "ask for nothing"},
		"empty":           {"", 2, "ask for nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir+"/config", config)
			write(t, dir+"/fragment", c.fragment)
			status, out := run(t, exec.CommandContext(t.Context(), "board/common/check-kconfig", dir+"/config", dir+"/fragment"))
			if status != c.status || !strings.Contains(out, c.says) {
				t.Errorf("status %d, %q; want %d, %q", status, out, c.status, c.says)
			}
		})
	}
	for _, args := range [][]string{nil, {"doc.go"}, {"doc.go", "board/none"}, {"board", "doc.go"}} {
		if status, out := run(t, exec.CommandContext(t.Context(), "board/common/check-kconfig", args...)); status != 2 {
			t.Errorf("check-kconfig %v: status %d, %q; want 2", args, status, out)
		}
	}
}
