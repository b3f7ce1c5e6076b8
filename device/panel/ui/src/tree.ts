// SPDX-License-Identifier: Apache-2.0

// The room's state as the panel holds it. Every member may be missing: the room
// tells what it knows and no more.

export type State = "Idle" | "Ringing" | "Joining" | "InLobby" | "Connected" | "Reconnecting" | "Leaving";
export type Verdict = "affirming" | "warning" | "contraindicated" | "none";
export type Layout = "Speaker" | "Grid" | "Content";
export type Why = "Started" | "Joined" | "Left" | "Removed" | "Returned" | "Renewed";

export interface Code {
  Code?: string;
  Since?: string;
  Previous?: string;
  Why?: Why;
  Who?: string;
}

export interface Member {
  Name?: string;
  Site?: string;
  Credential?: string;
  Verdict?: Verdict;
  VerdictAgeS?: number;
  Release?: string;
  VerdictReason?: string;
  SaysMuted?: boolean;
  SaysCameraOff?: boolean;
  Heard?: boolean;
  Link?: "Connecting" | "Good" | "Weak" | "Lost";
  Self?: boolean;
}

export interface Waiting {
  Name?: string;
  Site?: string;
  Credential?: string;
  Verdict?: Verdict;
  VerdictReason?: string;
  Why?: "NotInvited" | "OtherSite" | "NotAttested" | "AlwaysAsk";
  Since?: string;
}

export interface Contact {
  Name?: string;
  Site?: string;
}

export type PairRole = "Panel" | "Facilities";

export interface PairedPanel {
  Name?: string;
  Role?: PairRole;
  Kind?: string;
  Channel?: "NotVerified";
  PairedAt?: string;
  LastSeen?: string;
}

export interface Pairing {
  Window?: {
    Open?: boolean;
    Role?: PairRole;
    Until?: string;
    TriesLeft?: number;
    LockedUntil?: string;
    PinTriesLeft?: number;
    PinLockedUntil?: string;
  };
  Panels?: { [id: string]: PairedPanel };
}

export interface Condition {
  Severity?: "Info" | "Warning" | "Error";
  Since?: string;
  Remedy?: string;
}

export type Language = "de" | "en" | "es" | "fr" | "it" | "nl" | "pl";
export type Method = "Dhcp" | "Static";
export type UpdateState = "Idle" | "Receiving" | "Checking" | "Writing" | "Waiting" | "Restarting" | "Trying" | "Committed" | "RolledBack";

export interface Setup {
  State?: "Needed" | "Enrolling" | "Waiting" | "Done";
  Detail?: string;
}

export interface Enrolment {
  State?: "None" | "Enrolling" | "Waiting" | "Enrolled";
  Site?: string;
  Chip?: string;
  LastError?: "Malformed" | "Refused" | "Unreachable" | "OtherVerifier" | "ChipUnknown" | "NotAttested" | "Failed";
}

export interface Network {
  Method?: Method;
  Address?: string;
  Gateway?: string;
  Dns?: string[];
  Current?: string;
  ConfirmBy?: string;
}

export interface Offer {
  Version?: string;
  Bytes?: number;
  Source?: "Site" | "Stick";
}

export interface Updates {
  Running?: string;
  Candidate?: string;
  State?: UpdateState;
  Progress?: number;
  BlockedBy?: "None" | "Call";
  Floor?: number;
  DarkMinutes?: number;
  Failure?: { Version?: string; Reason?: string; Detail?: string };
  Offered?: { [id: string]: Offer };
}

export interface Status {
  System?: { Name?: string; Id?: string; Version?: string; BootId?: string; Serial?: string; Language?: Language };
  Call?: {
    State?: State;
    Direction?: "Incoming" | "Outgoing";
    Step?: "Asking" | "Waiting" | "Connecting";
    CallId?: string;
    Meeting?: string;
    Peer?: { Room?: string; Name?: string; Site?: string };
    Since?: string;
    Epoch?: number;
    SecurityCode?: Code;
    Suite?: string;
    MediaPath?: { In?: string; Out?: string };
    Codecs?: string[];
  };
  Roster?: { Members?: { [id: string]: Member } };
  Lobby?: { Waiting?: { [id: string]: Waiting } };
  Audio?: { Mute?: { State?: "On" | "Off"; Sources?: string[] }; Silent?: boolean; Volume?: number };
  Video?: { Camera?: { Sending?: boolean; Cover?: "Open" | "Closed" | "None" | "Missing" }; Selfview?: boolean };
  Stage?: { Layout?: Layout };
  Directory?: { Rooms?: { [id: string]: Contact } };
  Diagnostics?: { Conditions?: { [name: string]: Condition } };
  Pairing?: Pairing;
  Setup?: Setup;
  Enrolment?: Enrolment;
  Network?: Network;
  Updates?: Updates;
}

export interface Happening {
  Path: string;
  Seq: number;
  By?: string;
  Value: { [name: string]: unknown };
}

export interface Delta {
  Id: number;
  Seq: number;
  BootId: string;
  Reset?: boolean;
  Removed?: string[];
  Status?: Branch;
  Events?: Happening[];
}

export interface Branch {
  [name: string]: unknown;
}

const isBranch = (v: unknown): v is Branch => typeof v === "object" && v !== null && !Array.isArray(v);

/** branch copies v into objects without a prototype, whose names can only be the room's. */
export function branch(v: unknown): Branch {
  const out = Object.create(null) as Branch;
  if (isBranch(v)) {
    for (const name of Object.keys(v)) out[name] = isBranch(v[name]) ? branch(v[name]) : v[name];
  }
  return out;
}

/** apply takes Removed away from the tree below "Status", then merges Status. */
export function apply(tree: Branch, removed: string[], change: Branch | undefined): void {
  for (const path of removed) {
    const names = path.split("/").slice(1);
    const last = names.pop();
    let at: unknown = tree;
    for (const name of names) at = isBranch(at) ? at[name] : undefined;
    if (isBranch(at) && last !== undefined) delete at[last];
  }
  if (change) merge(tree, change);
}

function merge(into: Branch, from: Branch): void {
  for (const name of Object.keys(from)) {
    const old = into[name];
    const now = from[name];
    if (isBranch(old) && isBranch(now)) merge(old, now);
    else into[name] = isBranch(now) ? branch(now) : now;
  }
}
