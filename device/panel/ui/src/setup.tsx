// SPDX-License-Identifier: Apache-2.0

import { Component, h, VNode } from "preact";
import { Field, Onward, Steps } from "./fields";
import { Icon } from "./icons";
import { Refusal } from "./link";
import { Model } from "./model";
import { confirmBy, Trying } from "./nettrial";
import { Heading, Name, ScreenProps, Touch } from "./parts";
import { follow, Key, language, languages, reason, t } from "./texts";
import { Language, Method, Network } from "./tree";

type Step = "language" | "name" | "network" | "invitation" | "check" | "sent";

interface Draft {
  step: Step;
  name: string;
  method: Method;
  address: string;
  gateway: string;
  dns: string;
  invitation: string;
  wrong: string; // the field that is to blame
  again: boolean; // the network is set once more while settings are tried
  begun: boolean; // a try has just begun; what is said of an earlier one is old
}

const invitationMax = 320;
const beginsMs = 1500;
const wired = (m: Model): Network | undefined => m.status.Network;

/** invitationOf takes out what pasting puts in: line breaks and spaces. */
const invitationOf = (text: string): string => text.replace(/\s+/g, "");
const whole = (text: string): boolean => /^ic1\.[A-Za-z0-9_.-]{20,}$/.test(invitationOf(text));

/** groups writes a hash so that two people can compare it. */
const groups = (hex: string): string[] => hex.replace(/[^0-9a-z]/gi, "").slice(0, 128).match(/.{1,4}/g) || [];

/** Setup makes a new box a room of a site. What a person has not sent yet is kept here alone. */
export class Setup extends Component<ScreenProps, Draft> {
  private before: string | undefined; // the state of the set-up when it was last drawn

  constructor(p: ScreenProps) {
    super(p);
    const s = p.m.status;
    const n = wired(p.m) || {};
    const begun = s.Setup && s.Setup.State !== "Needed";
    this.state = {
      step: begun || (s.Enrolment && s.Enrolment.LastError) ? "sent" : "language",
      name: String((s.System && s.System.Name) || ""),
      method: n.Method || "Dhcp",
      address: n.Address || "",
      gateway: n.Gateway || "",
      dns: (n.Dns || []).join(", "),
      invitation: "",
      wrong: "",
      again: false,
      begun: false,
    };
  }

  /** componentDidUpdate follows what another panel began, once. */
  componentDidUpdate(): void {
    const now = (this.props.m.status.Setup || {}).State;
    if (now === "Enrolling" && this.before === "Needed" && this.state.step !== "sent") this.go("sent");
    this.before = now;
  }

  private go(step: Step): void {
    this.setState({ step, wrong: "", again: false });
  }

  /** blame marks the field of a refusal in place. */
  private blame(r: Refusal): boolean {
    if (!r.Path || (r.Reason !== "invalid_params" && r.Reason !== "value_out_of_range")) return false;
    this.setState({ wrong: r.Path });
    return true;
  }

  private write(change: Partial<Draft>): void {
    this.setState({ ...change, wrong: "" });
  }

  private saveName(): void {
    const name = this.state.name.trim();
    if (name === "") return;
    this.props.m.act("name", "System/SetName", { Name: name }, (s) => !!s.System && s.System.Name === name, "waits.save", {
      then: () => this.go(wired(this.props.m) ? "network" : "invitation"),
      failed: (r) => this.blame(r),
    });
  }

  private saveNetwork(): void {
    const d = this.state;
    const dns = d.dns.split(/[\s,;]+/).filter((a) => a !== "");
    const hand = { Method: "Static", Address: d.address.trim(), Gateway: d.gateway.trim(), Dns: dns };
    const set = d.method === "Static" ? hand : { Method: "Dhcp" };
    this.props.m.tries(d.method === "Static" ? hand.Address : "");
    this.props.m.act("network", "Network/Set", set, () => false, "waits.save", {
      repeat: true,
      then: () => this.go("invitation"),
      failed: (r) => {
        this.props.m.tried = null;
        return this.blame(r);
      },
    });
  }

