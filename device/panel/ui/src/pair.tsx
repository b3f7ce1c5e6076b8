// SPDX-License-Identifier: Apache-2.0

import { Component, h, render, VNode } from "preact";
import { Field } from "./fields";
import { Icon } from "./icons";
import { Failed, forget, linkOf, load, pairByLink, pairByPIN, PairingState, pairingState } from "./pairkey";
import { Heading, Name } from "./parts";
import { Key, t, timeOf } from "./texts";

/** Stage is where pairing is. */
type Stage = { at: "working" } | { at: "waiting"; why: Key | null };

interface PairState {
  stage: Stage;
  room: PairingState | null;
  pin: string; // digits that are typed
}

interface PairProps {
  fragment: string; // of the address that was opened
  room: PairingState | null;
  removed: boolean; // the room has forgotten this browser
}

const lookMs = 3000;
const pinSize = 8; // digits
const whole = (pin: string): boolean => pin.length === pinSize;

/** nameOf is how this browser calls itself, until people name it. */
function nameOf(): string {
  const brand = /(Firefox|Edg|OPR|Chrome|Safari)\//.exec(navigator.userAgent);
  const system = /(Android|iPad|iPhone|CrOS|Windows|Mac OS|Linux)/.exec(navigator.userAgent);
  return [brand && brand[1], system && system[1]].filter((w) => w).join(", ") || "Browser";
}

/** Pair is what a browser shows that is not paired with the room. */
class Pair extends Component<PairProps, PairState> {
  private timer = 0;

  constructor(p: PairProps) {
    super(p);
    this.state = { stage: { at: "waiting", why: p.removed ? "pair.removed" : null }, room: p.room, pin: "" };
  }

  componentDidMount(): void {
    void this.look();
    this.timer = window.setInterval(() => void this.look(), lookMs);
    addEventListener("hashchange", () => this.use(fragmentOf()));
    // The page of a paired panel has no PIN: this browser was one and lost its key.
    if (!window.inCameraLoad && this.props.fragment === "") location.replace("/pair" + location.search);
    this.use(this.props.fragment);
  }

  componentWillUnmount(): void {
    clearInterval(this.timer);
  }

  private async look(): Promise<void> {
    if (this.state.stage.at === "working") return;
    const room = await pairingState().catch(() => null);
    if (room) this.setState({ room });
  }

  private use(fragment: string): void {
    if (fragment === "" || this.state.stage.at === "working") return;
    const link = linkOf(fragment);
    if (!link) {
      this.setState({ stage: { at: "waiting", why: "pair.broken" } });
      return;
    }
    this.work(() => pairByLink(link, nameOf()));
  }

  private type(): void {
    if (!whole(this.state.pin)) return;
    const pin = this.state.pin;
    this.work(() => pairByPIN(pin, nameOf()));
  }

  private work(pair: () => Promise<void>): void {
    this.setState({ stage: { at: "working" }, pin: "" });
    pair().then(
      () => location.replace("/" + location.search),
      (e) => {
        this.setState({ stage: { at: "waiting", why: ("pair." + (e instanceof Failed ? e.why : "failed")) as Key } });
        void this.look();
      },
    );
  }

  /** digits is the place for the PIN, while there is one. */
  private digits(room: PairingState): VNode | null {
    const { Pin, PinLockedUntil } = room.Window;
    if (!Pin) return PinLockedUntil ? <p class="hint">{t("pair.pin.locked", { time: timeOf(Date.parse(PinLockedUntil)) })}</p> : null;
    return (
      <div class="setup-card">
        <Field
          id="pin"
          label={t("pair.pin.label")}
          value={this.state.pin}
          hint={t("pair.pin.tries", { name: String(Pin.TriesLeft) })}
          max={11}
          kind="numeric"
          onInput={(pin) => this.setState({ pin: pin.replace(/[^0-9]/g, "").slice(0, pinSize) })}
          onEnter={() => this.type()}
        />
        <div class="answers">
          <button type="button" class="touch primary go" data-action="pair-pin" aria-disabled={whole(this.state.pin) ? null : "true"} onClick={() => this.type()}>
            <span class="words"><span class="label">{t("pair.pin.go")}</span></span>
          </button>
        </div>
      </div>
    );
  }

  render(): VNode {
    const { stage, room } = this.state;
    const name = (room && room.Room.Name) || t("call.title");
    if (stage.at === "working") {
      return (
        <main class="screen joining" data-screen="pairing">
          <span class="spinner" aria-hidden="true" />
          <Heading>{t("pair.working", { name })}</Heading>
          <p class="hint">{t("pair.workingHint")}</p>
        </main>
      );
    }
    const locked = room && room.Window.LockedUntil ? timeOf(Date.parse(room.Window.LockedUntil)) : "";
    let hint = "";
    if (locked) hint = t("pair.locked", { time: locked });
    else if (room) hint = t(room.Window.Open ? "pair.hint" : "pair.closed", { name });
    return (
      <main class="screen joining" data-screen="unpaired" data-window={room ? String(room.Window.Open) : "unknown"}>
        {room && <p class="large"><Name field="room">{room.Room.Name}</Name></p>}
        <Heading>{t("pair.title")}</Heading>
        {stage.why && stage.why !== "pair.locked" && (
          <p class="bad" role="alert" data-field="pair-failed" data-why={stage.why}>
            <Icon name="triangle" />
            <span>{t(stage.why, { name })}</span>
          </p>
        )}
        {room && room.Window.Open && <p class="large">{t("pair.open")}</p>}
        <p class="hint" aria-live="polite">{hint}</p>
        {room && this.digits(room)}
      </main>
    );
  }
}

/** fragmentOf takes the fragment out of the address, where it would be seen, kept and copied. */
function fragmentOf(): string {
  const fragment = location.hash;
  if (fragment !== "") history.replaceState(null, "", location.pathname + location.search);
  return fragment;
}

/** enter begins the panel: at once on the room's own computer, elsewhere once this browser is paired. */
export async function enter(begin: () => void): Promise<void> {
  if (location.protocol !== "https:") {
    begin();
    return;
  }
  const fragment = fragmentOf();
  const kept = await load().catch(() => null);
  let room: PairingState | null = null;
  let removed = false;
  if (fragment === "" && kept) {
    // A room that does not answer now is looked for by the panel itself.
    room = await pairingState().catch(() => null);
    if (!room || room.Paired) {
      begin();
      return;
    }
    await forget().catch(() => undefined);
    removed = true;
  }
  render(
    <div class="app">
      <div class="live">
        <Pair fragment={fragment} room={room} removed={removed} />
      </div>
    </div>,
    document.body,
  );
}
