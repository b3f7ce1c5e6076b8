// SPDX-License-Identifier: Apache-2.0

import { lookUnpaired, prove } from "./pairkey";
import { Branch, Delta } from "./tree";

/** Hello is what the room says first. */
export interface Hello {
  Room: { Id: string; Name: string };
  BootId: string;
  Seq: number;
  Ui: string;
  Role: string;
  Panel: string;
  BeatMs: number;
  Challenge?: string; // to be proved first
}

/** Refusal is why the room did not accept a command. */
export interface Refusal {
  Reason: string;
  Code: number;
  Message: string;
  Reference?: string;
  Path?: string; // of the parameter to blame
}

export interface Listener {
  hello(h: Hello): void;
  snapshot(status: Branch): void;
  delta(d: Delta): void;
  heard(now?: string): void; // anything came; with the room's time if it was a beat
}

interface Asked {
  method: string;
  params: object;
  at: number;
  boot: string;
  resolve: (result: Branch) => void;
  reject: (r: Refusal) => void;
}

interface Message {
  id?: number | null;
  method?: string;
  params?: unknown;
  result?: Branch;
  error?: { code: number; message: string; data?: { Reason?: string; CorrelationId?: string; Path?: string } };
}

const query = ["Status/**", "Event/**"];
const subscription = 1;
const proof = 2; // id of the request
const deafMs = 5000; // without a beat for this long, the connection is given up
const repeatMs = 10000; // a command without an answer is repeated for this long

/** panelId names this panel to the room and the other panels; it stays on this device. */
function panelId(): string {
  const stored = read("in-camera-panel");
  if (stored !== null && /^p-[0-9a-f]{16}$/.test(stored)) return stored;
  const id = "p-" + random();
  try {
    localStorage.setItem("in-camera-panel", id);
  } catch {
    // Without storage the panel has a new name after each load.
  }
  return id;
}

function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function random(): string {
  let out = "";
  for (const b of crypto.getRandomValues(new Uint8Array(8))) out += b.toString(16).padStart(2, "0");
  return out;
}

/** Link keeps a connection to the room for ever. */
export class Link {
  private socket: WebSocket | null = null;
  private boot = "";
  private seq = 0;
  private ready = false;
  private serial = 100;
  private failures = 0;
  private heardAt = 0;
  private proved: (role: string) => void = () => undefined;
  private readonly asked = new Map<number, Asked>();
  private readonly url: string;

  constructor(private readonly to: Listener) {
    const scheme = location.protocol === "https:" ? "wss://" : "ws://";
    this.url = scheme + location.host + "/v1/ws?panel=" + panelId();
  }

  start(): void {
    this.connect();
    setInterval(() => {
      if (this.socket && performance.now() - this.heardAt > deafMs) this.lost(this.socket);
    }, 500);
    addEventListener("online", () => this.socket === null && this.connect());
  }

  /** command asks for something. The key makes it safe to ask again after the connection was lost. */
  command(path: string, params: object): Promise<Branch> {
    return new Promise((resolve, reject) => {
      const id = ++this.serial;
      const entry = {
        method: "Command/" + path,
        params: { ...params, IdempotencyKey: random() },
        at: performance.now(),
        boot: this.boot,
        resolve,
        reject,
      };
      this.asked.set(id, entry);
      if (this.ready) this.send({ id, method: entry.method, params: entry.params });
    });
  }

  private connect(): void {
    if (this.socket) return;
    const socket = new WebSocket(this.url, "in-camera.v1");
    this.socket = socket;
    this.heardAt = performance.now();
    socket.onmessage = (e) => {
      if (socket !== this.socket || typeof e.data !== "string") return;
      this.heardAt = performance.now();
      this.take(JSON.parse(e.data) as Message);
    };
    socket.onclose = () => this.lost(socket);
  }

  private lost(socket: WebSocket): void {
    if (socket !== this.socket) return;
    socket.onclose = null;
    socket.close();
    this.socket = null;
    this.ready = false;
    if (location.protocol === "https:") void lookUnpaired();
    // At once, then every 0.25 to 2 s, spread so that panels do not come all together.
    const wait = this.failures === 0 ? 0 : Math.min(2000, 250 * 2 ** (this.failures - 1)) * (0.5 + Math.random() / 2);
    this.failures++;
    setTimeout(() => this.connect(), wait);
  }

  private send(message: object): void {
    if (this.socket && this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ jsonrpc: "2.0", ...message }));
    }
  }

  private take(m: Message): void {
    switch (m.method) {
      case "Session.Hello":
        this.greet(m.params as Hello);
        break;
      case "Session.Beat":
        this.to.heard((m.params as { Now: string }).Now);
        return;
      case "Feedback.Event": {
        const d = m.params as Delta;
        this.seq = d.Seq;
        this.to.delta(d);
        break;
      }
      default:
        if (typeof m.id === "number") this.answered(m.id, m);
    }
    this.to.heard();
  }

  private greet(h: Hello): void {
    if (h.Challenge !== undefined) {
      const socket = this.socket;
      prove(h).then(
        (params) => {
          if (socket !== this.socket) return;
          this.proved = (role) => this.follow({ ...h, Role: role });
          this.send({ id: proof, method: "Session.Prove", params });
        },
        () => socket && this.lost(socket),
      );
      return;
    }
    this.follow(h);
  }

  private follow(h: Hello): void {
    const same = h.BootId === this.boot;
    this.boot = h.BootId;
    this.to.hello(h);
    if (same) {
      const again = { BootId: h.BootId, Seq: this.seq, Subscriptions: [{ Id: subscription, Query: query }] };
      this.send({ id: 1, method: "Feedback.Resume", params: again });
    } else {
      this.send({ id: 1, method: "Feedback.Subscribe", params: { Query: query, Snapshot: true } });
    }
  }

  private answered(id: number, m: Message): void {
    if (id === proof) {
      if (m.result) this.proved(String(m.result.Role));
      else if (this.socket) this.lost(this.socket);
      return;
    }
    if (id === 1) {
      this.following(m);
      return;
    }
    const entry = this.asked.get(id);
    if (!entry) return;
    this.asked.delete(id);
    if (m.error) {
      const data = m.error.data || {};
      entry.reject({
        Reason: String(data.Reason || "internal"),
        Code: m.error.code,
        Message: m.error.message,
        Reference: data.CorrelationId,
        Path: data.Path,
      });
    } else {
      entry.resolve(m.result || {});
    }
  }

  /** following begins with the answer to Subscribe or Resume. */
  private following(m: Message): void {
    const result = m.result as
      | { Seq: number; Resumed?: boolean; Snapshot?: { Status?: Branch }; Snapshots?: { Snapshot?: { Status?: Branch } }[] }
      | undefined;
    if (!result) {
      if (this.socket) this.lost(this.socket);
      return;
    }
    const fresh = result.Snapshot || (result.Snapshots && result.Snapshots[0] && result.Snapshots[0].Snapshot);
    if (fresh) {
      this.seq = result.Seq;
      this.to.snapshot(fresh.Status || {});
    }
    this.failures = 0;
    this.ready = true;
    const now = performance.now();
    for (const [id, a] of this.asked) {
      // After a restart of the room nobody knows what a command would meet.
      if (a.boot === this.boot && now - a.at < repeatMs) this.send({ id, method: a.method, params: a.params });
      else {
        this.asked.delete(id);
        a.reject({ Reason: "timeout", Code: 1011, Message: "" });
      }
    }
  }
}