  private join(): void {
    const invitation = invitationOf(this.state.invitation);
    this.props.m.act("enrol", "Enrolment/Start", { Invitation: invitation }, () => false, "waits.save", {
      repeat: true,
      then: () => {
        this.setState({ step: "sent", wrong: "", begun: true });
        setTimeout(() => this.setState({ begun: false }), beginsMs);
      },
      failed: (r) => {
        if (!this.blame(r)) return false;
        this.go("invitation");
        this.setState({ wrong: "Invitation" });
        return true;
      },
    });
  }

  render(): VNode {
    const m = this.props.m;
    const state = m.status.Setup && m.status.Setup.State;
    const failure = (!this.state.begun && m.status.Enrolment && m.status.Enrolment.LastError) || "";
    if (!m.facilities) return <Elsewhere m={m} />;
    if (confirmBy(m) !== "" && !this.state.again) return <Trying m={m} again={() => this.setState({ step: "network", wrong: "", again: true })} />;
    if (this.state.step !== "sent") return this.page();
    if (state === "Waiting") return <Waiting m={m} why={failure} ways={this.ways()} />;
    if (state === "Needed" && failure !== "") return this.failed(failure);
    return <Enrolling m={m} why={failure} ways={failure === "" ? [] : this.ways()} />;
  }

  private page(): VNode {
    const net = !!wired(this.props.m);
    const order: Step[] = net ? ["language", "name", "network", "invitation", "check"] : ["language", "name", "invitation", "check"];
    const at = order.indexOf(this.state.step);
    const back = at > 0 ? () => this.go(order[at - 1]) : undefined;
    const pages: { [step in Step]: (back?: () => void) => VNode[] } = {
      language: () => this.language(),
      name: (b) => this.named(b),
      network: (b) => this.network(b),
      invitation: (b) => this.invited(b),
      check: (b) => this.check(b),
      sent: () => [],
    };
    return (
      <main key={this.state.step} class="screen setup" data-screen={"setup-" + this.state.step}>
        <div class="setup-card">
          <Steps at={at + 1} of={order.length} />
          {pages[this.state.step](back)}
        </div>
      </main>
    );
  }

  private language(): VNode[] {
    const m = this.props.m;
    const choose = (l: Language): void => {
      follow();
      m.act("language", "System/SetLanguage", { Language: l }, (s) => !!s.System && s.System.Language === l, "waits.save", { repeat: true });
    };
    return [
      <Heading key="language">{t("setup.language")}</Heading>,
      <div class="choices" role="group" aria-label={t("setup.language")}>
        {(Object.keys(languages) as Language[]).map((l) => (
          <span lang={l}>
            <Touch m={m} action="setup-language" kind={"toggle" + (l === language ? " on" : "")} label={languages[l]} pressed={l === language} data={{ language: l }} onTouch={() => choose(l)} />
          </span>
        ))}
      </div>,
      <Onward m={m} action="setup-next" label={t("next")} next={() => this.go("name")} />,
    ];
  }

  private named(back?: () => void): VNode[] {
    const d = this.state;
    return [
      <Heading key="name">{t("setup.name")}</Heading>,
      <Field
        id="name"
        label={t("setup.name.label")}
        hint={t("setup.name.hint")}
        value={d.name}
        max={64}
        onInput={(name) => this.write({ name })}
        onEnter={() => this.saveName()}
      />,
      <Onward m={this.props.m} action="setup-next" label={t("next")} back={back} pending="name" off={d.name.trim() === ""} next={() => this.saveName()} />,
    ];
  }

