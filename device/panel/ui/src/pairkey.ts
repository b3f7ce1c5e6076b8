// SPDX-License-Identifier: Apache-2.0

// How this page is paired: with a key that the browser keeps and that nothing
// can copy out of it. Package pairing has the same protocol for the room.

/** PairingState is what a room tells everybody. */
export interface PairingState {
  Room: { Id: string; Name: string };
  Window: {
    Open: boolean;
    Role?: string;
    LockedUntil?: string;
    Pin?: { Window: string; Salt: string; TriesLeft: number };
    PinLockedUntil?: string;
  };
  Paired: boolean;
}

/** Failed is why pairing came to nothing: a text "pair." of the same name. */
export class Failed extends Error {
  constructor(readonly why: "expired" | "broken" | "wrong" | "impostor" | "storage" | "full" | "lost" | "failed" | "locked" | "pin.wrong") {
    super(why);
  }
}

/** Prover is this side of SPAKE2+, which /pin.js loads. Finish returns null when the other side does not know the PIN. */
type Prover = (pin: string, salt: Uint8Array, context: Uint8Array) => Side | null;

interface Side {
  share: Uint8Array;
  finish: (share: Uint8Array, confirm: Uint8Array) => Uint8Array | null;
}

declare global {
  interface Window {
    inCameraLoad?: () => Promise<Prover>; // there on the page of pairing alone
    inCameraPIN?: Prover;
  }
}

interface Kept {
  panel: string;
  key: CryptoKey; // not extractable
}

interface Link {
  nonce: string;
  secret: Uint8Array;
}

const ecdsa = { name: "ECDSA", namedCurve: "P-256" };
const encoder = new TextEncoder();
const tries = 5; // of a commit whose answer may be lost
const busyMs = 1000;

/** linkOf reads the fragment of a pairing link: #IC1, nonce, secret, hash of the room's key. */
export function linkOf(fragment: string): Link | null {
  const found = /^#IC1\.([\w-]{22})\.([\w-]{22})\.[\w-]{43}$/.exec(fragment);
  const secret = found && bytesOf(found[2]);
  return found && secret ? { nonce: found[1], secret } : null;
}

function bytesOf(text: string): Uint8Array | null {
  const raw = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  const out = Uint8Array.from(raw, (c) => c.charCodeAt(0));
  return textOf(out) === text ? out : null;
}

function textOf(bytes: ArrayBuffer | Uint8Array): string {
  let raw = "";
  for (const b of new Uint8Array(bytes)) raw += String.fromCharCode(b);
  return btoa(raw).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** join writes each field behind its length, so that no two lists of fields give the same bytes. */
function join(...fields: (string | Uint8Array)[]): Uint8Array {
  const all = fields.map((f) => (typeof f === "string" ? encoder.encode(f) : f));
  const out = new Uint8Array(all.reduce((n, f) => n + 4 + f.length, 0));
  const view = new DataView(out.buffer);
  let at = 0;
  for (const f of all) {
    view.setUint32(at, f.length);
    out.set(f, at + 4);
    at += 4 + f.length;
  }
  return out;
}

function behind(side: string, context: Uint8Array): Uint8Array {
  const head = encoder.encode(side);
  const out = new Uint8Array(head.length + context.length);
  out.set(head);
  out.set(context, head.length);
  return out;
}

/** ask sends JSON to the room; a refusal is a Failed. */
async function ask<T>(path: string, body?: object): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {});
  } catch {
    throw new Failed("lost");
  }
  const got = await answer.json().catch(() => ({}));
  if (answer.ok) return got as T;
  switch ((got as { Reason?: string }).Reason) {
    case "pairing_closed":
      throw new Failed("expired");
    case "pairing_locked":
      throw new Failed("locked");
    case "not_authenticated":
      throw new Failed("wrong");
    case "conflict":
      throw new Failed("full");
    case "rate_limited":
      await new Promise((done) => setTimeout(done, busyMs));
      throw new Failed("lost");
    default:
      throw new Failed("failed");
  }
}

export const pairingState = (): Promise<PairingState> => ask<PairingState>("/v1/pairing");

/** lookUnpaired is for when the room ended or refused a session: if it has forgotten this panel, the page begins anew. */
export async function lookUnpaired(): Promise<void> {
  const room = await pairingState().catch(() => null);
  if (room && !room.Paired) location.reload();
}

interface NewKey {
  own: CryptoKey;
  spki: Uint8Array;
  hash: Uint8Array;
}

async function newKey(): Promise<NewKey> {
  const keys = await crypto.subtle.generateKey(ecdsa, false, ["sign", "verify"]);
  const spki = new Uint8Array(await crypto.subtle.exportKey("spki", keys.publicKey));
  return { own: keys.privateKey, spki, hash: new Uint8Array(await crypto.subtle.digest("SHA-256", spki)) };
}

/** contextOf is all that both sides must see alike. */
function contextOf(state: PairingState, key: NewKey, nonce: Uint8Array): Uint8Array {
  return join("in-camera pair v1 web", location.origin, key.hash, state.Room.Id, nonce, state.Window.Role || "");
}

