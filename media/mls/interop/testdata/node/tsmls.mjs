// SPDX-License-Identifier: Apache-2.0

// Clients of ts-mls for the tests of media/mls/interop: see lines.mjs for the
// channel. Bytes are hex; messages, KeyPackages and GroupInfos are MLSMessages.
// A client is named by `who`. Operations:
//
//   keypackage {who, suite, identity, extensions, padding} -> {keypackage}
//   create {who, group, extensions}   a group of the client's keypackage
//   join {who, welcome}               by the client's keypackage
//   propose {who, plain, proposal}    -> {message}
//   commit {who, plain, proposals}    -> {message, welcome}; of these and all that wait
//   apply {who} discard {who}         what commit or external_join made
//   process {who, message}            -> {kind, removed, data}
//   app {who, data}                   -> {message}
//   group_info {who, raw}             -> {info}
//   external_join {who, info, resync} -> {message}
//   propose_self {who, info}          -> {message}
//   psk {psk, key}                    a key all clients know from then on
//   view {who, label, context, length} -> {epoch, leaf, members, authenticator, exporter}
//   bench                             times inside this process: see bench.mjs
//
// A proposal is {add: keypackage}, {remove: leaf}, {update: true}, {psk: id},
// {resumption: epoch} or {extensions: [{type, data}]}.

import { hex, serve, unhex } from "./lines.mjs";
import { bench } from "./bench.mjs";
import { suite } from "./suites.mjs";
import {
  acceptAll,
  bytesToBase64,
  createApplicationMessage,
  createCommit,
  createGroup,
  createGroupInfoWithExternalPubAndRatchetTree,
  createProposal,
  decodeMlsMessage,
  defaultCapabilities,
  defaultExtensionTypes,
  defaultLifetime,
  encodeMlsMessage,
  generateKeyPackageWithKey,
  joinGroup,
  joinGroupExternal,
  makePskIndex,
  mlsExporter,
  processPrivateMessage,
  processPublicMessage,
  proposeAddExternal,
} from "ts-mls";
import { defaultClientConfig } from "ts-mls/clientConfig.js";
import { decodeVarLenData, varLenDataEncoder } from "ts-mls/codec/variableLength.js";
import { encode } from "ts-mls/codec/tlsEncoder.js";
import { createGroupInfoWithRatchetTree } from "ts-mls/createCommit.js";
import { signWithLabel } from "ts-mls/crypto/signature.js";
import { leafNodeTBSEncoder } from "ts-mls/leafNode.js";

const version = "mls10";
const clients = new Map();
const psks = {};

const message = (m) => hex(encodeMlsMessage({ version, ...m }));

// parse decodes an MLSMessage, all of it.
function parse(text, ...formats) {
  const bytes = unhex(text);
  const decoded = decodeMlsMessage(bytes, 0);
  if (decoded === undefined || decoded[1] !== bytes.length) throw new Error("not an MLSMessage");
  if (!formats.includes(decoded[0].wireformat)) throw new Error(`a message of ${decoded[0].wireformat}`);
  return decoded[0];
}

function client(who) {
  const c = clients.get(who);
  if (c === undefined) throw new Error(`no client ${who}`);
  return c;
}

const pskIndex = (state) => makePskIndex(state, psks);

// Types that RFC 9420 defines have names in ts-mls, others are numbers.
const extensionName = Object.fromEntries(Object.entries(defaultExtensionTypes).map(([name, type]) => [type, name]));
const extensions = (list = []) =>
  list.map(({ type, data }) => ({ extensionType: extensionName[type] ?? type, extensionData: unhex(data) }));

async function keypackage({ who, suite: id, identity, extensions = [], padding }) {
  const cs = await suite(id);
  const signature = clients.get(who)?.signature ?? (await cs.signature.keygen());
  const capabilities = defaultCapabilities();
  capabilities.ciphersuites.push(cs.name);
  capabilities.extensions.push(...extensions);
  const credential = { credentialType: "basic", identity: unhex(identity) };
  const made = await generateKeyPackageWithKey(credential, capabilities, defaultLifetime, [], signature, cs);
  const config = { ...defaultClientConfig };
  if (padding !== undefined) config.paddingConfig = { kind: "alwaysPad", paddingLength: padding };
  clients.set(who, { updates: new Map(), ...clients.get(who), cs, signature, config, ...made });
  return { keypackage: message({ wireformat: "mls_key_package", keyPackage: made.publicPackage }) };
}

