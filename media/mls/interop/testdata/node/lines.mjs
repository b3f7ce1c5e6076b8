// SPDX-License-Identifier: Apache-2.0

// The channel to the Go side: one JSON object a line. A request is
// {"id":1,"op":"join",...}; its answer {"id":1,"ok":{...}} or
// {"id":1,"err":"..."}. Requests are answered in order. Bytes are hex.

import { webcrypto } from "node:crypto";
import { createInterface } from "node:readline";

// Node 18 has Web Cryptography and not its global name. This module must be
// imported before those that expect the name.
globalThis.crypto ??= webcrypto;

export const hex = (bytes) => Buffer.from(bytes).toString("hex");
export const unhex = (text) => new Uint8Array(Buffer.from(text, "hex"));

// serve answers requests with ops until the other side closes the channel.
export async function serve(ops) {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    let answer;
    try {
      const op = ops[request.op];
      if (op === undefined) throw new Error(`no operation ${request.op}`);
      answer = { id: request.id, ok: (await op(request)) ?? {} };
    } catch (err) {
      answer = { id: request.id, err: `${err.name}: ${err.message}` };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
}