/** pairByLink makes a key and pairs it by the secret of a link. */
export async function pairByLink(link: Link, name: string): Promise<void> {
  const state = await pairingState();
  const key = await newKey();
  const nonce = bytesOf(link.nonce);
  if (!nonce) throw new Failed("broken");
  const context = contextOf(state, key, nonce);
  const mac = await crypto.subtle.importKey("raw", link.secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]);
  const proof = await crypto.subtle.sign("HMAC", mac, behind("panel", context));
  const grant = await ask<{ Panel: string; Proof: string }>("/v1/pairing/link", {
    Window: link.nonce, Key: textOf(key.spki), Name: name, Proof: textOf(proof),
  });
  const answer = bytesOf(grant.Proof);
  if (!answer || !(await crypto.subtle.verify("HMAC", mac, answer, behind("room", context)))) throw new Failed("impostor");
  await commit(state, key, nonce, grant.Panel);
}

/** pairByPIN makes a key and pairs it by the digits that the room shows. */
export async function pairByPIN(pin: string, name: string): Promise<void> {
  const load = window.inCameraLoad;
  const [state, prover] = await Promise.all([pairingState(), load ? load() : Promise.reject(new Failed("failed"))]);
  const key = await newKey();
  const asked = state.Window.Pin;
  const nonce = asked && bytesOf(asked.Window);
  const salt = asked && bytesOf(asked.Salt);
  if (!asked || !nonce || !salt) throw new Failed("expired");
  const side = prover(pin, salt, contextOf(state, key, nonce));
  if (!side) throw new Failed("failed");
  const got = await ask<{ Attempt: string; Share: string; Confirm: string }>("/v1/pairing/pin", {
    Window: asked.Window, Key: textOf(key.spki), Name: name, Share: textOf(side.share),
  });
  const share = bytesOf(got.Share);
  const confirm = bytesOf(got.Confirm);
  const last = share && confirm && side.finish(share, confirm);
  // What stands in for the proof ends the attempt at once, so that the next need not wait.
  const grant = await ask<{ Panel: string }>("/v1/pairing/pin/confirm", { Attempt: got.Attempt, Confirm: textOf(last || new Uint8Array(32)) }).catch((e) => {
    throw e instanceof Failed && e.why === "wrong" ? new Failed("pin.wrong") : e;
  });
  if (!last) throw new Failed("impostor");
  await commit(state, key, nonce, grant.Panel);
}

/** commit keeps the key, and only then tells the room to count on it. */
async function commit(state: PairingState, key: NewKey, nonce: Uint8Array, panel: string): Promise<void> {
  try {
    await keep({ panel, key: key.own });
  } catch {
    throw new Failed("storage");
  }
  const message = join("in-camera pair v1 commit", location.origin, state.Room.Id, nonce, panel);
  const signature = textOf(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key.own, message));
  for (let i = 1; ; i++) {
    try {
      await ask("/v1/pairing/commit", { Panel: panel, Signature: signature });
      break;
    } catch (e) {
      if (i < tries && e instanceof Failed && e.why === "lost") continue;
      await forget();
      throw e;
    }
  }
  // Without this a browser that is short of space may drop the key.
  if (navigator.storage && navigator.storage.persist) await navigator.storage.persist().catch(() => false);
}

/** prove signs a session: the answer to Session.Hello. */
export async function prove(h: { Challenge?: string; BootId: string; Room: { Id: string } }): Promise<{ Panel: string; Signature: string }> {
  const kept = await load();
  const challenge = bytesOf(h.Challenge || "");
  if (!kept || !challenge) throw new Failed("failed");
  const message = join("in-camera session v1", challenge, h.BootId, h.Room.Id, location.origin, kept.panel);
  return { Panel: kept.panel, Signature: textOf(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, kept.key, message)) };
}

function database(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const r = indexedDB.open("in-camera", 1);
    r.onupgradeneeded = () => r.result.createObjectStore("pairing");
    r.onsuccess = () => resolve(r.result);
    r.onerror = () => reject(r.error);
  });
}

/** change runs on the one store there is, and ends once the disk has it. */
async function change(f: (s: IDBObjectStore) => void): Promise<void> {
  const db = await database();
  try {
    await new Promise<void>((resolve, reject) => {
      const tx = db.transaction("pairing", "readwrite", { durability: "strict" } as IDBTransactionOptions);
      tx.oncomplete = () => resolve();
      tx.onerror = tx.onabort = () => reject(tx.error);
      f(tx.objectStore("pairing"));
    });
  } finally {
    db.close();
  }
}

const keep = (k: Kept): Promise<void> => change((s) => s.put(k, "panel"));
export const forget = (): Promise<void> => change((s) => s.delete("panel"));

/** load returns the key that this browser keeps for this address. */
export async function load(): Promise<Kept | null> {
  const db = await database();
  try {
    return await new Promise<Kept | null>((resolve, reject) => {
      const r = db.transaction("pairing").objectStore("pairing").get("panel") as IDBRequest<Kept | undefined>;
      r.onsuccess = () => resolve(r.result || null);
      r.onerror = () => reject(r.error);
    });
  } finally {
    db.close();
  }
}
