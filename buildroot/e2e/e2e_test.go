// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"testing"
)

func TestGood(t *testing.T) {
	b := newBox(t)
	r := b.boot(t, "first")
	b.setUp(t, r)
	r.panel(t)
}
