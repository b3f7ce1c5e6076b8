// SPDX-License-Identifier: Apache-2.0

package main

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"incamera/secureboot/enrol"
)

// TestUpgrade opens a database that a release of schema 1 wrote. It stays as it
// is when it is opened again, and one of a later schema is left alone.
func TestUpgrade(t *testing.T) {
	dump, err := os.ReadFile("testdata/v1/verifier.sql")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "verifier.db")
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), string(dump)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	v := &service{}
	for range 2 {
		s, err := openStore(t.Context(), "sqlite:"+path)
		if err != nil {
			t.Fatal(err)
		}
		err = s.update(t.Context(), func(x *txn) error {
			if b, err := x.meta("schema"); err != nil || string(b) != strconv.Itoa(schemaVersion) {
				t.Errorf("schema %q, %v", b, err)
			}
			if lines, err := x.auditLines(); err != nil || len(lines) != 1 {
				t.Errorf("audit log %v, %v", lines, err)
			}
			// The code still serves; where the room will be, nobody said.
			k, err := v.redeem(x, &enrol.BeginRequest{Code: "P92H-AYYX-KRSJ-89RC", Serial: "IC-0001"}, time.UnixMicro(1795844920956236))
			if err != nil || k.room != "boardroom" || k.name != "Boardroom" || k.address != "" {
				t.Errorf("redeem = %+v, %v", k, err)
			}
			var n int
			if err := x.row(`SELECT count(*) FROM bundles`, nil, &n); err != nil || n != 0 {
				t.Errorf("%d bundles, %v", n, err)
			}
			return nil
		})
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for _, later := range []string{strconv.Itoa(schemaVersion + 1), "0", "x"} {
		s, err := openStore(t.Context(), "sqlite:"+path)
		if err != nil {
			t.Fatal(err)
		}
		err = s.update(t.Context(), func(x *txn) error { return x.setMeta("schema", []byte(later)) })
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := openStore(t.Context(), "sqlite:"+path); !errors.Is(err, errNewer) {
			t.Errorf("schema %s: %v, want errNewer", later, err)
		}
		// Nothing was done to it.
		if db, err = sql.Open("sqlite", "file:"+path); err != nil {
			t.Fatal(err)
		}
		var found []byte
		err = db.QueryRowContext(t.Context(), `SELECT value FROM meta WHERE name = 'schema'`).Scan(&found)
		if err != nil || string(found) != later {
			t.Errorf("schema %q, %v; want %q", found, err, later)
		}
		_, err = db.ExecContext(t.Context(), `UPDATE meta SET value = ? WHERE name = 'schema'`, []byte(strconv.Itoa(schemaVersion)))
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
