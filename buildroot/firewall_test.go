// SPDX-License-Identifier: Apache-2.0

package buildroot

import (
	"encoding/json"
	"maps"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

const rules = overlay + "/etc/in-camera/nftables.conf"

// TestPorts compares the ports that the firewall opens with those of the page and
// of the example.
func TestPorts(t *testing.T) {
	documented := map[string]string{}
	for _, cells := range fields(t, "board/README.md", "port") {
		documented[strings.ToLower(cells[1])+"/"+cells[0]], _, _ = strings.Cut(cells[3], ":")
	}
	open := map[string]string{}
	text := strings.Join(lines(t, rules), "\n")
	for _, m := range regexp.MustCompile(`(?m)^(tcp|udp) dport (\S+) accept comment "([^"]+)"$`).FindAllStringSubmatch(text, -1) {
		open[m[1]+"/"+m[2]] = m[3]
	}
	if !maps.Equal(open, documented) {
		t.Errorf("the firewall opens %v; board/README.md has %v", open, documented)
	}
	// Answers to DHCPv6 come from the link and from its port only.
	const dhcp = `ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept`
	if n := strings.Count(text, "dport"); n != len(open)+1 || !strings.Contains(text, dhcp) {
		t.Errorf("%d rules name a port that is opened; want %d and the one for DHCPv6", n, len(open))
	}
	for _, chain := range []string{"input", "forward"} {
		if !strings.Contains(text, "hook "+chain+" priority filter; policy drop;") {
			t.Errorf("chain %s lets through what no rule names", chain)
		}
	}
	if strings.Count(text, "accept") != len(open)+6 {
		t.Errorf("a rule accepts what this test does not know:\n%s", text)
	}

	var room struct {
		Panel, Relay string
		Trust        struct{ Address string }
		Paired       struct{ Address string }
	}
	if err := json.Unmarshal([]byte(read(t, exampleFile)), &room); err != nil {
		t.Fatal(err)
	}
	for what, addr := range map[string]string{"relay": room.Relay, "attestation": room.Trust.Address, "panel": room.Paired.Address} {
		if _, port, err := net.SplitHostPort(addr); err != nil || open["tcp/"+port] != what {
			t.Errorf("the example has %s at %s, where the firewall opens %q", what, addr, open["tcp/"+port])
		}
	}
	if host, _, err := net.SplitHostPort(room.Panel); err != nil || !net.ParseIP(host).IsLoopback() {
		t.Errorf("the example's panel listens at %s", room.Panel)
	}
}

// isolated has cmd run in a network of its own, where it may do as it likes. Who
// is not root needs a user namespace for that; root does not, and may be in a
// chroot, where the kernel makes none.
func isolated(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}

// TestRules has the kernel take the rules, and read back what it made of them.
func TestRules(t *testing.T) {
	nft := tool(t, "nft")
	if status, out := run(t, isolated(exec.CommandContext(t.Context(), nft, "-f", rules))); status != 0 {
		t.Fatalf("nft: status %d\n%s", status, out)
	}
	bad := t.TempDir() + "/rules"
	write(t, bad, strings.Replace(read(t, rules), "tcp dport 7443", "tcp deport 7443", 1))
	if status, _ := run(t, isolated(exec.CommandContext(t.Context(), nft, "-f", bad))); status == 0 {
		t.Error("nft takes a rule that it does not know")
	}
}
