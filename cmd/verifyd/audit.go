// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"
)

// audit adds a line to the audit log, in the transaction of the act: what cannot
// be written down does not happen. Lines are chained by hash, so that one that
// was changed or taken out in the database shows.
func (t *txn) audit(now time.Time, who, act, subject string) error {
	if err := t.lock(); err != nil {
		return err
	}
	var seq int64
	var last []byte
	err := t.row(`SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1`, nil, &seq, &last)
	if err != nil && !errors.Is(err, errNone) {
		return err
	}
	at := now.UnixMicro()
	hash := auditHash(last, seq+1, at, who, act, subject)
	_, err = t.exec(`INSERT INTO audit (seq, at, who, act, subject, hash) VALUES (?, ?, ?, ?, ?, ?)`,
		seq+1, at, who, act, subject, hash[:])
	return err
}

func auditHash(last []byte, seq, at int64, who, act, subject string) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "in-camera/audit/v1\n%x\n%d\n%d\n%q\n%q\n%q\n", last, seq, at, who, act, subject))
}

// An auditLine is one act.
type auditLine struct {
	Seq     int64     `json:"seq"`
	At      time.Time `json:"at"`
	Who     string    `json:"who"`
	Act     string    `json:"act"`
	Subject string    `json:"subject"`
}

// errAudit means that the audit log was changed by someone else.
var errAudit = errors.New("audit: the chain of lines is broken")

// maxAudit bounds the lines of one answer: the newest.
const maxAudit = 1000

// auditLines checks the whole chain and returns the newest lines.
func (t *txn) auditLines() ([]auditLine, error) {
	var lines []auditLine
	var last []byte
	var next int64 = 1
	err := t.rows(`SELECT seq, at, who, act, subject, hash FROM audit ORDER BY seq`, nil, func(read func(...any) error) error {
		var l auditLine
		var at int64
		var hash []byte
		if err := read(&l.Seq, &at, &l.Who, &l.Act, &l.Subject, &hash); err != nil {
			return err
		}
		want := auditHash(last, l.Seq, at, l.Who, l.Act, l.Subject)
		if l.Seq != next || !bytes.Equal(want[:], hash) {
			return errAudit
		}
		last, next = hash, next+1
		l.At = time.UnixMicro(at).UTC()
		if lines = append(lines, l); len(lines) > maxAudit {
			lines = lines[1:]
		}
		return nil
	})
	return lines, err
}
