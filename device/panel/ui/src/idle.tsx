// SPDX-License-Identifier: Apache-2.0

import { h, VNode } from "preact";
import { Icon } from "./icons";
import { Model } from "./model";
import { Clock, Heading, Name, ScreenProps } from "./parts";
import { PanelsButton } from "./pairpanels";
import { collator, dateOf, t } from "./texts";
import { Contact } from "./tree";
import { UpdatesButton } from "./updates";

interface Entry extends Contact {
  id: string;
}

/** contacts lists the rooms that can be called, by name, without those in the meeting. */
export function contacts(m: Model): Entry[] {
  const rooms = (m.status.Directory && m.status.Directory.Rooms) || {};
  const members = (m.status.Roster && m.status.Roster.Members) || {};
  const here = Object.keys(members).map((id) => members[id]);
  // A directory may leave out the site; a name is then all there is to go by.
  const inside = (r: Contact): boolean => here.some((m) => m.Name === r.Name && (!r.Site || m.Site === r.Site));
  const order = collator();
  return Object.keys(rooms)
    .map((id) => ({ id, ...rooms[id] }))
    .filter((r) => !inside(r))
    .sort((a, b) => order.compare(String(a.Name), String(b.Name)));
}

/** call rings a room; done once the state shows it. */
export function call(m: Model, room: string): void {
  const inCall = m.status.Call && m.status.Call.State === "Connected";
  m.act("start:" + room, "Call/Start", { Room: room }, (s) => inCall || !!s.Call && s.Call.State !== "Idle", "waits.start");
  if (inCall) m.show({ what: "main" });
}

export function Rooms(p: ScreenProps): VNode {
  const list = contacts(p.m);
  if (list.length === 0) return <p class="empty">{t("idle.none")}</p>;
  return (
    <ul class="rooms">
      {list.map((r) => {
        const busy = p.m.pending.has("start:" + r.id);
        return (
          <li key={r.id}>
            <button
              type="button"
              class={"touch room" + (busy ? " busy" : "")}
              data-action="call-start"
              data-room={r.id}
              aria-busy={String(busy)}
              aria-label={t("idle.call", { name: String(r.Name) }) + (r.Site ? ", " + String(r.Site) : "")}
              onClick={() => call(p.m, r.id)}
            >
              <span class="words">
                <Name>{String(r.Name)}</Name>
                {r.Site && <Name field="site">{String(r.Site)}</Name>}
              </span>
              <span class="disc">
                <Icon name="phone" />
                <span>{t("idle.callShort")}</span>
              </span>
            </button>
          </li>
        );
      })}
    </ul>
  );
}

export function Idle(p: ScreenProps): VNode {
  const m = p.m;
  const name = String((m.status.System && m.status.System.Name) || "");
  return (
    <main class="screen idle" data-screen="idle">
      <section class="here">
        <p class="room-name">
          <Icon name="door" />
          <Name field="room-name">{name}</Name>
        </p>
        <div class="face">
          <Clock m={m} />
          <p class="date">{dateOf(m.now())}</p>
        </div>
        <p class="promise">
          <Icon name="lock" />
          <span>{t("idle.promise")}</span>
        </p>
        <div class="care">
          <UpdatesButton m={m} />
          <PanelsButton m={m} />
        </div>
      </section>
      <section class="there" aria-labelledby="rooms-title">
        <Heading>
          <span id="rooms-title">{t("idle.title")}</span>
        </Heading>
        <Rooms m={m} />
      </section>
    </main>
  );
}
