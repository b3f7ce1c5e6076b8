// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A BundleEntry is a release that the verifier holds for the site's rooms, as
// one file that package update installs.
type BundleEntry struct {
	Board    string    `json:"board"`
	Version  string    `json:"version"`
	Rollback uint64    `json:"rollback"`
	Size     int64     `json:"size"`   // of the file, bytes
	SHA256   string    `json:"sha256"` // of the file, hexadecimal
	Added    time.Time `json:"added"`
	Approved bool      `json:"approved"` // rooms may have it
}

// Check reports what cannot be true of an entry.
func (e *BundleEntry) Check() error {
	if b, err := hex.DecodeString(e.SHA256); err != nil || len(b) != 32 {
		return errors.New("enrol: bundle: sha256: 64 hexadecimal digits")
	}
	if !IsBoard(e.Board) || !IsVersion(e.Version) || e.Size <= 0 {
		return errors.New("enrol: bundle: board, version or size")
	}
	return nil
}

// A DirectoryEntry is a room of the site, as other rooms find it.
type DirectoryEntry struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Address string `json:"address"` // of its relay, host:port
}

// Check reports what cannot be true of an entry.
func (e *DirectoryEntry) Check() error {
	if !IsRoom(e.ID) || !IsName(e.Name) || !IsAddress(e.Address) {
		return errors.New("enrol: directory: id, name or address")
	}
	return nil
}

// RelayPort is that of a room's relay where staff say nothing else.
const RelayPort = "7443"

// IsAddress reports whether s is host:port in its one spelling, the host a DNS
// name in lower case or an IP address without a zone.
func IsAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || net.JoinHostPort(host, port) != s {
		return false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return false
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Zone() == "" && ip.String() == host
	}
	return isDomain(host)
}

// isDomain reports whether s is a DNS name in lower case (RFC 1123, Section 2.1).
func isDomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
			strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
	}
	return true
}

// IsBoard reports whether s can name a board in a query: hardware, and the kind
// of its image, such as "qemu-arm64/debian".
func IsBoard(s string) bool {
	return s != "" && len(s) <= 48 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-/") == ""
}

// IsVersion reports whether s can name a release in a path. What order versions
// have, package update knows.
func IsVersion(s string) bool {
	return s != "" && len(s) <= 40 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" && s[0] != '.'
}
