// SPDX-License-Identifier: Apache-2.0

import { Component, h, VNode } from "preact";
import { Icon } from "./icons";
import { Model } from "./model";
import { Name, ScreenProps, Sheet, Touch } from "./parts";
import { Key, t, timeOf } from "./texts";
import { Branch, PairedPanel, PairRole } from "./tree";

const maxLinks = 3; // a room with more addresses shows the rest on its console
const close = (m: Model): void => m.show({ what: "main" });
const look = (m: Model): void => m.show({ what: "panels", id: "" });

/** PanelsButton is the quiet way to the list of panels. */
export function PanelsButton(p: ScreenProps): VNode | null {
  if (!p.m.facilities || !p.m.status.Pairing) return null;
  return (
    <div class="care">
      <Touch m={p.m} action="panels-open" kind="small quiet-button" icon="key" label={t("pair.panels")} onTouch={() => look(p.m)} />
    </div>
  );
}

interface ListState {
  pin: string; // of that window, or empty
  links: string[]; // of the window that this panel opened; they hold the secret
}

/** Panels lists who may control the room, lets another in and puts one out. */
export class Panels extends Component<{ m: Model; id: string }, ListState> {
  constructor(p: { m: Model; id: string }) {
    super(p);
    this.state = { links: [], pin: "" };
  }

  private open(role: PairRole): void {
    this.props.m.act("pair", "Pairing/OpenWindow", { Role: role }, (s) => !!s.Pairing && !!s.Pairing.Window && s.Pairing.Window.Open === true, "pair.waits", {
      repeat: true,
      then: (result: Branch) => this.setState({ links: (result.Links as string[]) || [], pin: String(result.Pin || "") }),
    });
  }

  private stop(): void {
    const m = this.props.m;
    m.act("pair", "Pairing/CloseWindow", {}, (s) => !s.Pairing || !s.Pairing.Window || s.Pairing.Window.Open !== true, "pair.waits");
    this.setState({ links: [], pin: "" });
  }

  render(): VNode | null {
    const m = this.props.m;
    const pairing = m.status.Pairing;
    if (!pairing || !m.facilities) return null;
    const panels = pairing.Panels || {};
    if (panels[this.props.id]) return <Sure m={m} id={this.props.id} panel={panels[this.props.id]} />;
    const ids = Object.keys(panels).sort((a, b) => String(panels[a].PairedAt).localeCompare(String(panels[b].PairedAt)));
    const window = pairing.Window || {};
    const links = window.Open ? this.state.links : [];
    return (
      <Sheet key="panels" label={t("pair.panels")} id="panels" onClose={() => close(m)}>
        <h2><Icon name="key" /><span>{t("pair.panels")}</span></h2>
        {ids.length === 0 && <p class="hint">{t("pair.none")}</p>}
        <div class="offers">
          <ul>{ids.map((id) => <Row key={id} m={m} id={id} panel={panels[id]} />)}</ul>
        </div>
        {links.length > 0 && (
          <div class="outcome" data-field="pair-links">
            <p>{t("pair.link", { time: timeOf(Date.parse(window.Until || "")) })}</p>
            {links.slice(0, maxLinks).map((l) => <p key={l} class="pair-link">{l}</p>)}
            {this.state.pin !== "" && window.PinTriesLeft !== undefined && (
              <p data-field="pair-pin">{t("pair.pin.at", { time: links[0].split("#")[0], name: this.state.pin.slice(0, 4) + " " + this.state.pin.slice(4) })}</p>
            )}
          </div>
        )}
        <div class="answers">
          <Touch m={m} action="sheet-close" kind="small" icon="back" label={t("back")} onTouch={() => close(m)} />
          {window.Open ? (
            <Touch m={m} action="pair-stop" kind="small" icon="cross" label={t("pair.stop")} pending="pair" onTouch={() => this.stop()} />
          ) : null}
        </div>
        <div class="answers rare">
          <Touch m={m} action="pair-add" kind="small" icon="plus" label={t("pair.add")} pending="pair" onTouch={() => this.open("Panel")} />
          <Touch m={m} action="pair-add-facilities" kind="small" icon="plus" label={t("pair.addFacilities")} pending="pair" onTouch={() => this.open("Facilities")} />
        </div>
      </Sheet>
    );
  }
}

function Row(p: { m: Model; id: string; panel: PairedPanel }): VNode {
  const seen = Date.parse(p.panel.LastSeen || "");
  const words = [
    p.id === p.m.panel ? t("pair.self") : "",
    t(("pair." + String(p.panel.Role)) as Key),
    isNaN(seen) ? t("pair.never") : t("pair.seen", { time: timeOf(seen) }),
  ];
  return (
    <li class="offer" data-panel={p.id}>
      <span class="words">
        <Name field="panel-name">{String(p.panel.Name || "")}</Name>
        <span class="note">{words.filter((w) => w !== "").join(" · ")}</span>
      </span>
      <Touch m={p.m} action="pair-unpair" kind="small" icon="cross" label={t("pair.unpair")} onTouch={() => p.m.show({ what: "panels", id: p.id })} />
    </li>
  );
}

/** Sure asks before a panel loses the room. */
function Sure(p: { m: Model; id: string; panel: PairedPanel }): VNode {
  const m = p.m;
  const mine = p.id === m.panel;
  const label = t(mine ? "pair.sureSelf" : "pair.sure", { name: String(p.panel.Name || "") });
  return (
    <Sheet key="unpair" label={t("pair.unpair")} id="unpair" onClose={() => look(m)}>
      <h2><Icon name="key" /><span>{t("pair.unpair")}</span></h2>
      <p>{label}</p>
      <div class="answers">
        <Touch m={m} action="sheet-close" kind="small" icon="back" label={t("back")} onTouch={() => look(m)} />
        <Touch
          m={m}
          action="pair-unpair-confirm"
          kind="small danger"
          icon="cross"
          label={t("pair.unpair")}
          pending="unpair"
          onTouch={() => m.act("unpair", "Pairing/Unpair", { Panel: p.id }, (s) => !s.Pairing || !s.Pairing.Panels || !s.Pairing.Panels[p.id], "pair.waits")}
        />
      </div>
    </Sheet>
  );
}
