// SPDX-License-Identifier: Apache-2.0

// Loads SPAKE2+ (device/pairing/page) on the page of pairing: browsers have no
// operations on points of their own.
import "wasm_exec";

declare global {
  const Go: new () => { importObject: WebAssembly.Imports; run(i: WebAssembly.Instance): Promise<void> };
}

let loaded: Promise<NonNullable<Window["inCameraPIN"]>> | null = null;

window.inCameraLoad = () => {
  if (!loaded) loaded = load();
  return loaded;
};

async function load(): Promise<NonNullable<Window["inCameraPIN"]>> {
  const go = new Go();
  const { instance } = await WebAssembly.instantiateStreaming(fetch("/pin.wasm"), go.importObject);
  void go.run(instance); // for as long as the page is open
  const prover = window.inCameraPIN;
  if (!prover) throw new Error("the module gave nothing");
  return prover;
}
