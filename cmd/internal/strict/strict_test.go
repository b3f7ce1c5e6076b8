// SPDX-License-Identifier: Apache-2.0

package strict

import (
	"encoding/json"
	"testing"
)

type thing struct {
	A int    `json:"a"`
	B string `json:"b"`
}

func TestDecode(t *testing.T) {
	for in, ok := range map[string]bool{
		`{"a":1,"b":"x"}`: true, " {} \n": true,
		``: false, `{"a":1`: false, `{"a":1} {}`: false, `{"a":1}]`: false, `{"a":1,"c":2}`: false, `{"a":"1"}`: false, `[]`: false,
	} {
		var v thing
		if err := Decode([]byte(in), &v); (err == nil) != ok {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// FuzzDecode: what is accepted is what encoding/json reads as one value.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":"x"}`))
	f.Add([]byte(`{"a":1}{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, want thing
		if Decode(b, &got) != nil {
			return
		}
		if err := json.Unmarshal(b, &want); err != nil || got != want {
			t.Errorf("%q is %+v; encoding/json: %+v, %v", b, got, want, err)
		}
	})
}
