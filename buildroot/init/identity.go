// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
)

// The system's identity is in a PCR of its own: the verifier compares it with the
// one of the enrolment, so that evidence of this TPM with other data is not this
// room's. A factory reset makes another.
const pcrIdentity = 15

// Where a LUKS2 header has its UUID (LUKS2 On-Disk Format Specification 1.1.1,
// Section 2.1).
const (
	luksUUID     = 168
	luksUUIDSize = 40
)

var uuids = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// identity is the word for the data partition that is open.
func (l *luks) identity() (string, error) {
	f, err := os.Open(l.device)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, luksUUID+luksUUIDSize)
	if _, err := io.ReadFull(f, b); err != nil {
		return "", err
	}
	uuid := string(bytes.TrimRight(b[luksUUID:], "\x00"))
	if !bytes.HasPrefix(b, []byte("LUKS\xba\xbe\x00\x02")) || !uuids.MatchString(uuid) {
		return "", errors.New("the data partition has no identity")
	}
	return fmt.Sprintf("data:%s", uuid), nil
}
