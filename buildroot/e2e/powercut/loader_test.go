// SPDX-License-Identifier: Apache-2.0

package powercut

import (
	"slices"
	"testing"
)

// TestChosen compares with what systemd-boot 254 did under AAVMF, and with its
// documentation where that was not tried.
func TestChosen(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  []string
	}{
		{nil, nil},
		{[]string{"in-camera_1.0.0.policies.cbor", "in-camera_1.1.0.efi.part", "other.efi"}, nil},
		{[]string{"in-camera_1.0.0.efi", "in-camera_1.1.0+3.efi"}, []string{"in-camera_1.1.0+3.efi"}},
		{[]string{"in-camera_1.0.0.efi", "in-camera_1.1.0+2-1.efi"}, []string{"in-camera_1.1.0+2-1.efi"}},
		{[]string{"in-camera_1.0.0.efi", "in-camera_1.1.0+1-2.efi"}, []string{"in-camera_1.1.0+1-2.efi"}},
		{[]string{"in-camera_1.0.0.efi", "in-camera_1.1.0+0-3.efi"}, []string{"in-camera_1.0.0.efi"}},
		{[]string{"in-camera_1.0.0.efi", "in-camera_1.1.0.efi"}, []string{"in-camera_1.1.0.efi"}},
		{[]string{"in-camera_1.1.0.efi", "in-camera_1.0.0+3.efi"}, []string{"in-camera_1.1.0.efi"}},
		{[]string{"in-camera_1.1.0+0-0.efi", "in-camera_1.0.0+3.efi"}, []string{"in-camera_1.0.0+3.efi"}},
		{[]string{"in-camera_1.1.0+0-0.efi", "in-camera_1.0.0+0-3.efi"}, []string{"in-camera_1.1.0+0-0.efi"}},
		{[]string{"in-camera_1.1.0+3.efi", "in-camera_1.1.0+2-1.efi"}, []string{"in-camera_1.1.0+3.efi"}},
		{[]string{"in-camera_1.1.0+3.efi", "in-camera_1.1.0.efi"}, []string{"in-camera_1.1.0+3.efi", "in-camera_1.1.0.efi"}},
	} {
		var got []string
		for _, e := range chosen(c.names) {
			got = append(got, e.name)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("of %q the loader starts %q; want %q", c.names, got, c.want)
		}
	}
}

// TestCompareVersions has the examples of the UAPI version format.
func TestCompareVersions(t *testing.T) {
	for _, ordered := range [][]string{
		{"11", "11.1", "12"},
		{"0.1.0", "0.1.0-dev.9", "0.1.0-dev.10", "0.1.1"}, // otherwise than semantic versions
		{"122~rc1", "122-1", "122^post", "122.1", "122.1.1"},
		{"122.1~rc1", "122.1", "123~rc1", "123", "123-a", "123-a.1", "123-a1", "123-a1.1", "123-3", "123-3.1", "123^patch1", "123^1", "123.a-1", "123.1-1", "123a-1", "124"},
	} {
		for i, a := range ordered {
			for j, b := range ordered {
				got := compareVersions(a, b)
				if (got < 0) != (i < j) || (got == 0) != (i == j) {
					t.Errorf("compareVersions(%q, %q) = %d", a, b, got)
				}
			}
		}
	}
	if compareVersions("1.01", "1.1") != 0 || compareVersions("1_0", "10") == 0 {
		t.Error("leading zeros or what is ignored")
	}
}

// FuzzCompareVersions: an order is the same from both sides.
func FuzzCompareVersions(f *testing.F) {
	f.Add("1.0.0", "1.0.0-dev.1")
	f.Add("~", "")
	f.Fuzz(func(t *testing.T, a, b string) {
		if compareVersions(a, b) != -compareVersions(b, a) || compareVersions(a, a) != 0 {
			t.Errorf("%q and %q", a, b)
		}
	})
}
