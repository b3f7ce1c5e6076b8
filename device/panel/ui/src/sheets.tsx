// SPDX-License-Identifier: Apache-2.0

import { h, VNode } from "preact";
import { Voice } from "./call";
import { Icon } from "./icons";
import { call, Rooms } from "./idle";
import { Model } from "./model";
import { Badge, known, LinkState, Name, ScreenProps, Sheet, Touch } from "./parts";
import { ageOf, Key, reason, t, timeOf, whyOf } from "./texts";
import { Member, Waiting } from "./tree";

/** print writes the beginning of a credential's hash for people's eyes. */
function print(credential: string | undefined): string {
  return (String(credential || "").replace(/[^0-9a-z]/gi, "").slice(0, 24).match(/.{1,4}/g) || []).join(" ");
}

function Back(p: { m: Model; word?: Key }): VNode {
  return (
    <Touch m={p.m} action="sheet-close" kind="small" icon="back" label={t(p.word || "back")} onTouch={() => p.m.show({ what: "main" })} />
  );
}

function Fact(p: { word: Key; value: string; field: string }): VNode | null {
  if (p.value === "") return null;
  return (
    <div class="fact">
      <dt>{t(p.word)}</dt>
      <dd><bdi data-field={p.field}>{p.value}</bdi></dd>
    </div>
  );
}

/** MemberSheet says all that is known of one room, and puts it out after a second touch. */
export function MemberSheet(p: { m: Model; id: string; sure: boolean }): VNode | null {
  const m = p.m;
  const all = (m.status.Roster && m.status.Roster.Members) || {};
  const r: Member | undefined = all[p.id];
  if (!r) return null;
  const name = String(r.Name || "");
  const close = (): void => m.show({ what: "main" });
  const remove = (): void =>
    m.act(
      "remove:" + p.id,
      "Roster/Remove",
      { Member: p.id, Credential: String(r.Credential || "") },
      (s) => !((s.Roster && s.Roster.Members) || {})[p.id],
      "waits.remove",
    );
  if (p.sure) {
    return (
      <Sheet key="sure" label={t("remove.sure", { name })} id="roster-remove" onClose={close}>
        <h2>{t("remove.sure", { name })}</h2>
        <p class="hint">{t("remove.hint")}</p>
        <div class="answers">
          <Touch m={m} action="sheet-close" kind="primary" icon="back" label={t("cancel")} onTouch={close} />
          <Touch m={m} action="roster-remove-confirm" kind="primary leave" icon="cross" label={t("remove.yes")} pending={"remove:" + p.id} onTouch={remove} />
        </div>
      </Sheet>
    );
  }
  return (
    <Sheet key="facts" label={name} id="roster-member" onClose={close}>
      <h2><Name>{name}</Name></h2>
      <div class="marks">
        <Badge verdict={r.Verdict} />
        {!r.Self && <LinkState link={r.Link} />}
        <Voice member={r} />
      </div>
      <p class="hint">{t(("verdict.text." + known(r.Verdict)) as Key)}</p>
      <dl>
        <Fact word="fact.site" value={String(r.Site || "")} field="site" />
        <Fact word="fact.release" value={String(r.Release || "")} field="release" />
        <Fact word="fact.age" value={r.VerdictAgeS === undefined ? "" : ageOf(r.VerdictAgeS)} field="verdict-age" />
        <Fact word="fact.reason" value={whyOf(r.VerdictReason)} field="verdict-reason" />
        <Fact word="fact.credential" value={print(r.Credential)} field="credential" />
      </dl>
      <div class="answers">
        <Back m={m} />
        {!r.Self && (
          <Touch
            m={m}
            action="roster-remove"
            kind="small danger"
            icon="cross"
            label={t("remove.open")}
            pending={"remove:" + p.id}
            onTouch={() => m.show({ what: "member", id: p.id, sure: true })}
          />
        )}
      </div>
    </Sheet>
  );
}

export function AddSheet(p: ScreenProps): VNode {
  return (
    <Sheet label={t("roster.add")} id="call-add" onClose={() => p.m.show({ what: "main" })}>
      <h2>{t("roster.add")}</h2>
      <Rooms m={p.m} />
      <div class="answers">
        <Back m={p.m} />
      </div>
    </Sheet>
  );
}

