// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"incamera/secureboot/seal"
	"incamera/secureboot/tpm"
)

// All that init may find. Only what is new is set up, and what was begun.
func TestIsToBeSetUp(t *testing.T) {
	none := fmt.Errorf("no record: %w", fs.ErrNotExist)
	for _, c := range []struct {
		name            string
		opened          error
		complete, isNew bool
		want            bool
		refusal         error
	}{
		{"a new box", none, false, true, true, nil},
		{"cut short before the data", nil, false, true, true, nil},
		{"cut short after the data", nil, false, false, true, nil},
		{"a room", nil, true, false, false, nil},
		{"data of another room, or a store that is lost", none, false, false, false, errData},
		{"a room whose data is lost", nil, true, true, false, errEmpty},
		{"another TPM", tpm.ErrForeignKey, false, false, false, seal.ErrForeign},
		{"another TPM and no data", tpm.ErrForeignKey, false, true, false, seal.ErrForeign},
		{"a TPM that was cleared", tpm.ErrAbsent, false, false, false, seal.ErrForeign},
		{"a damaged record", errors.New("malformed"), false, true, false, seal.ErrForeign},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := isToBeSetUp(c.opened, c.complete, c.isNew)
			if got != c.want || !errors.Is(err, c.refusal) || (err == nil) != (c.refusal == nil) {
				t.Errorf("isToBeSetUp = %v, %v; want %v, %v", got, err, c.want, c.refusal)
			}
			if c.opened != nil && !errors.Is(c.opened, fs.ErrNotExist) && !errors.Is(err, c.opened) {
				t.Errorf("%v does not say %v", err, c.opened)
			}
		})
	}
}