  private network(back?: () => void): VNode[] {
    const m = this.props.m;
    const d = this.state;
    const now = (wired(m) || {}).Current;
    const way = (method: Method, label: Key, note: Key): VNode => (
      <Touch m={m} action="setup-method" kind={"toggle" + (d.method === method ? " on" : "")} label={t(label)} note={t(note)} pressed={d.method === method} data={{ method }} onTouch={() => this.write({ method })} />
    );
    const field = (id: "address" | "gateway" | "dns", path: string, label: Key, example: string): VNode => (
      <Field
        id={id}
        label={t(label)}
        hint={t("setup.example", { name: example })}
        wrong={d.wrong === path ? t(("setup.bad." + path) as Key) : ""}
        value={d[id]}
        max={id === "dns" ? 200 : 64}
        onInput={(text) => this.write({ [id]: text })}
        onEnter={() => this.saveNetwork()}
      />
    );
    return [
      <Heading key="network">{t("setup.network")}</Heading>,
      <p class={now ? "hint" : "bad"} role="status" data-field="network-current">
        <Icon name={now ? "check" : "triangle"} />
        <span>{now ? t("setup.network.now", { name: now }) : t("setup.network.none")}</span>
      </p>,
      <div class="choices" role="group" aria-label={t("setup.network")}>
        {way("Dhcp", "setup.network.auto", "setup.network.auto.note")}
        {way("Static", "setup.network.hand", "setup.network.hand.note")}
      </div>,
      <div class="fields">
        {d.method === "Static" && field("address", "Address", "setup.address", "10.0.0.5/24")}
        {d.method === "Static" && field("gateway", "Gateway", "setup.gateway", "10.0.0.1")}
        {d.method === "Static" && field("dns", "Dns", "setup.dns", "10.0.0.1, 10.0.0.2")}
      </div>,
      <Onward m={m} action="setup-next" label={t("next")} back={back} pending="network" off={d.method === "Static" && d.address.trim() === ""} next={() => this.saveNetwork()} />,
    ];
  }

  private invited(back?: () => void): VNode[] {
    const d = this.state;
    const next = (): void => (whole(d.invitation) ? this.go("check") : this.setState({ wrong: "Invitation" }));
    return [
      <Heading key="invite">{t("setup.invite")}</Heading>,
      <p class="hint large">{t("setup.invite.hint")}</p>,
      <Field
        id="invitation"
        label={t("setup.invite.label")}
        wrong={d.wrong === "Invitation" ? t("setup.invite.bad") : ""}
        value={d.invitation}
        max={invitationMax + 40}
        lines={4}
        onInput={(invitation) => this.write({ invitation })}
        onEnter={next}
      />,
      <Onward m={this.props.m} action="setup-next" label={t("next")} back={back} off={d.invitation.trim() === ""} next={next} />,
    ];
  }

  private check(back?: () => void): VNode[] {
    const m = this.props.m;
    const s = m.status;
    const n = s.Network || {};
    const line = invitationOf(this.state.invitation);
    const facts: [Key, string, string][] = [
      ["fact.language", languages[language], "language"],
      ["setup.name.label", String((s.System && s.System.Name) || ""), "room-name"],
      ["fact.network", n.Method ? t(n.Method === "Static" ? "setup.network.hand" : "setup.network.auto") + (n.Current ? ", " + n.Current : "") : "", "network"],
      ["setup.invite.label", line.slice(0, 10) + "…" + line.slice(-6), "invitation"],
    ];
    return [
      <Heading key="check">{t("setup.check")}</Heading>,
      <dl>
        {facts.filter((f) => f[1] !== "").map((f) => (
          <div class="fact">
            <dt>{t(f[0])}</dt>
            <dd><Name field={"check-" + f[2]}>{f[1]}</Name></dd>
          </div>
        ))}
      </dl>,
      <p class="hint">{t("setup.check.hint")}</p>,
      <Onward m={m} action="setup-join" label={t("setup.join")} back={back} pending="enrol" next={() => this.join()} />,
    ];
  }

