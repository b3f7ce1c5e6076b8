// SPDX-License-Identifier: Apache-2.0

import { Component, h, VNode } from "preact";
import { Field } from "./fields";
import { Icon, IconName } from "./icons";
import { Model } from "./model";
import { Name, ScreenProps, Sheet, Touch } from "./parts";
import { bytesOf, Key, minutesOf, percentOf, t } from "./texts";
import { Offer, Status, Updates as State, UpdateState } from "./tree";

const works: UpdateState[] = ["Receiving", "Checking", "Writing"];
const stateOf = (s: Status): UpdateState => (s.Updates && s.Updates.State) || "Idle";
const inCall = (m: Model): boolean => !!m.status.Call && m.status.Call.State !== "Idle";
const close = (m: Model): void => m.show({ what: "main" });

/** nameOf is the release that a state is about, if the room knows. */
function nameOf(u: State): string {
  const failed = u.Failure && u.Failure.Version;
  return String((u.State === "Committed" ? u.Running : u.State === "RolledBack" ? failed : u.Candidate) || t("fact.release"));
}

/** whyOf says why a release was not taken or did not stay; a code without words stands as it is. */
function whyOf(code: string | undefined): string {
  return code ? t(("up.why." + code) as Key) || code : "";
}

/** UpdatesButton is the quiet way to the sheet, with one line of what goes on. */
export function UpdatesButton(p: ScreenProps): VNode | null {
  const u = p.m.status.Updates;
  if (!u || !p.m.facilities) return null;
  const state = stateOf(p.m.status);
  const fresh = offers(u).find((o) => o.Source === "Site" && o.Version !== u.Running);
  let note = "";
  if (works.indexOf(state) >= 0) note = percentOf(u.Progress || 0);
  else if (state === "Waiting" || state === "Trying" || state === "RolledBack") note = t(("up." + state) as Key, { name: nameOf(u) });
  else if (fresh) note = fresh.Version || "";
  return (
    <Touch m={p.m} action="updates-open" kind="small quiet-button" icon="sync" label={t("up.title")} note={note} onTouch={() => p.m.show({ what: "updates", part: "main" })} />
  );
}

/** Notice says in a call that the room restarts after it. */
export function Notice(p: ScreenProps): VNode | null {
  const m = p.m;
  const u = m.status.Updates;
  if (!u || u.State !== "Waiting" || !inCall(m)) return null;
  return (
    <div class="notice" role="status" data-field="update-notice">
      <Icon name="sync" />
      <span>{t("up.notice", { name: u.Candidate || "" })}</span>
      {m.facilities && m.status.Call && m.status.Call.State === "Connected" && (
        <Touch m={m} action="updates-open" kind="small" label={t("up.title")} onTouch={() => m.show({ what: "updates", part: "main" })} />
      )}
    </div>
  );
}

function offers(u: State): (Offer & { id: string })[] {
  const all = u.Offered || {};
  return Object.keys(all)
    .map((id) => ({ id, ...all[id] }))
    .sort((a, b) => String(b.Version).localeCompare(String(a.Version), "en", { numeric: true }) || (a.id < b.id ? -1 : 1));
}

export function Updates(p: { m: Model; part: "main" | "restart" | "reset" }): VNode | null {
  const m = p.m;
  const u = m.status.Updates;
  if (!u || !m.facilities) return null;
  if (p.part === "restart") return <Restart m={m} />;
  if (p.part === "reset") return <Reset m={m} />;
  const busy = works.indexOf(stateOf(m.status)) >= 0;
  const still = !busy && ["Restarting", "Trying", "Waiting"].indexOf(stateOf(m.status)) < 0;
  const whole = still && !inCall(m);
  return (
    <Sheet key="updates" label={t("up.title")} id="updates" onClose={() => close(m)}>
      <h2><Icon name="sync" /><span>{t("up.title")}</span></h2>
      <dl>
        <div class="fact">
          <dt>{t("up.running")}</dt>
          <dd><bdi data-field="running">{String(u.Running || (m.status.System && m.status.System.Version) || "")}</bdi></dd>
        </div>
      </dl>
      {busy ? <Work m={m} u={u} /> : <Outcome m={m} u={u} />}
      {still && <Offers m={m} u={u} />}
      <div class="answers">
        <Touch m={m} action="sheet-close" kind="small" icon="back" label={t("back")} onTouch={() => close(m)} />
        {still && <Check m={m} />}
      </div>
      {whole && m.status.System && m.status.System.Serial && (
        <div class="answers rare">
          <Touch m={m} action="restart-open" kind="small" icon="sync" label={t("up.restart")} onTouch={() => m.show({ what: "updates", part: "restart" })} />
          <Touch m={m} action="reset-open" kind="small danger" icon="octagon" label={t("up.reset")} onTouch={() => m.show({ what: "updates", part: "reset" })} />
        </div>
      )}
    </Sheet>
  );
}