export function EndSheet(p: ScreenProps): VNode {
  const m = p.m;
  const id = String((m.status.Call && m.status.Call.CallId) || "");
  const close = (): void => m.show({ what: "main" });
  return (
    <Sheet label={t("end.sure")} id="call-end" onClose={close}>
      <h2>{t("end.sure")}</h2>
      <p class="hint">{t("end.hint")}</p>
      <div class="answers">
        <Touch m={m} action="sheet-close" kind="primary" icon="back" label={t("cancel")} onTouch={close} />
        <Touch
          m={m}
          action="call-end"
          kind="primary leave"
          icon="hangup"
          label={t("end.yes")}
          pending="end"
          onTouch={() => m.act("end", "Call/EndForAll", { CallId: id }, (s) => !s.Call || s.Call.CallId !== id, "waits.leave")}
        />
      </div>
    </Sheet>
  );
}

function Knock(p: { m: Model; id: string; who: Waiting }): VNode {
  const m = p.m;
  const w = p.who;
  const params = { Id: p.id, Credential: String(w.Credential || "") };
  const gone = (s: Model["status"]): boolean => !((s.Lobby && s.Lobby.Waiting) || {})[p.id];
  const since = w.Since === undefined ? NaN : Date.parse(w.Since);
  return (
    <li class="knock" data-field="lobby-waiting" data-waiting={p.id}>
      <div class="words">
        <p class="big"><Name>{String(w.Name || "")}</Name></p>
        <p class="site">
          <Name field="site">{String(w.Site || "")}</Name>
          {!isNaN(since) && <span>{t("lobby.since", { time: timeOf(since) })}</span>}
        </p>
        <div class="marks">
          <Badge verdict={w.Verdict} />
        </div>
        {w.Why && <p class="hint">{t(("lobby.why." + w.Why) as Key)}{w.VerdictReason ? " " + whyOf(w.VerdictReason) : ""}</p>}
        <p class="print"><bdi data-field="credential">{print(w.Credential)}</bdi></p>
      </div>
      <div class="answers">
        <Touch
          m={m}
          action="lobby-refuse"
          kind="primary leave"
          icon="cross"
          label={t("lobby.refuse")}
          pending={"lobby:" + p.id}
          data={{ waiting: p.id }}
          onTouch={() => m.act("lobby:" + p.id, "Lobby/Refuse", params, gone, "waits.lobby")}
        />
        <Touch
          m={m}
          action="lobby-admit"
          kind="primary go"
          icon="check"
          label={t("lobby.admit")}
          pending={"lobby:" + p.id}
          off={w.Verdict === undefined}
          data={{ waiting: p.id }}
          onTouch={() => m.act("lobby:" + p.id, "Lobby/Admit", params, gone, "waits.lobby")}
        />
      </div>
    </li>
  );
}

/** Lobby lies over any screen, but leaves the controls of a call free. */
export function Lobby(p: ScreenProps): VNode | null {
  const waiting = (p.m.status.Lobby && p.m.status.Lobby.Waiting) || {};
  const ids = Object.keys(waiting).sort((a, b) => String(waiting[a].Since).localeCompare(String(waiting[b].Since)));
  if (ids.length === 0) return null;
  return (
    <section class="lobby" role="region" aria-labelledby="lobby-title" data-sheet="lobby">
      <h2 id="lobby-title"><Icon name="door" /><span>{t("lobby.title")}</span></h2>
      <ul>
        {ids.map((id) => (
          <Knock key={id} m={p.m} id={id} who={waiting[id]} />
        ))}
      </ul>
    </section>
  );
}

/** TroubleSheet says what did not work and what to do; it always has a way on. */
export function TroubleSheet(p: ScreenProps): VNode | null {
  const m = p.m;
  const x = m.trouble;
  if (!x) return null;
  const words = reason(x.reason, x.name);
  const idle = !m.status.Call || m.status.Call.State === "Idle" || m.status.Call.State === undefined;
  const rooms = (m.status.Directory && m.status.Directory.Rooms) || {};
  return (
    <Sheet label={words.title} id="trouble" onClose={() => m.dismiss()}>
      <h2><Icon name="info" /><span data-field="trouble" data-reason={x.reason}>{words.title}</span></h2>
      {x.detail && <p class="hint large"><bdi data-field="trouble-detail">{(x.name ? x.name + ": " : "") + whyOf(x.detail)}</bdi></p>}
      <p class="hint large">{words.remedy}</p>
      {x.code !== 0 && (
        <p class="print">
          {t("trouble.code")} <bdi>{String(x.code) + (x.reference ? " · " + x.reference : "")}</bdi>
        </p>
      )}
      <div class="answers">
        <Touch m={m} action="trouble-close" kind="primary" icon="check" label={t("ok")} onTouch={() => m.dismiss()} />
        {idle && rooms[x.room] && (
          <Touch m={m} action="call-again" kind="primary go" icon="phone" label={t("trouble.again")} data={{ room: x.room }} onTouch={() => call(m, x.room)} />
        )}
      </div>
    </Sheet>
  );
}
