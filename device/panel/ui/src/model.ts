// SPDX-License-Identifier: Apache-2.0

import { Hello, Link, Listener, Refusal } from "./link";
import { apply, Branch, branch, Delta, Happening, Status } from "./tree";
import { Key, language, speak, spoken } from "./texts";

/** Pending is a touch that the state does not show yet. */
export interface Pending {
  at: number;
  done: (s: Status) => boolean;
  waits: Key;
}

/** Trouble is something that did not work, until a person has read it. */
export interface Trouble {
  reason: string; // of a refusal, or "call:" and the reason of an event
  name: string; // the other room, if one is meant
  room: string; // its id, if it can be called again
  code: number;
  reference: string;
  detail: string; // code of what is wrong with the other room's proof
}

export type View =
  | { what: "main" }
  | { what: "member"; id: string; sure: boolean }
  | { what: "add" }
  | { what: "end" }
  | { what: "updates"; part: "main" | "restart" | "reset" }
  | { what: "panels"; id: string }; // of the one to be unpaired, or empty

/** Dark is why the room is about to be silent, and for how many minutes, if it said so. */
export interface Dark {
  why: "update" | "restart";
  minutes: number;
}

interface Options {
  repeat?: boolean; // the state may stay as it is: accepted is done
  then?: (result: Branch) => void; // accepted
  failed?: (r: Refusal) => boolean; // refused; true if the screen shows why
}

const staleMs = 3000;
const explainMs = 2000; // a touch without effect says from here what it waits for
const trialMs = 130000; // longer than the room tries settings of its network
const giveUpMs = 15000; // longer than the room thinks about a command

/** Model is all that the screens show. It tells one listener when it changed. */
export class Model implements Listener {
  status: Status = {};
  known = false; // a snapshot has come
  stale = false;
  staleSince = 0; // room's time, ms
  view: View = { what: "main" };
  trouble: Trouble | null = null;
  facilities = false; // this panel may look after the room
  panel = ""; // its id
  dark: Dark | null = null; // kept while the room is away
  tried: { address: string; until: number } | null = null; // settings of the network sent here; room's time, ms
  reverted = false; // those before are back, which nobody has read yet
  readonly pending = new Map<string, Pending>();
  changed: () => void = () => undefined;

  private readonly link = new Link(this);
  private tree = branch({});
  private ui = "";
  private reload = false;
  private heardAt = performance.now();
  private offset = 0; // room's clock minus ours, ms

  start(): void {
    this.link.start();
    setInterval(() => this.tick(), 250);
    document.addEventListener("visibilitychange", () => this.tick());
  }

  /** now is the room's time. */
  now(): number {
    return Date.now() + this.offset;
  }

  /** act sends a command. Until done holds the touch is pending, which key names. */
  act(key: string, path: string, params: object, done: (s: Status) => boolean, waits: Key, o: Options = {}): void {
    if (this.stale || (this.pending.has(key) && !o.repeat)) return;
    this.trouble = null;
    const mine: Pending = { at: performance.now(), done, waits };
    this.pending.set(key, mine);
    this.link.command(path, params).then(
      (result) => {
        // At the end of its scale a loudspeaker accepts a step and stays where it is.
        if (o.repeat && this.pending.get(key) === mine) this.pending.delete(key);
        if (o.then) o.then(result);
        this.settle();
      },
      (r: Refusal) => {
        if (this.pending.get(key) === mine) this.pending.delete(key);
        if (o.failed && o.failed(r)) this.settle();
        else this.fail(r.Reason, r.Code, r.Reference || "");
      },
    );
    this.settle();
  }

  /** waiting returns what the oldest touch waits for, once that is worth saying. */
  waiting(): Key | null {
    for (const p of this.pending.values()) {
      if (performance.now() - p.at > explainMs) return p.waits;
    }
    return null;
  }

  show(view: View): void {
    this.view = view;
    this.changed();
  }

  /** leaves says that the room will go dark, as it was told to. */
  leaves(why: Dark["why"]): void {
    this.dark = { why, minutes: 0 };
    this.show({ what: "main" });
  }

