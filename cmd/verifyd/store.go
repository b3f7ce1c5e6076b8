// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "modernc.org/sqlite"             // driver "sqlite"
)

// A store is the verifier's memory: what it has answered for is written before
// the answer goes out, so a restart or a power cut loses nothing.
type store struct {
	db       *sql.DB
	quick    *sql.DB // SQLite without waiting for the disk; db itself on PostgreSQL
	postgres bool
	turn     sync.Mutex // SQLite has one writer, and a queue is fairer than its retries
}

// schemaVersion is that of the tables. A database of a newer release is left
// alone.
const schemaVersion = 2

// errNewer means that a newer release wrote the database.
var errNewer = errors.New("store: written by a newer release of verifyd; start that one")

// openStore opens "sqlite:PATH" or a DSN "postgres://...".
func openStore(ctx context.Context, dsn string) (*store, error) {
	s := &store{}
	var err error
	switch scheme, rest, _ := strings.Cut(dsn, ":"); scheme {
	case "sqlite":
		// FULL: a commit has reached the disk. NORMAL: it has reached the
		// operating system, and the disk with the next one that is FULL.
		if s.db, err = openSQLite(rest, "FULL"); err == nil {
			s.quick, err = openSQLite(rest, "NORMAL")
		}
	case "postgres", "postgresql":
		s.postgres = true
		s.db, err = sql.Open("pgx", dsn)
		if err == nil {
			s.db.SetMaxOpenConns(8)
			s.quick = s.db
		}
	default:
		return nil, errors.New(`store: want "sqlite:PATH" or "postgres://..."`)
	}
	if err != nil {
		return nil, fmt.Errorf("store: open: %w", redacted(err))
	}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func openSQLite(path, synchronous string) (*sql.DB, error) {
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(" + synchronous + ")", "busy_timeout(5000)", "foreign_keys(1)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+path+"?"+q.Encode())
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

// redacted keeps a password in a DSN out of the log: drivers quote it.
func redacted(err error) error {
	if strings.Contains(err.Error(), "://") {
		return errors.New("the DSN is not understood")
	}
	return err
}

func (s *store) Close() error {
	if s.postgres {
		return s.db.Close()
	}
	return errors.Join(s.quick.Close(), s.db.Close())
}

// schema uses what both databases know, but for the type of bytes. Instants
// are microseconds since 1970.
var schema = []string{
	`CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS codes (
		hash BLOB PRIMARY KEY, serial TEXT NOT NULL, room TEXT NOT NULL, name TEXT NOT NULL,
		expires BIGINT NOT NULL, spent INTEGER NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS endorsement_keys (hash TEXT PRIMARY KEY, note TEXT NOT NULL)`,
	// An enrolment that is under way. It becomes a room when it is
	// acknowledged and is forgotten at its deadline: until then a room of
	// the same id is untouched.
	`CREATE TABLE IF NOT EXISTS enrolments (
		session TEXT PRIMARY KEY, room TEXT NOT NULL UNIQUE, code BLOB NOT NULL UNIQUE, secret BLOB NOT NULL,
		nonce BLOB NOT NULL, state TEXT NOT NULL, begun BIGINT NOT NULL, deadline BIGINT NOT NULL, record BLOB NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS rooms (
		id TEXT PRIMARY KEY, session TEXT NOT NULL, secret BLOB NOT NULL, state TEXT NOT NULL, identity BLOB NOT NULL,
		ek TEXT NOT NULL, record BLOB NOT NULL)`,
	`CREATE INDEX IF NOT EXISTS rooms_session ON rooms (session)`,
	`CREATE INDEX IF NOT EXISTS rooms_identity ON rooms (identity)`,
	`CREATE INDEX IF NOT EXISTS rooms_ek ON rooms (ek)`,
	`CREATE TABLE IF NOT EXISTS challenges (
		session TEXT PRIMARY KEY, room TEXT NOT NULL, nonce BLOB NOT NULL, profile TEXT NOT NULL,
		issued BIGINT NOT NULL, used INTEGER NOT NULL)`,
	`CREATE INDEX IF NOT EXISTS challenges_room ON challenges (room, issued)`,
	`CREATE INDEX IF NOT EXISTS challenges_issued ON challenges (issued)`,
	`CREATE TABLE IF NOT EXISTS certificates (
		fingerprint TEXT PRIMARY KEY, room TEXT NOT NULL, session TEXT NOT NULL, expires BIGINT NOT NULL, revoked INTEGER NOT NULL)`,
	`CREATE INDEX IF NOT EXISTS certificates_room ON certificates (room)`,
	`CREATE TABLE IF NOT EXISTS revoked_keys (ak TEXT PRIMARY KEY, room TEXT NOT NULL, at BIGINT NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS refs (
		sha256 TEXT PRIMARY KEY, board TEXT NOT NULL, version TEXT NOT NULL, rollback BIGINT NOT NULL,
		document BLOB NOT NULL, proof BLOB NOT NULL, added BIGINT NOT NULL, revoked INTEGER NOT NULL)`,
	// Each line has the hash of itself and the line before.
	`CREATE TABLE IF NOT EXISTS audit (
		seq BIGINT PRIMARY KEY, at BIGINT NOT NULL, who TEXT NOT NULL, act TEXT NOT NULL, subject TEXT NOT NULL, hash BLOB NOT NULL)`,
	// A bundle's file is in the folder of bundles, under its hash.
	`CREATE TABLE IF NOT EXISTS bundles (
		board TEXT NOT NULL, version TEXT NOT NULL, rollback BIGINT NOT NULL, size BIGINT NOT NULL, sha256 TEXT NOT NULL,
		added BIGINT NOT NULL, approved INTEGER NOT NULL, document BLOB NOT NULL, proof BLOB NOT NULL, PRIMARY KEY (board, version))`,
}

// upgrades lead from a version of the tables to the next, the first from 1.
var upgrades = []string{
	`ALTER TABLE codes ADD COLUMN address TEXT NOT NULL DEFAULT ''`,
}

func (s *store) migrate(ctx context.Context) error {
	return s.update(ctx, func(tx *txn) error {
		if s.postgres { // two verifiers that start at once
			if _, err := tx.exec(`SELECT pg_advisory_xact_lock(7042)`); err != nil {
				return err
			}
		}
		for _, statement := range schema {
			if s.postgres {
				statement = strings.ReplaceAll(statement, "BLOB", "BYTEA")
			}
			if _, err := tx.exec(statement); err != nil {
				return fmt.Errorf("schema: %w", err)
			}
		}
		for name, value := range map[string]string{"schema": "1", "lock": "", "checkpoint": "", "history": "", "directory": "none", "references": "none"} {
			if _, err := tx.exec(`INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING`, name, []byte(value)); err != nil {
				return err
			}
		}
		b, err := tx.meta("schema")
		if err != nil {
			return err
		}
		v, err := strconv.Atoi(string(b))
		if err != nil || v < 1 || v > schemaVersion {
			return errNewer
		}
		for _, statement := range upgrades[v-1:] {
			if _, err := tx.exec(statement); err != nil {
				return fmt.Errorf("upgrade: %w", err)
			}
		}
		return tx.setMeta("schema", []byte(strconv.Itoa(schemaVersion)))
	})
}

// A txn is a transaction. Its queries have ? for parameters.
type txn struct {
	ctx      context.Context
	tx       *sql.Tx
	postgres bool
}

// update runs f in a transaction and commits unless f fails. What was committed
// survives a power cut.
func (s *store) update(ctx context.Context, f func(*txn) error) error {
	return s.transact(ctx, s.db, f)
}

// glance is update for challenges and for reading: what was committed survives
// the end of the process, and a power cut may take the last second of it. A
// challenge that is lost is asked for again.
func (s *store) glance(ctx context.Context, f func(*txn) error) error {
	return s.transact(ctx, s.quick, f)
}

func (s *store) transact(ctx context.Context, db *sql.DB, f func(*txn) error) error {
	if !s.postgres {
		s.turn.Lock()
		defer s.turn.Unlock()
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("store: begin: %w", redacted(err))
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := f(&txn{ctx, tx, s.postgres}); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("store: commit: %w", err)
	}
	return nil
}

// lock makes transactions that call it follow one another. SQLite's do anyway.
func (t *txn) lock() error {
	_, err := t.exec(`UPDATE meta SET value = value WHERE name = 'lock'`)
	return err
}

// exec returns the number of rows changed.
func (t *txn) exec(query string, args ...any) (int64, error) {
	r, err := t.tx.ExecContext(t.ctx, t.bind(query), args...)
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	n, err := r.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	return n, nil
}

// errNone means that a query for one row found none.
var errNone = errors.New("store: no such row")

// row reads one row into dest.
func (t *txn) row(query string, args []any, dest ...any) error {
	err := t.tx.QueryRowContext(t.ctx, t.bind(query), args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return errNone
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// rows calls scan for each row.
func (t *txn) rows(query string, args []any, scan func(read func(dest ...any) error) error) error {
	rows, err := t.tx.QueryContext(t.ctx, t.bind(query), args...)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer func() { _ = rows.Close() }() // Err says what went wrong
	for rows.Next() {
		if err := scan(rows.Scan); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

func (t *txn) meta(name string) ([]byte, error) {
	var b []byte
	return b, t.row(`SELECT value FROM meta WHERE name = ?`, []any{name}, &b)
}

func (t *txn) setMeta(name string, value []byte) error {
	_, err := t.exec(`UPDATE meta SET value = ? WHERE name = ?`, value, name)
	return err
}

// bind numbers the parameters as PostgreSQL wants them. No query here has a
// question mark in a text.
func (t *txn) bind(query string) string {
	if !t.postgres {
		return query
	}
	var b strings.Builder
	n := 0
	for _, r := range query {
		if r != '?' {
			b.WriteRune(r)
			continue
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
	}
	return b.String()
}
