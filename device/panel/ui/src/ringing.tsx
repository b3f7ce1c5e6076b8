// SPDX-License-Identifier: Apache-2.0

import { h, VNode } from "preact";
import { Icon, IconName } from "./icons";
import { Model } from "./model";
import { Heading, Name, ScreenProps, Touch } from "./parts";
import { Key, t } from "./texts";
import { State } from "./tree";

interface Who {
  id: string;
  name: string;
  site: string;
}

function who(m: Model): Who {
  const c = m.status.Call || {};
  const peer = c.Peer || {};
  return { id: String(c.CallId || ""), name: String(peer.Name || t("call.title")), site: String(peer.Site || "") };
}

/** leave ends this room's part of the call, or withdraws it. */
export function leave(m: Model): void {
  const id = who(m).id;
  m.act("leave", "Call/Leave", { CallId: id }, (s) => !s.Call || s.Call.CallId !== id, "waits.leave");
}

const past = (state: State) => (s: Model["status"]): boolean => !s.Call || s.Call.State !== state;

function Caller(p: { who: Who; icon: IconName }): VNode {
  return (
    <div class="caller">
      <span class="halo">
        <Icon name={p.icon} />
      </span>
      <p class="big-name">
        <Name field="peer">{p.who.name}</Name>
      </p>
      {p.who.site && (
        <p class="site">
          <Name field="site">{p.who.site}</Name>
        </p>
      )}
    </div>
  );
}

function Cancel(p: { m: Model; word: Key }): VNode {
  return (
    <Touch m={p.m} action="call-leave" kind="primary leave" icon="hangup" label={t(p.word)} pending="leave" onTouch={() => leave(p.m)} />
  );
}

export function Outgoing(p: ScreenProps): VNode {
  const w = who(p.m);
  return (
    <main class="screen ringing" data-screen="outgoing">
      <Heading level="quiet">{t("out.title", { name: w.name })}</Heading>
      <Caller who={w} icon="phone" />
      <p class="hint">{t("out.hint")}</p>
      <div class="answers">
        <Cancel m={p.m} word="cancel" />
      </div>
    </main>
  );
}

export function Incoming(p: ScreenProps): VNode {
  const w = who(p.m);
  const m = p.m;
  return (
    <main class="screen ringing incoming" data-screen="incoming">
      <Heading level="quiet">{t("in.title")}</Heading>
      <Caller who={w} icon="phone" />
      <p class="hint">{t("in.hint")}</p>
      <div class="answers">
        <Touch
          m={m}
          action="call-decline"
          kind="primary leave"
          icon="hangup"
          label={t("in.decline")}
          pending="decline"
          onTouch={() => m.act("decline", "Call/Decline", { CallId: w.id }, past("Ringing"), "waits.decline")}
        />
        <Touch
          m={m}
          action="call-answer"
          kind="primary go"
          icon="phone"
          label={t("in.answer")}
          pending="answer"
          onTouch={() => m.act("answer", "Call/Answer", { CallId: w.id }, past("Ringing"), "waits.answer")}
        />
      </div>
    </main>
  );
}

const steps = ["Asking", "Waiting", "Connecting"] as const;

/** Joining shows the way into a meeting, step by step. */
export function Joining(p: ScreenProps): VNode {
  const c = p.m.status.Call || {};
  const lobby = c.State === "InLobby";
  const now = lobby ? 1 : Math.max(0, steps.indexOf(c.Step || "Asking"));
  const w = who(p.m);
  return (
    <main class="screen joining" data-screen={lobby ? "lobby" : "joining"}>
      <Heading>{lobby ? t("lobby.wait") : t("join.title", { name: w.name })}</Heading>
      <ol class="steps">
        {steps.map((s, i) => (
          <li
            key={s}
            class={i < now ? "done" : i === now ? "now" : "next"}
            aria-current={i === now ? "step" : null}
            data-step={s}
          >
            <span class="dot">{i < now ? <Icon name="check" /> : String(i + 1)}</span>
            <span>{t(("join." + s) as Key, { name: w.name })}</span>
          </li>
        ))}
      </ol>
      <p class="hint">{t(lobby ? "lobby.hint" : "join.hint")}</p>
      <div class="answers">
        <Cancel m={p.m} word="cancel" />
      </div>
    </main>
  );
}

export function Leaving(p: ScreenProps): VNode {
  return (
    <main class="screen joining" data-screen="leaving">
      <Heading>{t("leaving.title")}</Heading>
      <p class="hint">{t("leaving.hint")}</p>
      <div class="answers">
        <Cancel m={p.m} word="call.leave" />
      </div>
    </main>
  );
}
