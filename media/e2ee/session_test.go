// SPDX-License-Identifier: Apache-2.0

package e2ee_test

import (
	"testing"
	"testing/synctest"
)

func TestMeeting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeeting(t)
		rooms := m.gather("Vauban", "Curie", "Monge")
		settle()
		agree(t, rooms...)
		hearEachOther(t, rooms...)
	})
}