async function create({ who, group, extensions: list }) {
  const c = client(who);
  c.state = await createGroup(unhex(group), c.publicPackage, c.privatePackage, extensions(list), c.cs, c.config);
}

async function join({ who, welcome }) {
  const c = client(who);
  const { welcome: w } = parse(welcome, "mls_welcome");
  c.state = await joinGroup(w, c.publicPackage, c.privatePackage, pskIndex(), c.cs, undefined, undefined, c.config);
}

async function proposal(c, p) {
  if (p.add !== undefined) {
    return { proposalType: "add", add: { keyPackage: parse(p.add, "mls_key_package").keyPackage } };
  }
  if (p.remove !== undefined) return { proposalType: "remove", remove: { removed: p.remove } };
  if (p.update) return { proposalType: "update", update: { leafNode: await update(c) } };
  if (p.extensions !== undefined) {
    return { proposalType: "group_context_extensions", groupContextExtensions: { extensions: extensions(p.extensions) } };
  }
  const pskNonce = c.cs.rng.randomBytes(c.cs.kdf.size);
  const id =
    p.psk !== undefined
      ? { psktype: "external", pskId: unhex(p.psk), pskNonce }
      : {
          psktype: "resumption",
          usage: "application",
          pskGroupId: c.state.groupContext.groupId,
          pskEpoch: BigInt(p.resumption),
          pskNonce,
        };
  return { proposalType: "psk", psk: { preSharedKeyId: id } };
}

// update makes a leaf for an Update. ts-mls makes none itself, and has no place
// for its private key until the commit: process puts it there.
async function update(c) {
  const pair = await c.cs.hpke.generateKeyPair();
  const hpkePublicKey = await c.cs.hpke.exportPublicKey(pair.publicKey);
  const { leafIndex } = c.state.privatePath;
  const { leaf } = c.state.ratchetTree[2 * leafIndex];
  const tbs = {
    leafNodeSource: "update",
    hpkePublicKey,
    signaturePublicKey: leaf.signaturePublicKey,
    credential: leaf.credential,
    capabilities: leaf.capabilities,
    extensions: leaf.extensions,
    groupId: c.state.groupContext.groupId,
    leafIndex,
  };
  const signed = encode(leafNodeTBSEncoder)(tbs);
  const signature = await signWithLabel(c.state.signaturePrivateKey, "LeafNodeTBS", signed, c.cs.signature);
  c.updates.set(hex(hpkePublicKey), await c.cs.hpke.exportPrivateKey(pair.privateKey));
  return { ...tbs, signature };
}

async function propose({ who, plain, proposal: p }) {
  const c = client(who);
  const made = await createProposal(c.state, plain, await proposal(c, p), c.cs);
  c.state = made.newState;
  return { message: hex(encodeMlsMessage(made.message)) };
}

async function commit({ who, plain, proposals = [] }) {
  const c = client(who);
  const extraProposals = [];
  for (const p of proposals) extraProposals.push(await proposal(c, p));
  const made = await createCommit(
    { state: c.state, pskIndex: pskIndex(c.state), cipherSuite: c.cs },
    { wireAsPublicMessage: plain, extraProposals, ratchetTreeExtension: true },
  );
  c.next = made.newState;
  const welcome = made.welcome && message({ wireformat: "mls_welcome", welcome: made.welcome });
  return { message: hex(encodeMlsMessage(made.commit)), welcome };
}

function apply({ who }) {
  const c = client(who);
  if (c.next === undefined) throw new Error("nothing to apply");
  c.state = c.next;
  discard({ who });
}

function discard({ who }) {
  const c = client(who);
  c.next = undefined;
  c.updates = new Map();
}

const handle = (c, state, m, callback = acceptAll) =>
  m.wireformat === "mls_public_message"
    ? processPublicMessage(state, m.publicMessage, pskIndex(state), c.cs, callback)
    : processPrivateMessage(state, m.privateMessage, pskIndex(state), c.cs, callback);

// withUpdate returns the state in which a message is to be processed: if that
// commits an Update of this client, the one with its key in place. A first look
// tells, and changes nothing.
async function withUpdate(c, m) {
  if (c.updates.size === 0) return c.state;
  let key;
  await handle(c, c.state, m, (incoming) => {
    for (const { proposal: p } of incoming.proposals ?? []) {
      if (p.proposalType === "update") key ??= c.updates.get(hex(p.update.leafNode.hpkePublicKey));
    }
    return "reject";
  });
  if (key === undefined) return c.state;
  const path = c.state.privatePath;
  const privateKeys = { ...path.privateKeys, [2 * path.leafIndex]: key };
  return { ...c.state, privatePath: { ...path, privateKeys } };
}

