// SPDX-License-Identifier: Apache-2.0

package boxlink

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

const sysfs = "/sys"

// arphrdEther is the type of Ethernet interfaces (Linux, if_arp.h).
const arphrdEther = "1"

// wired returns the name of the wired interface, the first by name if there are
// more: an Ethernet device that is hardware, and no radio.
func wired(sys string) string {
	entries, err := os.ReadDir(filepath.Join(sys, "class/net"))
	if err != nil {
		return ""
	}
	for _, e := range entries {
		dir := filepath.Join(sys, "class/net", e.Name())
		kind, err := os.ReadFile(filepath.Join(dir, "type"))
		if err != nil || strings.TrimSpace(string(kind)) != arphrdEther {
			continue
		}
		if exists(filepath.Join(dir, "device")) && !exists(filepath.Join(dir, "wireless")) && !exists(filepath.Join(dir, "phy80211")) {
			return e.Name()
		}
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// addresses returns the addresses of an interface, with the lengths of their
// prefixes; none if there is no such interface.
func addresses(name string) ([]string, error) {
	list := []string{}
	all, err := net.Interfaces()
	if err != nil {
		return list, fmt.Errorf("box: interfaces: %w", err)
	}
	for _, i := range all {
		if i.Name != name {
			continue
		}
		found, err := i.Addrs()
		if err != nil {
			return list, fmt.Errorf("box: %s: %w", name, err)
		}
		for _, a := range found {
			list = append(list, a.String())
		}
	}
	return list, nil
}