function Check(p: ScreenProps): VNode {
  return (
    <Touch
      m={p.m}
      action="updates-check"
      kind="small"
      icon="down"
      label={t("up.check")}
      pending="check"
      onTouch={() => p.m.act("check", "Updates/Check", {}, () => false, "waits.update", { repeat: true })}
    />
  );
}

/** Work is an installation that runs: phase, percent, and the way to stop it. */
function Work(p: { m: Model; u: State }): VNode {
  const u = p.u;
  const percent = Math.min(100, Math.max(0, u.Progress || 0));
  const words = t(("up." + stateOf(p.m.status)) as Key, { name: u.Candidate || "" });
  return (
    <div class="work" data-field="update-state" data-state={u.State}>
      <p class="big-line"><Name field="candidate">{words}</Name></p>
      <div class="gauge" role="progressbar" aria-label={words} aria-valuemin="0" aria-valuemax="100" aria-valuenow={String(percent)}>
        {/* A percent is a width of its own: the policy of the page forbids inline styles. */}
        <svg class="gauge-bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect width={percent} height="4" /></svg>
        <span data-field="progress">{percentOf(percent)}</span>
      </div>
      <p class="hint">{t("up.meanwhile", { time: dark(u) })}</p>
      <div class="answers"><Cancel m={p.m} /></div>
    </div>
  );
}

const dark = (u: State): string => minutesOf(u.DarkMinutes || 1);

function Cancel(p: ScreenProps): VNode {
  const stopped = (s: Status): boolean => works.concat("Waiting").indexOf(stateOf(s)) < 0;
  return (
    <Touch m={p.m} action="updates-cancel" kind="small" icon="cross" label={t("cancel")} pending="cancel" onTouch={() => p.m.act("cancel", "Updates/Cancel", {}, stopped, "waits.update")} />
  );
}

const marks: { [state: string]: IconName | undefined } = { Waiting: "check", Restarting: "sync", Trying: "triangle", Committed: "shield", RolledBack: "octagon" };

/** Outcome is where an installation has come to, and why if it failed. */
function Outcome(p: { m: Model; u: State }): VNode | null {
  const { m, u } = p;
  const state = stateOf(m.status);
  const failure = u.Failure && u.Failure.Reason ? u.Failure : undefined;
  const now = (): void => m.act("apply", "Updates/Apply", { When: "Now" }, (s) => stateOf(s) !== "Waiting", "waits.update");
  const mark = marks[state];
  if (!mark && !failure) return null;
  return (
    <div class={"outcome " + state} role="status" data-field="update-state" data-state={state}>
      {mark && <p class="big-line"><Icon name={mark} /><Name field="candidate">{t(("up." + state) as Key, { name: nameOf(u) })}</Name></p>}
      {state === "Trying" && <p class="hint">{t("up.trying.hint")}</p>}
      {(state === "Waiting" || state === "Restarting") && <p class="hint">{t("up.dark", { time: dark(u) })}</p>}
      {state === "Waiting" && u.BlockedBy === "Call" && <p class="hint large" data-field="blocked">{t("up.call")}</p>}
      {failure && (state === "Idle" || state === "RolledBack") && (
        <div class="why">
          {mark ? null : <p class="big-line"><Icon name="octagon" /><Name field="failed">{t("up.failed", { name: failure.Version || "" })}</Name></p>}
          <p class="hint large" data-field="failure" data-reason={failure.Reason}>{whyOf(failure.Reason)}</p>
          {failure.Detail && <p class="detail" lang="en"><bdi data-field="failure-detail">{failure.Detail}</bdi></p>}
        </div>
      )}
      {state === "Waiting" && (
        <div class="answers">
          <Cancel m={m} />
          {!inCall(m) && <Touch m={m} action="updates-apply" kind="small go" icon="sync" label={t("up.now")} pending="apply" onTouch={now} />}
        </div>
      )}
    </div>
  );
}

