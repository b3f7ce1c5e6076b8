// SPDX-License-Identifier: Apache-2.0

//go:build !cgo

package sound

import "time"

// Devices returns [ErrNotBuilt].
func Devices() ([]Device, error) { return nil, ErrNotBuilt }

// A Duplex cannot be made without cgo.
type Duplex struct{ *stream }

// Open returns [ErrNotBuilt].
func Open(Config) (*Duplex, error) { return nil, ErrNotBuilt }

// Delay is zero.
func (d *Duplex) Delay() time.Duration { return 0 }

// Close does nothing.
func (d *Duplex) Close() error { return nil }
