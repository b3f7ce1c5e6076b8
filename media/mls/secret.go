// SPDX-License-Identifier: Apache-2.0

package mls

import (
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// A secret is key material. It does not print, and its owner wipes it.
type secret []byte

// String hides the secret from the verbs of package fmt.
func (s secret) String() string { return redacted }

// GoString hides the secret from the verb %#v.
func (s secret) GoString() string { return redacted }

// Format hides the secret from every verb, %x and %d included.
func (s secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the secret from package slog.
func (s secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the secret from encoders such as encoding/json.
func (s secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// wipe overwrites the secret. Copies that the runtime or a library made are
// out of reach: the README says so.
func (s secret) wipe() { clear(s) }