function Offers(p: { m: Model; u: State }): VNode {
  const { m, u } = p;
  const list = offers(u);
  return (
    <section class="offers" aria-labelledby="offers-title">
      <h2 id="offers-title">{t("up.offers")}</h2>
      {list.length === 0 && <p class="empty" data-field="no-offers">{t("up.none")}</p>}
      {list.length > 0 && <p class="hint">{t("up.hint", { time: dark(u) })}</p>}
      <ul>
        {list.map((o) => <One key={o.id} m={m} u={u} offer={o} id={o.id} />)}
      </ul>
    </section>
  );
}

/** One is an offer. What runs already is shown and cannot be installed. */
function One(p: { m: Model; u: State; offer: Offer; id: string }): VNode {
  const { m, u, offer } = p;
  const stick = offer.Source === "Stick";
  const version = String(offer.Version || "");
  // The updater takes nothing older than what runs unless somebody has read that it is.
  const older = !!u.Failure && u.Failure.Reason === "older" && u.Failure.Version === version;
  const what = stick ? { Name: p.id } : { Version: version };
  const params = older ? { ...what, Older: true } : what;
  const install = (): void =>
    m.act("install", stick ? "Updates/Import" : "Updates/Download", params, (s) => works.indexOf(stateOf(s)) >= 0, "waits.update", { repeat: true });
  return (
    <li class="offer" data-offer={p.id}>
      <Icon name={stick ? "stick" : "down"} />
      <span class="words">
        <Name field="version">{version}</Name>
        <span class="note">{t(stick ? "up.Stick" : "up.Site") + ", " + bytesOf(offer.Bytes || 0)}</span>
      </span>
      {version === u.Running ? (
        <span class="hint" data-field="runs">{t("up.running")}</span>
      ) : (
        <Touch m={m} action="updates-install" kind={"small" + (older ? " danger" : " go")} label={t(older ? "up.anyway" : "up.install")} pending="install" data={{ offer: p.id }} onTouch={install} />
      )}
    </li>
  );
}

function Restart(p: ScreenProps): VNode {
  const m = p.m;
  const back = (): void => m.show({ what: "updates", part: "main" });
  const restart = (): void =>
    m.act("restart", "System/Restart", {}, () => false, "waits.restart", { repeat: true, then: () => m.leaves("restart") });
  return (
    <Sheet key="restart" label={t("up.restart")} id="restart" onClose={back}>
      <h2><Icon name="sync" /><span>{t("up.restart.sure")}</span></h2>
      <p class="hint large">{t("up.restart.hint")}</p>
      <div class="answers">
        <Touch m={m} action="restart-cancel" kind="primary" icon="back" label={t("cancel")} onTouch={back} />
        <Touch m={m} action="restart-confirm" kind="primary leave" icon="sync" label={t("up.now")} pending="restart" onTouch={restart} />
      </div>
    </Sheet>
  );
}

/** Reset destroys the box's keys once a person has written its serial. */
class Reset extends Component<ScreenProps, { serial: string; wrong: boolean }> {
  constructor(p: ScreenProps) {
    super(p);
    this.state = { serial: "", wrong: false };
  }

  private destroy(): void {
    const m = this.props.m;
    const serial = String((m.status.System && m.status.System.Serial) || "");
    if (serial === "" || this.state.serial.trim().toUpperCase() !== serial.toUpperCase()) {
      this.setState({ wrong: true });
      return;
    }
    m.act("reset", "System/FactoryReset", { Serial: serial }, () => false, "waits.restart", { repeat: true, then: () => m.leaves("restart") });
  }

  render(): VNode {
    const m = this.props.m;
    const back = (): void => m.show({ what: "updates", part: "main" });
    return (
      <Sheet key="reset" label={t("up.reset")} id="reset" onClose={back}>
        <h2><Icon name="octagon" /><span>{t("up.reset.sure")}</span></h2>
        <p class="hint large">{t("up.reset.hint")}</p>
        <Field
          id="serial"
          label={t("up.serial")}
          wrong={this.state.wrong ? t("up.serial.bad") : ""}
          value={this.state.serial}
          max={64}
          onInput={(serial) => this.setState({ serial, wrong: false })}
        />
        <div class="answers">
          <Touch m={m} action="reset-cancel" kind="primary" icon="back" label={t("cancel")} onTouch={back} />
          <Touch m={m} action="reset-confirm" kind="primary leave" icon="octagon" label={t("up.reset.yes")} pending="reset" off={this.state.serial.trim() === ""} onTouch={() => this.destroy()} />
        </div>
      </Sheet>
    );
  }
}
