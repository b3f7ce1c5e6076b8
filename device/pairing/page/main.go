// SPDX-License-Identifier: Apache-2.0

//go:build js && wasm

// Command page is the panel's half of SPAKE2+ in a browser, which has no
// operations on points of its own: the same package as the room's, as
// WebAssembly. It gives the page one function,
//
//	inCameraPIN(pin, salt, context) -> {share, finish(share, confirm)}
//
// whose finish returns the last confirmation, or null when the room does not
// know the PIN. All values but the PIN are Uint8Array.
package main

import (
	"syscall/js"

	"incamera/device/pairing/spake"
)

func main() {
	js.Global().Set("inCameraPIN", js.FuncOf(begin))
	select {} // the page ends it by leaving
}

// begin returns null if it cannot.
func begin(_ js.Value, args []js.Value) any {
	if len(args) != 3 {
		return nil
	}
	secret, err := spake.NewSecret(args[0].String(), bytes(args[1]), "panel", "room")
	if err != nil {
		return nil
	}
	p, err := spake.NewProver(spake.Parties{Context: bytes(args[2]), Prover: "panel", Verifier: "room"}, secret)
	if err != nil {
		return nil
	}
	finish := js.FuncOf(func(_ js.Value, args []js.Value) any {
		if len(args) != 2 {
			return nil
		}
		last, _, err := p.Finish(bytes(args[0]), bytes(args[1]))
		if err != nil {
			return nil
		}
		return array(last)
	})
	return map[string]any{"share": array(p.Share()), "finish": finish}
}

func bytes(v js.Value) []byte {
	out := make([]byte, v.Get("length").Int())
	js.CopyBytesToGo(out, v)
	return out
}

func array(b []byte) js.Value {
	out := js.Global().Get("Uint8Array").New(len(b))
	js.CopyBytesToJS(out, b)
	return out
}
