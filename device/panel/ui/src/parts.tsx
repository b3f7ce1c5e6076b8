// SPDX-License-Identifier: Apache-2.0

import { Children, Component, h, VNode } from "preact";
import { Icon, IconName } from "./icons";
import { Model } from "./model";
import { faceOf, Key, t } from "./texts";
import { Member, Verdict } from "./tree";

export interface ScreenProps {
  m: Model;
}

interface TouchProps {
  m: Model;
  action: string; // stable, for tests and for people who automate
  icon?: IconName;
  label: string;
  note?: string; // a second, smaller line
  kind?: string; // class names
  pending?: string; // key of the touch, if the state has to follow
  pressed?: boolean;
  off?: boolean;
  data?: { [name: string]: string };
  onTouch: () => void;
}

/** Touch is every button. Pending, it stays what the state says and is marked busy. */
export function Touch(p: TouchProps): VNode {
  const busy = p.pending !== undefined && p.m.pending.has(p.pending);
  const data: { [name: string]: string } = {};
  for (const name of Object.keys(p.data || {})) data["data-" + name] = (p.data || {})[name];
  return (
    <button
      type="button"
      class={"touch " + (p.kind || "") + (busy ? " busy" : "")}
      data-action={p.action}
      aria-busy={busy ? "true" : "false"}
      aria-pressed={p.pressed === undefined ? null : String(p.pressed)}
      aria-disabled={p.off ? "true" : null}
      onClick={() => !p.off && p.onTouch()}
      {...data}
    >
      {p.icon && <Icon name={p.icon} />}
      <span class="words">
        <span class="label">{p.label}</span>
        {p.note && <span class="note">{p.note}</span>}
      </span>
    </button>
  );
}

const badges: { [v in Verdict]: { icon: IconName; word: Key } } = {
  affirming: { icon: "shield", word: "verdict.affirming" },
  warning: { icon: "triangle", word: "verdict.warning" },
  contraindicated: { icon: "octagon", word: "verdict.contraindicated" },
  none: { icon: "dashed", word: "verdict.none" },
};

/** known maps what the room does not say, or what this page does not know, to "none". */
export function known(v: Verdict | undefined): Verdict {
  return v !== undefined && badges[v] ? v : "none";
}

/** Badge tells a verdict by shape and word, not by colour alone. */
export function Badge(p: { verdict: Verdict | undefined }): VNode {
  const v = known(p.verdict);
  return (
    <span class={"badge " + v} data-field="verdict" data-verdict={v}>
      <Icon name={badges[v].icon} />
      <span>{t(badges[v].word)}</span>
    </span>
  );
}

const bars = { Connecting: 1, Good: 4, Weak: 2, Lost: 0 };

/** LinkState tells how media come from a room. */
export function LinkState(p: { link: Member["Link"] }): VNode | null {
  if (!p.link || bars[p.link] === undefined) return null;
  return (
    <span class={"link " + p.link} data-field="link" data-link={p.link}>
      <Icon name="bars" level={bars[p.link]} />
      <span>{t(("link." + p.link) as Key)}</span>
    </span>
  );
}

/** Name is text that another room chose: isolated, so that it cannot turn its neighbours round. */
export function Name(p: { children?: Children; field?: string }): VNode {
  return <bdi class="name" data-field={p.field || "name"}>{p.children}</bdi>;
}

/** Heading takes the focus when a screen appears, so that a reader begins there. */
export class Heading extends Component<{ level?: string }> {
  componentDidMount(): void {
    if (this.base) this.base.focus({ preventScroll: true });
  }

  render(): VNode {
    return <h1 tabIndex={-1} class={this.props.level || ""}>{this.props.children}</h1>;
  }
}

interface SheetProps {
  label: string;
  id: string;
  children?: Children;
  onClose: () => void;
}

/** Sheet covers the screen until it is answered or left with Escape. */
export class Sheet extends Component<SheetProps> {
  private before: Element | null = null;

  componentDidMount(): void {
    this.before = document.activeElement;
    const sheet = this.base && this.base.querySelector<HTMLElement>(".sheet");
    if (sheet) sheet.focus({ preventScroll: true });
  }

  componentWillUnmount(): void {
    if (this.before instanceof HTMLElement && document.contains(this.before)) this.before.focus({ preventScroll: true });
  }

  /** key keeps the focus inside, as what lies behind cannot be touched. */
  private key(e: KeyboardEvent): void {
    if (e.key === "Escape") this.props.onClose();
    if (e.key !== "Tab" || !this.base) return;
    const all = Array.from(this.base.querySelectorAll<HTMLElement>("button, input, textarea"));
    const first = all[0];
    const last = all[all.length - 1];
    const at = document.activeElement;
    if (e.shiftKey ? at === first || at === e.currentTarget : at === last) {
      e.preventDefault();
      (e.shiftKey ? last : first).focus();
    }
  }

  render(): VNode {
    return (
      <div class="sheet-back">
        <div
          class="sheet"
          role="dialog"
          aria-modal="true"
          aria-label={this.props.label}
          data-sheet={this.props.id}
          tabIndex={-1}
          onKeyDown={(e: KeyboardEvent) => this.key(e)}
        >
          {this.props.children}
        </div>
      </div>
    );
  }
}

/** Clock is the room's time; only it is drawn each second. */
export class Clock extends Component<{ m: Model; since?: string }, { text: string; period: string }> {
  private timer = 0;

  constructor(p: { m: Model; since?: string }) {
    super(p);
    this.state = { text: "", period: "" };
  }

  componentDidMount(): void {
    this.draw();
    this.timer = window.setInterval(() => this.draw(), 500);
  }

  componentWillUnmount(): void {
    clearInterval(this.timer);
  }

  private draw(): void {
    const now = this.props.m.now();
    const since = this.props.since === undefined ? NaN : Date.parse(this.props.since);
    const face = isNaN(since) ? faceOf(now) : { digits: lasting(now - since), period: "" };
    if (face.digits !== this.state.text) this.setState({ text: face.digits, period: face.period });
  }

  render(): VNode {
    return (
      <time class="clock" role="timer" aria-live="off">
        {this.state.text}
        {this.state.period && <span class="period">{this.state.period}</span>}
      </time>
    );
  }
}

/** lasting writes a duration as 4:05 or 1:04:05. */
function lasting(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n: number): string => String(n).padStart(2, "0");
  const hours = Math.floor(s / 3600);
  const minutes = Math.floor(s / 60) % 60;
  return hours > 0 ? hours + ":" + two(minutes) + ":" + two(s % 60) : minutes + ":" + two(s % 60);
}
