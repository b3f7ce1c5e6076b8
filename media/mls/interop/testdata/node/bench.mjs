// SPDX-License-Identifier: Apache-2.0

// Times of ts-mls inside its own process: the channel to the Go side does not
// count.

import {
  createApplicationMessage,
  createCommit,
  createGroup,
  defaultCapabilities,
  defaultLifetime,
  emptyPskIndex,
  encodeMlsMessage,
  generateKeyPackage,
  joinGroup,
  processPrivateMessage,
} from "ts-mls";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { suite as suiteOf } from "./suites.mjs";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc");

const version = "mls10";

// timed runs f k times, after once that does not count, and returns the median
// in milliseconds and the last result.
async function timed(k, f) {
  let result = await f();
  const times = [];
  for (let i = 0; i < k; i++) {
    const from = process.hrtime.bigint();
    result = await f();
    times.push(Number(process.hrtime.bigint() - from) / 1e6);
  }
  times.sort((a, b) => a - b);
  const at = times.length >> 1;
  return { ms: times.length % 2 ? times[at] : (times[at - 1] + times[at]) / 2, result };
}

// bench is the operation {"op":"bench","suite":1,"members":100,"k":5}. It makes
// a group of that many members and answers
//
//   ms: the median of k runs of
//     key_package     a client's KeyPackage, keys included
//     create          a group of one
//     add             one commit that adds members-1 clients, and its Welcome
//                     with the tree (ts-mls: without a path)
//     join            one of them reads the Welcome and verifies the tree
//     commit          the creator's empty commit: a path of fresh keys, sealed
//                     to all others one by one, since the tree is flat
//     process         the joiner takes that commit
//     protect, unprotect  an application message of 1 KiB
//   bytes: sizes of key_package, add, welcome, commit, message (MLSMessages)
//   memory: rss of the process; heap, what one member's state keeps alive
//
// Messages are framed and parsed inside neither: ts-mls hands over objects, of
// which encoding costs little; sizes are of their encodings. ts-mls makes
// states anew and leaves the old, so a step is repeated on the same one. Web
// Cryptography works on the threads of Node's pool.
export async function bench({ suite, members, k = 5 }) {
  const cs = await suiteOf(suite);
  const client = (i) =>
    generateKeyPackage(
      { credentialType: "basic", identity: new TextEncoder().encode(`member ${i}`) },
      { ...defaultCapabilities(), ciphersuites: [cs.name] },
      defaultLifetime,
      [],
      cs,
    );
  const ms = {};
  const step = async (name, f) => {
    const { ms: median, result } = await timed(k, f);
    ms[name] = median;
    return result;
  };
  const creator = await step("key_package", () => client(0));
  const others = [];
  for (let i = 1; i < members; i++) others.push(await client(i));
  const alone = await step("create", () =>
    createGroup(new TextEncoder().encode("bench"), creator.publicPackage, creator.privatePackage, [], cs),
  );
  const adds = others.map((o) => ({ proposalType: "add", add: { keyPackage: o.publicPackage } }));
  const added = await step("add", () =>
    createCommit({ state: alone, cipherSuite: cs }, { extraProposals: adds, ratchetTreeExtension: true }),
  );
  const join = () => joinGroup(added.welcome, others[0].publicPackage, others[0].privatePackage, emptyPskIndex, cs);
  const joined = await step("join", join);
  const renewed = await step("commit", () => createCommit({ state: added.newState, cipherSuite: cs }));
  const take = () => processPrivateMessage(joined, renewed.commit.privateMessage, emptyPskIndex, cs);
  const moved = (await step("process", take)).newState;
  const data = new Uint8Array(1024).fill(7);
  const sealed = await step("protect", () => createApplicationMessage(renewed.newState, data, cs));
  await step("unprotect", () => processPrivateMessage(moved, sealed.privateMessage, emptyPskIndex, cs));

  const size = (m) => encodeMlsMessage({ version, ...m }).length;
  const bytes = {
    key_package: size({ wireformat: "mls_key_package", keyPackage: creator.publicPackage }),
    add: size(added.commit),
    welcome: size({ wireformat: "mls_welcome", welcome: added.welcome }),
    commit: size(renewed.commit),
    message: size({ wireformat: "mls_private_message", privateMessage: sealed.privateMessage }),
  };
  const live = () => {
    for (let i = 0; i < 4; i++) collect();
    const m = process.memoryUsage();
    return m.heapUsed + m.arrayBuffers;
  };
  await join();
  const before = live();
  const kept = [];
  for (let i = 0; i < 8; i++) kept.push(await join());
  const memory = { rss: process.memoryUsage().rss, heap: Math.round((live() - before) / kept.length) };
  return { ms, bytes, memory, node: process.version };
}