  /** ways lead back to what may have been wrong. */
  private ways(): VNode[] {
    const m = this.props.m;
    const way = (to: Step, label: Key): VNode => (
      <Touch m={m} action={"setup-to-" + to} kind="small" icon="back" label={t(label)} onTouch={() => this.go(to)} />
    );
    const invitation = way("invitation", "setup.to.invitation");
    return wired(m) ? [way("network", "setup.to.network"), invitation] : [invitation];
  }

  private failed(why: string): VNode {
    const m = this.props.m;
    return (
      <main key="failed" class="screen setup" data-screen="setup-failed">
        <div class="setup-card">
          <Heading key="failed">{t("setup.failed")}</Heading>
          <Why code={why} />
          <Detail m={m} />
          <div class="answers onward">
            {this.ways()}
            {whole(this.state.invitation) && (
              <Touch m={m} action="setup-join" kind="primary go" icon="sync" label={t("setup.retry")} pending="enrol" onTouch={() => this.join()} />
            )}
          </div>
        </div>
      </main>
    );
  }
}

/** Why is what went wrong and what to do. */
function Why(p: { code: string }): VNode {
  const words = reason("setup.err." + p.code, "");
  return (
    <div class="why">
      <p class="bad big-line"><Icon name="octagon" /><span data-field="setup-error" data-reason={p.code}>{words.title}</span></p>
      <p class="hint large">{words.remedy}</p>
    </div>
  );
}

/** Detail is what the room says of it in plain English, for whoever helps from afar. */
function Detail(p: ScreenProps): VNode | null {
  const text = (p.m.status.Setup && p.m.status.Setup.Detail) || "";
  return text === "" ? null : <p class="detail" lang="en"><bdi data-field="setup-detail">{text}</bdi></p>;
}

interface TryProps extends ScreenProps {
  why: string; // what the present try has met, if anything
  ways: VNode[];
}

/** Enrolling is a try that goes on by itself, also when it meets something that may pass. */
function Enrolling(p: TryProps): VNode {
  return (
    <main key="enrolling" class="screen setup" data-screen="setup-enrolling">
      <div class="setup-card">
        <span class="spinner" aria-hidden="true" />
        <Heading key="enrolling">{t("setup.enrolling")}</Heading>
        {p.why === "" ? <p class="hint large">{t("setup.enrolling.hint")}</p> : <Why code={p.why} />}
        {p.why !== "" && <p class="hint large">{t("setup.keeps")}</p>}
        <Detail m={p.m} />
        <div class="answers onward">{p.ways}</div>
      </div>
    </main>
  );
}

/** Waiting shows what the site's staff need to admit the room. */
function Waiting(p: TryProps): VNode {
  const e = p.m.status.Enrolment || {};
  return (
    <main key="waiting" class="screen setup" data-screen="setup-waiting">
      <div class="setup-card">
        <span class="spinner" aria-hidden="true" />
        <Heading key="waiting">{t("setup.waiting")}</Heading>
        {p.why !== "" && <Why code={p.why} />}
        {p.why === "" && <p class="hint large">{t("setup.waiting.hint")}</p>}
        {e.Site && <p class="big-line"><Icon name="door" /><Name field="setup-site">{e.Site}</Name></p>}
        {e.Chip && (
          <div class="chip">
            <h2>{t("setup.chip")}</h2>
            <p class="hash" data-field="chip" data-chip={e.Chip}>{groups(e.Chip).map((g) => <span>{g}</span>)}</p>
          </div>
        )}
        <Detail m={p.m} />
        <div class="answers onward">{p.ways}</div>
      </div>
    </main>
  );
}

function Elsewhere(p: ScreenProps): VNode {
  return (
    <main key="elsewhere" class="screen joining" data-screen="setup-elsewhere">
      <Icon name="door" />
      <Heading key="elsewhere">{t("setup.elsewhere")}</Heading>
      <Detail m={p.m} />
      <p class="hint">{t("setup.elsewhere.hint")}</p>
    </main>
  );
}
