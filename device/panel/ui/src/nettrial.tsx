// SPDX-License-Identifier: Apache-2.0

import { Component, h, VNode } from "preact";
import { Icon } from "./icons";
import { Model } from "./model";
import { Heading, ScreenProps, Touch } from "./parts";
import { secondsOf, t } from "./texts";

/** confirmBy is when the network's settings before come back, if new ones are tried. */
export const confirmBy = (m: Model): string => (m.status.Network && m.status.Network.ConfirmBy) || "";

function Keep(p: ScreenProps & { kind: string }): VNode {
  const kept = (): void => {
    p.m.tried = null;
  };
  const keep = (): void => p.m.act("confirm", "Network/Confirm", {}, (s) => !s.Network || !s.Network.ConfirmBy, "waits.save", { then: kept });
  return <Touch m={p.m} action="network-keep" kind={p.kind} icon="check" label={t("net.keep")} pending="confirm" onTouch={keep} />;
}

/** Left counts down to the settings before; only it is drawn each second. */
class Left extends Component<ScreenProps, { left: number }> {
  private timer = 0;

  componentDidMount(): void {
    this.draw();
    this.timer = window.setInterval(() => this.draw(), 500);
  }

  componentWillUnmount(): void {
    clearInterval(this.timer);
  }

  private draw(): void {
    const ms = Date.parse(confirmBy(this.props.m)) - this.props.m.now();
    const left = isNaN(ms) ? 0 : Math.max(0, Math.ceil(ms / 1000));
    if (left !== this.state.left) this.setState({ left });
  }

  render(): VNode {
    return <span role="timer" aria-live="off" data-field="network-left">{t("net.left", { time: secondsOf(this.state.left || 0) })}</span>;
  }
}

/** Trying is the set-up while the network's new settings wait to be kept. */
export function Trying(p: ScreenProps & { again: () => void }): VNode {
  const m = p.m;
  const now = (m.status.Network && m.status.Network.Current) || "";
  return (
    <main key="trying" class="screen setup" data-screen="setup-trying">
      <div class="setup-card">
        <Heading key="trying">{t("net.trying")}</Heading>
        <p class={now ? "hint" : "bad"} role="status" data-field="network-current">
          <Icon name={now ? "check" : "triangle"} />
          <span>{now ? t("setup.network.now", { name: now }) : t("setup.network.none")}</span>
        </p>
        <p class="hint large"><Left m={m} /></p>
        <div class="answers onward">
          <Touch m={m} action="setup-to-network" kind="small" icon="back" label={t("setup.to.network")} onTouch={p.again} />
          <Keep m={m} kind="primary go" />
        </div>
      </div>
    </main>
  );
}

/** NetworkNotice says, beside whatever is shown, that settings are tried or were not kept. */
export function NetworkNotice(p: ScreenProps & { setup: boolean }): VNode | null {
  const m = p.m;
  if (!m.facilities) return null;
  if (confirmBy(m) !== "") {
    if (p.setup) return null; // it has a screen of its own
    return (
      <div class="notice long" role="status" data-field="network-trying">
        <Icon name="triangle" />
        <span>{t("net.trying")}. <Left m={m} /></span>
        <Keep m={m} kind="small" />
      </div>
    );
  }
  if (!m.reverted) return null;
  return (
    <div class="notice" role="status" data-field="network-reverted">
      <Icon name="triangle" />
      <span>{t("net.reverted")}</span>
      <Touch m={m} action="network-read" kind="small" label={t("ok")} onTouch={() => m.readReverted()} />
    </div>
  );
}

/** elsewhere is where a room is that was lost while it tries another network; empty: nobody here knows. */
export function elsewhere(m: Model): string | undefined {
  const n = m.status.Network;
  if (n && n.ConfirmBy) return n.Method === "Static" ? n.Address || "" : "";
  return m.tried && m.staleSince < m.tried.until ? m.tried.address : undefined;
}

/** Away stands where Stale would, while the room may be found at another address. */
export function Away(p: ScreenProps & { address: string }): VNode {
  const host = p.address.split("/")[0];
  const url = "https://" + (host.indexOf(":") >= 0 ? "[" + host + "]" : host);
  return (
    <div class="stale" data-screen="away">
      <div class="stale-card">
        <span class="spinner" aria-hidden="true" />
        <h2>{t("net.trying")}</h2>
        <p class="hint large" data-field="away-at">{host !== "" ? t("net.away.at", { name: url }) : t("net.away.auto")}</p>
        <p class="hint">{t("net.away.back")}</p>
      </div>
    </div>
  );
}
