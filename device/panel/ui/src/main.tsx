// SPDX-License-Identifier: Apache-2.0

import { Component, h, render, VNode } from "preact";
import { InCall } from "./call";
import { Icon } from "./icons";
import { Idle } from "./idle";
import { Model } from "./model";
import { enter } from "./pair";
import { Panels } from "./pairpanels";
import { Heading, ScreenProps } from "./parts";
import { Incoming, Joining, Leaving, Outgoing } from "./ringing";
import { AddSheet, EndSheet, Lobby, MemberSheet, TroubleSheet } from "./sheets";
import { Setup } from "./setup";
import { Away, elsewhere, NetworkNotice } from "./nettrial";
import { Key, minutesOf, t, timeOf } from "./texts";
import { Notice, Updates } from "./updates";

function inSetup(m: Model): boolean {
  const state = m.status.Setup && m.status.Setup.State;
  return !!state && state !== "Done";
}

function Screen(p: ScreenProps): VNode {
  const c = p.m.status.Call || {};
  if (inSetup(p.m)) return <Setup key="setup" m={p.m} />;
  switch (c.State) {
    case "Ringing":
      return c.Direction === "Outgoing" ? <Outgoing key="out" m={p.m} /> : <Incoming key="in" m={p.m} />;
    case "Joining":
    case "InLobby":
      return <Joining key={c.State} m={p.m} />;
    case "Connected":
    case "Reconnecting":
      return <InCall key="call" m={p.m} />;
    case "Leaving":
      return <Leaving key="leaving" m={p.m} />;
    default:
      return <Idle key="idle" m={p.m} />;
  }
}

/** Conditions are what somebody should look after. */
function Conditions(p: ScreenProps): VNode | null {
  const all = (p.m.status.Diagnostics && p.m.status.Diagnostics.Conditions) || {};
  const names = Object.keys(all).filter((n) => all[n].Severity !== "Info");
  if (names.length === 0) return null;
  return (
    <ul class="conditions" aria-label={t("conditions.title")}>
      {names.map((n) => (
        <li key={n} class={String(all[n].Severity)} data-condition={n}>
          <Icon name={all[n].Severity === "Error" ? "octagon" : "triangle"} />
          <span>{String(all[n].Remedy || n)}</span>
        </li>
      ))}
    </ul>
  );
}

/** Said is what a screen reader hears when the state changes. */
function Said(p: ScreenProps): VNode {
  const m = p.m;
  const s = m.status;
  const state = (s.Call && s.Call.State) || "Idle";
  const inCall = state === "Connected" || state === "Reconnecting";
  const muted = !!s.Audio && !!s.Audio.Silent && !!s.Audio.Mute && s.Audio.Mute.State === "On";
  const waiting = (s.Lobby && s.Lobby.Waiting) || {};
  const knocks = Object.keys(waiting).map((id) => t("lobby.knocks", { name: String(waiting[id].Name || "") }));
  const away = m.dark ? t(m.dark.why === "update" ? "dark.update" : "dark.restart") : t("stale.title", { time: timeOf(m.staleSince) });
  const stale = m.stale ? away : "";
  const ringing = state === "Ringing" && s.Call && s.Call.Direction === "Incoming" ? t("in.title") : "";
  return (
    <div class="reads">
      <p aria-live="polite" data-field="said">{inCall ? t(muted ? "said.muted" : "said.live") : ""}</p>
      <p aria-live="assertive">{[stale, ringing].concat(knocks).filter((w) => w !== "").join(". ")}</p>
    </div>
  );
}

/** Dark stands where Stale would, while the room restarts because somebody asked for it. */
function Dark(p: ScreenProps): VNode | null {
  const m = p.m;
  if (!m.dark) return null;
  const late = m.dark.minutes > 0 && m.now() - m.staleSince > (m.dark.minutes + 5) * 60000;
  return (
    <div class="stale" data-screen="dark" data-why={m.dark.why}>
      <div class="stale-card">
        <span class="spinner" aria-hidden="true" />
        <h2>{t(m.dark.why === "update" ? "dark.update" : "dark.restart")}</h2>
        <p class="hint large" data-field="dark-hint">{m.dark.minutes > 0 ? t("dark.hint", { time: minutesOf(m.dark.minutes) }) : t("dark.soon")}</p>
        <p class="hint">{t("dark.since", { time: timeOf(m.staleSince) })}</p>
        {late && <p class="hint" data-field="dark-late">{t("dark.late")}</p>}
      </div>
    </div>
  );
}

function Stale(p: ScreenProps): VNode | null {
  if (!p.m.stale) return null;
  if (p.m.dark) return <Dark m={p.m} />;
  const address = elsewhere(p.m);
  if (address !== undefined) return <Away m={p.m} address={address} />;
  return (
    <div class="stale" data-screen="stale">
      <div class="stale-card">
        <span class="spinner" aria-hidden="true" />
        <h2>{t("stale.title", { time: timeOf(p.m.staleSince) })}</h2>
        <p class="hint large" data-field="stale-mute">{t("stale.mute")}</p>
        <p class="hint">{t("stale.hint")}</p>
      </div>
    </div>
  );
}

function Looking(): VNode {
  return (
    <main class="screen joining" data-screen="looking">
      <span class="spinner" aria-hidden="true" />
      <Heading>{t("looking.title")}</Heading>
      <p class="hint">{t("looking.hint")}</p>
    </main>
  );
}

function Over(p: ScreenProps): VNode | null {
  const v = p.m.view;
  if (p.m.trouble) return <TroubleSheet m={p.m} />;
  switch (v.what) {
    case "member":
      return <MemberSheet m={p.m} id={v.id} sure={v.sure} />;
    case "add":
      return <AddSheet m={p.m} />;
    case "end":
      return <EndSheet m={p.m} />;
    case "updates":
      return <Updates m={p.m} part={v.part} />;
    case "panels":
      return <Panels m={p.m} id={v.id} />;
    default:
      return null;
  }
}

class App extends Component<ScreenProps> {
  componentDidMount(): void {
    this.props.m.changed = () => this.setState({});
  }

  render(): VNode {
    const m = this.props.m;
    if (!m.known) return <div class="app"><Looking /></div>;
    const waits: Key | null = m.waiting();
    return (
      <div class="app">
        <div class={"live" + (m.stale ? " dimmed" : "")} aria-hidden={m.stale ? "true" : null} {...{ inert: m.stale }}>
          <Conditions m={m} />
          <Notice m={m} />
          <NetworkNotice m={m} setup={inSetup(m)} />
          <Screen m={m} />
          <Lobby m={m} />
          <p class={"waits" + (waits ? " shown" : "")} role="status" data-field="waits">{waits ? t(waits) : ""}</p>
          <Over m={m} />
        </div>
        <Stale m={m} />
        <Said m={m} />
      </div>
    );
  }
}

const model = new Model();
void enter(() => {
  render(<App m={model} />, document.body);
  model.start();
});
