// SPDX-License-Identifier: Apache-2.0

// Package strict reads JSON that people or another program of the same release
// wrote: a member that nobody knows is a mistake, and is not skipped.
package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// Decode reads one JSON value into v. It refuses members that v has not, and
// bytes behind the value. The caller bounds b.
func Decode(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("bytes after the end of the object")
	}
	return nil
}
