// SPDX-License-Identifier: Apache-2.0

import { h, VNode } from "preact";
import { Controls } from "./controls";
import { Icon } from "./icons";
import { Model } from "./model";
import { Badge, Clock, Heading, LinkState, Name, ScreenProps, Touch } from "./parts";
import { contacts } from "./idle";
import { ageOf, Key, t, timeOf, whyOf } from "./texts";
import { Code, Member } from "./tree";

/** groups splits a code into groups of five digits, as people read it aloud. */
export function groups(code: string): string[] {
  return code.replace(/\D/g, "").match(/.{1,5}/g) || [];
}

function Digits(p: { code: string; field: string }): VNode {
  return (
    <span class="digits" data-field={p.field} data-code={groups(p.code).join("")}>
      {groups(p.code).map((g) => (
        <span class="group">{g}</span>
      ))}
    </span>
  );
}

/** SecurityCode is the one thing that people compare, so it is large. */
function SecurityCode(p: { code: Code }): VNode {
  const c = p.code;
  const since = c.Since === undefined ? NaN : Date.parse(c.Since);
  const why = c.Why && c.Why !== "Started" ? t(("code.why." + c.Why) as Key, { name: String(c.Who || "") }) : "";
  const fresh = isNaN(since) ? "" : t("code.since", { time: timeOf(since) });
  return (
    <section class="code" aria-labelledby="code-title">
      <h2 id="code-title">
        <Icon name="lock" />
        <span>{t("code.title")}</span>
      </h2>
      {c.Code ? <Digits code={c.Code} field="security-code" /> : <p class="hint">{t("code.none")}</p>}
      <p class="hint compare">{t("code.compare")}</p>
      {c.Code && fresh && (
        <p class="fresh" data-field="code-since">
          <bdi>{why === "" ? fresh : fresh + ", " + why}</bdi>
        </p>
      )}
      {c.Previous && (
        <p class="before">
          <span>{t("code.before")}</span>
          <del>
            <Digits code={c.Previous} field="security-code-previous" />
          </del>
        </p>
      )}
    </section>
  );
}

function voice(m: Member): { key: Key; icon: "volume" | "micOff" } | null {
  if (m.Self) return null;
  if (m.Heard) return { key: "member.heard", icon: "volume" }; // never "muted" on a room that is heard
  if (m.SaysMuted) return { key: "member.muted", icon: "micOff" };
  return null;
}

export function Voice(p: { member: Member }): VNode | null {
  const v = voice(p.member);
  return v && <span class={"voice " + (p.member.Heard ? "heard" : "claim")} data-field="voice"><Icon name={v.icon} /><span>{t(v.key)}</span></span>;
}

/** Proof is, beside the badge, what it stands on: the release, the age of the proof, and what is wrong or missing. */
function Proof(p: { member: Member }): VNode | null {
  const r = p.member;
  const parts = [String(r.Release || ""), r.VerdictAgeS === undefined ? "" : ageOf(r.VerdictAgeS), whyOf(r.VerdictReason)];
  const text = parts.filter((s) => s !== "").join(" · ");
  return text === "" ? null : <span class="proof"><bdi data-field="proof">{text}</bdi></span>;
}

function Row(p: { m: Model; id: string; member: Member }): VNode {
  const r = p.member;
  return (
    <li key={p.id}>
      <button
        type="button"
        class="touch member"
        data-action="roster-open"
        data-field="roster-member"
        data-member={p.id}
        data-self={r.Self ? "true" : "false"}
        onClick={() => p.m.show({ what: "member", id: p.id, sure: false })}
      >
        <span class="words">
          <span class="line">
            <Name>{String(r.Name || "")}</Name>
            {r.Self && <span class="self">{t("member.self")}</span>}
          </span>
          <Name field="site">{String(r.Site || "")}</Name>
          <Proof member={r} />
        </span>
        <span class="marks">
          <Badge verdict={r.Verdict} />
          {!r.Self && <LinkState link={r.Link} />}
          <Voice member={r} />
          {!r.Self && r.SaysCameraOff && (
            <span class="voice" data-field="camera-off">
              <Icon name="cameraOff" />
              <span>{t("member.cameraOff")}</span>
            </span>
          )}
        </span>
        <Icon name="next" />
      </button>
    </li>
  );
}

function Roster(p: ScreenProps): VNode {
  const members = (p.m.status.Roster && p.m.status.Roster.Members) || {};
  // This room last: who else is here is what people look for.
  const ids = Object.keys(members).sort((a, b) => Number(!!members[a].Self) - Number(!!members[b].Self));
  return (
    <section class="roster" aria-labelledby="roster-title">
      <h2 id="roster-title">
        <span>{t("roster.title")}</span>
        <span class="count" data-field="roster-count">{ids.length}</span>
      </h2>
      <ul>
        {ids.map((id) => (
          <Row m={p.m} id={id} member={members[id]} />
        ))}
      </ul>
      <div class="more">
        {contacts(p.m).length > 0 && (
          <Touch m={p.m} action="call-add" kind="small" icon="plus" label={t("roster.add")} onTouch={() => p.m.show({ what: "add" })} />
        )}
        <Touch m={p.m} action="call-end-open" kind="small" icon="cross" label={t("roster.end")} onTouch={() => p.m.show({ what: "end" })} />
      </div>
    </section>
  );
}

/** others names who else is in the meeting, as the group says. */
function others(m: Model): string {
  const members = (m.status.Roster && m.status.Roster.Members) || {};
  const names = Object.keys(members)
    .filter((id) => !members[id].Self)
    .map((id) => String(members[id].Name || ""));
  return names.length > 3 ? names.slice(0, 2).join(", ") + " +" + (names.length - 2) : names.join(", ");
}

export function InCall(p: ScreenProps): VNode {
  const c = p.m.status.Call || {};
  const lost = c.State === "Reconnecting";
  const title = others(p.m) || String((c.Peer && c.Peer.Name) || t("call.title"));
  return (
    <main class="screen call" data-screen="call" data-state={String(c.State)}>
      <header class="top">
        <Heading level="peer">
          <Name field="peer">{title}</Name>
        </Heading>
        <Clock m={p.m} since={c.Since} />
      </header>
      {lost && (
        <p class="banner" role="status" data-field="reconnecting">
          <Icon name="triangle" />
          <span>{t("call.reconnecting")}</span>
        </p>
      )}
      <div class="body">
        <SecurityCode code={c.SecurityCode || {}} />
        <Roster m={p.m} />
      </div>
      <Controls m={p.m} />
    </main>
  );
}