  /** tries says where the room is to be found if contact is lost now; empty: nobody here knows. */
  tries(address: string): void {
    this.tried = { address, until: this.now() + trialMs };
    this.reverted = false;
  }

  readReverted(): void {
    this.reverted = false;
    this.changed();
  }

  dismiss(): void {
    this.trouble = null;
    this.changed();
  }

  hello(h: Hello): void {
    this.facilities = h.Role.split("+").indexOf("Facilities") >= 0;
    this.panel = h.Panel;
    if (this.ui !== "" && this.ui !== h.Ui) this.reload = true;
    this.ui = h.Ui;
  }

  snapshot(status: Branch): void {
    this.tree = branch(status);
    this.known = true;
    this.dark = null; // what was said before it went away is over
    this.settle();
  }

  delta(d: Delta): void {
    if (d.Reset) this.tree = branch(d.Status);
    else apply(this.tree, d.Removed || [], d.Status);
    for (const e of d.Events || []) this.happened(e);
    this.settle();
  }

  heard(now?: string): void {
    this.heardAt = performance.now();
    if (now !== undefined) {
      const at = Date.parse(now);
      if (!isNaN(at)) this.offset = at - Date.now();
    }
    if (this.stale) this.tick();
  }

  private happened(e: Happening): void {
    const reason = String(e.Value.Reason || "");
    if (e.Path === "Event/Network/Reverted") {
      this.reverted = true;
      this.tried = null;
    }
    if (e.Path === "Event/Call/Refused") {
      // What was started came to nothing, perhaps before the state ever showed it.
      for (const key of this.pending.keys()) if (key.startsWith("start:")) this.pending.delete(key);
    }
    const shown = e.Path === "Event/Call/Refused" ? reason !== "Cancelled" : e.Path === "Event/Call/Left" && reason !== "Asked";
    if (!shown) return;
    this.trouble = {
      reason: "call:" + reason,
      name: String(e.Value.Name || ""),
      room: String(e.Value.Room || ""),
      code: 0,
      reference: "",
      detail: String(e.Value.Detail || ""),
    };
  }

  private fail(reason: string, code: number, reference: string): void {
    this.trouble = { reason, name: "", room: "", code, reference, detail: "" };
    this.settle();
  }

  /** settle drops what the state has caught up with. */
  private settle(): void {
    this.status = this.tree as Status;
    for (const [key, p] of this.pending) {
      if (p.done(this.status)) this.pending.delete(key);
    }
    const wanted = this.status.System && this.status.System.Language;
    if (!spoken && wanted && wanted !== language) speak(wanted);
    const updates = this.status.Updates;
    if (updates && updates.State === "Restarting") this.dark = { why: "update", minutes: updates.DarkMinutes || 0 };
    else if (this.dark && this.dark.why === "update") this.dark = null;
    const state = (this.status.Call && this.status.Call.State) || "Idle";
    const view = this.view;
    const inCall = state === "Connected" || state === "Reconnecting";
    const care = view.what === "updates" || view.what === "panels"; // also between calls
    const there = view.what === "updates" ? !!updates : view.what !== "panels" || !!this.status.Pairing;
    if (!there || !(inCall || (care && state === "Idle"))) this.view = { what: "main" };
    const members = (this.status.Roster && this.status.Roster.Members) || {};
    if (view.what === "member" && !members[view.id]) this.view = { what: "main" };
    // A new page comes with an update; never during a call.
    if (this.reload && state === "Idle") location.reload();
    this.changed();
  }

  private tick(): void {
    const now = performance.now();
    const deaf = now - this.heardAt > staleMs;
    if (deaf && !this.stale) this.staleSince = this.now() - (now - this.heardAt);
    const before = this.stale;
    this.stale = this.known && deaf;
    let given = false;
    for (const [key, p] of this.pending) {
      if (now - p.at > giveUpMs && !this.stale) {
        this.pending.delete(key);
        given = true;
      }
    }
    if (given) this.fail("timeout", 1011, "");
    else if (before !== this.stale || this.pending.size > 0) this.changed();
  }
}