async function process({ who, message: text }) {
  const c = client(who);
  const m = parse(text, "mls_public_message", "mls_private_message");
  const before = c.state.groupContext.epoch;
  const done = await handle(c, await withUpdate(c, m), m);
  if (done.kind === "applicationMessage") {
    c.state = done.newState;
    return { kind: "application", data: hex(done.message) };
  }
  const removed = done.newState.groupActiveState.kind === "removedFromGroup";
  const moved = removed || done.newState.groupContext.epoch !== before;
  // Keys of an Update that waits must outlive other proposals, whose messages
  // change the state, too.
  const waiting = c.updates;
  c.state = done.newState;
  discard({ who });
  if (!moved) c.updates = waiting;
  return { kind: moved ? "commit" : "proposal", removed };
}

async function app({ who, data }) {
  const c = client(who);
  const made = await createApplicationMessage(c.state, unhex(data), c.cs);
  c.state = made.newState;
  return { message: message({ wireformat: "mls_private_message", privateMessage: made.privateMessage }) };
}

// group_info makes a GroupInfo for external commits. ts-mls writes the key of
// external_pub without its length (RFC 9420, Section 12.4.3.2, has an
// HPKEPublicKey, a vector); raw asks for that.
async function group_info({ who, raw }) {
  const { state, cs } = client(who);
  let info;
  if (raw) {
    info = await createGroupInfoWithExternalPubAndRatchetTree(state, [], cs);
  } else {
    const pair = await cs.hpke.deriveKeyPair(state.keySchedule.externalSecret);
    const key = encode(varLenDataEncoder)(await cs.hpke.exportPublicKey(pair.publicKey));
    const list = [{ extensionType: "external_pub", extensionData: key }];
    info = await createGroupInfoWithRatchetTree(
      state.groupContext,
      state.confirmationTag,
      state,
      state.ratchetTree,
      list,
      cs,
    );
  }
  return { info: message({ wireformat: "mls_group_info", groupInfo: info }) };
}

// withRawKey lets ts-mls find the key of external_pub as it expects it. The
// list itself, of which the signature is, stays.
function withRawKey(info) {
  const list = [...info.extensions];
  list.find = (f) => {
    const e = info.extensions.find(f);
    if (e?.extensionType !== "external_pub") return e;
    return { ...e, extensionData: decodeVarLenData(e.extensionData, 0)[0] };
  };
  return { ...info, extensions: list };
}

async function external_join({ who, info, resync, raw }) {
  const c = client(who);
  const { groupInfo } = parse(info, "mls_group_info");
  const usable = raw ? groupInfo : withRawKey(groupInfo);
  const made = await joinGroupExternal(usable, c.publicPackage, c.privatePackage, resync, c.cs, undefined, c.config);
  c.next = made.newState;
  return { message: message({ wireformat: "mls_public_message", publicMessage: made.publicMessage }) };
}

async function propose_self({ who, info }) {
  const c = client(who);
  const { groupInfo } = parse(info, "mls_group_info");
  return { message: hex(encodeMlsMessage(await proposeAddExternal(groupInfo, c.publicPackage, c.privatePackage, c.cs))) };
}

function psk({ psk: id, key }) {
  psks[bytesToBase64(unhex(id))] = unhex(key);
}

async function view({ who, label, context, length }) {
  const { state, cs } = client(who);
  const members = state.ratchetTree
    .filter((n) => n?.nodeType === "leaf")
    .map((n) => hex(n.leaf.credential.identity));
  const exporter = await mlsExporter(state.keySchedule.exporterSecret, label, unhex(context), length, cs);
  return {
    epoch: Number(state.groupContext.epoch),
    leaf: state.privatePath.leafIndex,
    members,
    authenticator: hex(state.keySchedule.epochAuthenticator),
    exporter: hex(exporter),
  };
}

await serve({
  keypackage,
  create,
  join,
  propose,
  commit,
  apply,
  discard,
  process,
  app,
  group_info,
  external_join,
  propose_self,
  psk,
  view,
  bench,
});
