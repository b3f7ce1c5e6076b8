// SPDX-License-Identifier: Apache-2.0

// Clients of davey, which is OpenMLS for the groups of the DAVE protocol, for
// the tests of media/mls/interop: see lines.mjs for the channel. The test plays
// the gateway. Bytes are hex; KeyPackages and Welcomes are bare, other messages
// MLSMessages; numbers of users and of the channel, which is the group id, are
// decimal. A client is named by `who`. Operations:
//
//   open {who, channel, sender}           who is the number of its user; a group of one
//   keypackage {who}                      -> {keypackage}
//   proposals {who, list, users, revoke}  -> {commit, welcome}; list is the vector of
//                                         messages, or of the references to revoke
//   commit {who, commit}                  its own, or somebody's
//   welcome {who, welcome}
//   view {who}                            -> {epoch, leaf, authenticator, users}
//   frame {who, data}                     -> {frame}: media under a key of the exporter

import davey from "@snazzah/davey";
import { hex, serve, unhex } from "./lines.mjs";

const { DAVESession, ProposalsOperationType, DAVE_PROTOCOL_VERSION } = davey;

const sessions = new Map();

const bytes = (text) => Buffer.from(unhex(text));

function session(who) {
  const s = sessions.get(who);
  if (s === undefined) throw new Error(`no session ${who}`);
  return s;
}

function open({ who, channel, sender }) {
  const s = new DAVESession(DAVE_PROTOCOL_VERSION, who, channel);
  s.setExternalSender(bytes(sender));
  sessions.set(who, s);
}

const keypackage = ({ who }) => ({ keypackage: hex(session(who).getSerializedKeyPackage()) });

function proposals({ who, list, users, revoke }) {
  const kind = revoke ? ProposalsOperationType.REVOKE : ProposalsOperationType.APPEND;
  const made = session(who).processProposals(kind, bytes(list), users);
  return { commit: made.commit && hex(made.commit), welcome: made.welcome && hex(made.welcome) };
}

const commit = ({ who, commit: message }) => session(who).processCommit(bytes(message));
const welcome = ({ who, welcome: message }) => session(who).processWelcome(bytes(message));

function view({ who }) {
  const s = session(who);
  return {
    epoch: Number(s.epoch),
    leaf: s.ownLeafIndex,
    authenticator: hex(s.getEpochAuthenticator()),
    users: s.getUserIds(),
  };
}

const frame = ({ who, data }) => ({ frame: hex(session(who).encryptOpus(bytes(data))) });

await serve({ open, keypackage, proposals, commit, welcome, view, frame });
