// SPDX-License-Identifier: Apache-2.0

package signal

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

func (b Attach) check() error { return checkMeeting(b.Meeting) }
func (b Knock) check() error  { return checkBytes("key package", b.KeyPackage, MaxKeyPackage) }
func (b Submit) check() error { return checkBytes("message", b.Message, MaxHandshake) }
func (b Refuse) check() error { return firstOf(checkNumber(b.Knock), checkReason(b.Reason)) }
func (b Evict) check() error  { return b.Room.check() }
func (b Fresh) check() error  { return checkBytes("handle", b.Handle, MaxHandle) }
func (Leave) check() error    { return nil }
func (Cancel) check() error   { return nil }

func (b Attached) check() error {
	if len(b.Handle) > MaxHandle {
		return malformed("handle of %d bytes", len(b.Handle))
	}
	return nil
}

func (b Open) check() error {
	if len(b.Members) > MaxMembers {
		return malformed("%d members", len(b.Members))
	}
	for _, r := range b.Members {
		if err := r.check(); err != nil {
			return err
		}
	}
	return firstOf(checkMeeting(b.Meeting), checkEpoch(b.Epoch))
}

func (b Rejoin) check() error { return firstOf(checkMeeting(b.Meeting), checkNumber(b.Seq)) }

func (b Ring) check() error { return firstOf(checkMeeting(b.Meeting), CheckAddress(b.Relay)) }

func (b Commit) check() error {
	if err := checkBytes("commit", b.Message, MaxHandshake); err != nil {
		return err
	}
	if len(b.Welcomes) > MaxWelcomes {
		return malformed("%d welcomes", len(b.Welcomes))
	}
	total, seen := 0, make(map[uint64]bool, len(b.Welcomes))
	for _, w := range b.Welcomes {
		if err := firstOf(checkNumber(w.Knock), checkBytes("welcome", w.Message, MaxWelcome)); err != nil {
			return err
		}
		if seen[w.Knock] {
			return malformed("two welcomes for one knock")
		}
		seen[w.Knock] = true
		if total += len(w.Message); total > MaxWelcome {
			return malformed("welcomes of more than %d bytes", MaxWelcome)
		}
	}
	return nil
}

func (b Opened) check() error   { return checkNumber(b.Seq) }
func (Done) check() error       { return nil }
func (b Accepted) check() error { return checkNumber(b.Seq) }
func (Stale) check() error      { return nil }
func (b Refused) check() error  { return checkReason(b.Reason) }
func (Ringing) check() error    { return nil }
func (Answered) check() error   { return nil }
func (b Declined) check() error { return checkReason(b.Reason) }

func (b Welcomed) check() error {
	return firstOf(checkBytes("welcome", b.Message, MaxWelcome), checkNumber(b.Seq))
}

func (b Error) check() error {
	if !b.Code.Valid() {
		return malformed("unknown code")
	}
	if len(b.Detail) > MaxDetail || !printable(b.Detail) {
		return malformed("detail")
	}
	return nil
}

func (b Ordered) check() error {
	return firstOf(checkNumber(b.Seq), checkBytes("message", b.Message, MaxHandshake))
}

func (b Knocked) check() error {
	return firstOf(checkNumber(b.Knock), b.Room.check(), checkBytes("key package", b.KeyPackage, MaxKeyPackage))
}

func (b KnockEnded) check() error { return firstOf(checkNumber(b.Knock), checkReason(b.Reason)) }
func (b Presence) check() error   { return b.Room.check() }
func (b Gone) check() error       { return firstOf(b.Room.check(), checkReason(b.Reason)) }
func (b Closed) check() error     { return checkReason(b.Reason) }
func (Beat) check() error         { return nil }

// NewRoom makes a Room of a name and a site. It refuses what a panel could not
// show as it is: nothing, too much, or characters that print as nothing.
func NewRoom(name, site string) (Room, error) {
	r := Room{Name: name, Site: site}
	return r, r.check()
}

func (r Room) check() error {
	for _, s := range [...]string{r.Name, r.Site} {
		if s == "" || len(s) > MaxName || !printable(s) || strings.TrimSpace(s) != s {
			return malformed("name of a room or site")
		}
	}
	return nil
}

// CheckAddress refuses what is no host and port: an IP address, or a DNS name
// of letters, digits, hyphens and dots, and a decimal port from 1.
func CheckAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || len(s) > MaxAddress {
		return malformed("address")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return malformed("port")
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	other := func(r rune) bool {
		return r != '.' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	if host == "" || strings.IndexFunc(host, other) >= 0 {
		return malformed("host")
	}
	return nil
}

func checkMeeting(id []byte) error {
	if len(id) < MinMeeting || len(id) > MaxMeeting {
		return malformed("meeting id of %d bytes", len(id))
	}
	return nil
}

func checkBytes(what string, b []byte, limit int) error {
	if len(b) == 0 || len(b) > limit {
		return malformed("%s of %d bytes", what, len(b))
	}
	return nil
}

// checkNumber refuses 0 where numbers begin at 1, and 2^64-1, so that the next
// number always exists.
func checkNumber(n uint64) error {
	if n == 0 || n == 1<<64-1 {
		return malformed("number out of range")
	}
	return nil
}

// checkEpoch leaves room above: a meeting opened at the last epoch could never
// go on.
func checkEpoch(n uint64) error {
	if n >= 1<<63 {
		return malformed("epoch out of range")
	}
	return nil
}

func checkReason(r Reason) error {
	if !r.Valid() {
		return malformed("unknown reason")
	}
	return nil
}

// printable refuses control and format characters, of which some turn the
// direction of the text around them.
func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
