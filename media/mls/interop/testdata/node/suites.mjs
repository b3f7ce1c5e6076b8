// SPDX-License-Identifier: Apache-2.0

// The cipher suites of the tests, by their numbers on the wire.

import { XWing } from "@hpke/hybridkem-x-wing";
import { shake256 } from "@noble/hashes/sha3.js";
import { getCiphersuiteFromName, getCiphersuiteImpl } from "ts-mls";

// ts-mls has the NIST curves too; its signature keys for them are compressed,
// which the tests see refused.
const names = {
  1: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
  2: "MLS_128_DHKEMP256_AES128GCM_SHA256_P256",
  3: "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
  5: "MLS_256_DHKEMP521_AES256GCM_SHA512_P521",
  7: "MLS_256_DHKEMP384_AES256GCM_SHA384_P384",
};

const implementations = new Map();

export async function suite(id) {
  if (!implementations.has(id)) {
    implementations.set(id, await make(id));
  }
  return implementations.get(id);
}

async function make(id) {
  if (id === 0xf0a3) {
    const impl = await hybrid(id);
    return { ...impl, hpke: { ...impl.hpke, deriveKeyPair: deriveXWing } };
  }
  if (id === 0xf0a4) return hybrid(id); // the tests see it fail
  return getCiphersuiteImpl(getCiphersuiteFromName(names[id]));
}

// hybrid is MLKEM768X25519_AES256GCM_SHA384_Ed25519 under a number for private
// use, put together from the algorithms that ts-mls has: X-Wing is that KEM.
// Its own X-Wing suite (83) differs in the hash. A number that ts-mls has no
// name for is its own name.
const hybrid = (id) =>
  getCiphersuiteImpl({
    hash: "SHA-384",
    hpke: { kem: "X-Wing", kdf: "HKDF-SHA384", aead: "AES256GCM" },
    signature: "Ed25519",
    name: String(id),
  });

// deriveXWing is DeriveKeyPair of draft-ietf-hpke-pq-03, Section 4: a labelled
// one-step derivation of the seed. The peer's library has that of
// draft-connolly-cfrg-xwing-kem, SHAKE256 without labels, with which no tree
// agrees.
async function deriveXWing(ikm) {
  const label = Buffer.from("DeriveKeyPair");
  const length = 32;
  const input = Buffer.concat([
    ikm,
    Buffer.from("HPKE-v1KEM"),
    Buffer.from([0x64, 0x7a, 0, label.length]),
    label,
    Buffer.from([0, length]),
  ]);
  return new XWing().generateKeyPairDerand(shake256(new Uint8Array(input), { dkLen: length }));
}
