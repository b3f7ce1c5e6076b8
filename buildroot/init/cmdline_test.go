// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseCommandLine(t *testing.T) {
	hash := strings.Repeat("0123456789abcdef", 4)
	good := "incamera.roothash=" + hash + " incamera.hashoff=22847488"
	for name, c := range map[string]struct {
		line string
		want string // in the error; empty if the line will do
	}{
		"as the build writes it":          {"console=ttyAMA0 panic=10 quiet loglevel=4 " + good + "\n", ""},
		"alone":                           {good, ""},
		"other words of ours":             {good + " incamera.debug", ""},
		"empty":                           {"", "roothash"},
		"no hash":                         {"incamera.hashoff=4096", "roothash"},
		"no offset":                       {"incamera.roothash=" + hash, "hashoff"},
		"hash twice":                      {good + " incamera.roothash=" + hash, "twice"},
		"offset twice":                    {"incamera.hashoff=4096 " + good, "twice"},
		"a word of ours twice":            {good + " incamera.debug incamera.debug=1", "twice"},
		"short hash":                      {"incamera.roothash=" + hash[2:] + " incamera.hashoff=4096", "roothash"},
		"long hash":                       {"incamera.roothash=" + hash + "00 incamera.hashoff=4096", "roothash"},
		"no hash at all":                  {"incamera.roothash=" + strings.Repeat("x", 64) + " incamera.hashoff=4096", "roothash"},
		"offset zero":                     {"incamera.roothash=" + hash + " incamera.hashoff=0", "hashoff"},
		"offset amid a block":             {"incamera.roothash=" + hash + " incamera.hashoff=4097", "hashoff"},
		"negative offset":                 {"incamera.roothash=" + hash + " incamera.hashoff=-4096", "hashoff"},
		"offset in hexadecimal":           {"incamera.roothash=" + hash + " incamera.hashoff=0x1000", "hashoff"},
		"offset beyond all disks":         {"incamera.roothash=" + hash + " incamera.hashoff=1099511631872", "hashoff"},
		"offset beyond 64 bits":           {"incamera.roothash=" + hash + " incamera.hashoff=18446744073709555712", "hashoff"},
		"a word that only begins like it": {"incamera.roothashes=" + hash + " incamera.hashoff=4096", "roothash"},
		"another's words":                 {"xincamera.roothash=" + hash + " incamera.hashoff=4096", "roothash"},
		"too long":                        {good + strings.Repeat(" ", maxCommandLine), "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			i, err := parseCommandLine(c.line)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || i != (image{}) {
					t.Errorf("parseCommandLine = %+v, %v; want an error with %q", i, err, c.want)
				}
				return
			}
			if err != nil || fmt.Sprintf("%x", i.rootHash) != hash || i.hashOffset != 22847488 {
				t.Errorf("parseCommandLine = %+v, %v", i, err)
			}
		})
	}
}

// What is accepted says the same when it is written again.
func FuzzParseCommandLine(f *testing.F) {
	hash := strings.Repeat("f0", 32)
	for _, s := range []string{"", "incamera.roothash=" + hash + " incamera.hashoff=4096", "a incamera.hashoff=8192\tincamera.roothash=" + strings.ToUpper(hash), "incamera.roothash= incamera.hashoff="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		i, err := parseCommandLine(line)
		if err != nil {
			return
		}
		if i.hashOffset == 0 || i.hashOffset%blockSize != 0 || i.hashOffset > maxSystem {
			t.Errorf("offset %d", i.hashOffset)
		}
		again, err := parseCommandLine(fmt.Sprintf("incamera.roothash=%x incamera.hashoff=%d", i.rootHash, i.hashOffset))
		if err != nil || again != i {
			t.Errorf("%q: %+v, again %+v, %v", line, i, again, err)
		}
	})
}
