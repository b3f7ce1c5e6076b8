// SPDX-License-Identifier: Apache-2.0

import { h, VNode } from "preact";
import { Icon, IconName } from "./icons";
import { ScreenProps, Touch } from "./parts";
import { leave } from "./ringing";
import { Key, t } from "./texts";
import { Layout, Status } from "./tree";

const isMuted = (s: Status): boolean => !!(s.Audio && s.Audio.Mute && s.Audio.Mute.State === "On");
const isSilent = (s: Status): boolean => !!(s.Audio && s.Audio.Silent);

/** Mute is red only when nothing of this room leaves it. */
function Mute(p: ScreenProps): VNode {
  const m = p.m;
  const muted = isMuted(m.status);
  const silent = isSilent(m.status);
  const sources = (m.status.Audio && m.status.Audio.Mute && m.status.Audio.Mute.Sources) || [];
  const byKey = sources.indexOf("HardwareKey") >= 0;
  if (!muted) {
    return (
      <Touch
        m={m}
        action="audio-mute"
        kind="primary mute"
        icon="mic"
        label={t("mute.mute")}
        note={t(silent ? "mute.unsent" : "mute.live")}
        pending="mute"
        pressed={false}
        data={{ silent: String(silent) }}
        onTouch={() => m.act("mute", "Audio/Mute", {}, (s) => isMuted(s) && isSilent(s), "waits.mute")}
      />
    );
  }
  return (
    <Touch
      m={m}
      action="audio-unmute"
      kind={"primary mute " + (silent ? "silent" : "unsure")}
      icon="micOff"
      label={t(silent ? "mute.muted" : "mute.muting")}
      note={t(byKey ? "mute.byKey" : "mute.unmute")}
      pending="mute"
      pressed={true}
      off={byKey}
      data={{ silent: String(silent) }}
      onTouch={() => m.act("mute", "Audio/Unmute", {}, (s) => !isMuted(s), "waits.unmute")}
    />
  );
}

function Volume(p: ScreenProps): VNode {
  const m = p.m;
  const volume = m.status.Audio && m.status.Audio.Volume;
  const step = (steps: number): void =>
    m.act("volume", "Audio/StepVolume", { Steps: steps }, (s) => !s.Audio || s.Audio.Volume !== volume, "waits.volume", { repeat: true });
  const level = volume === undefined ? "–" : String(volume);
  return (
    <div class="volume" role="group" aria-label={t("volume.title")}>
      <Touch m={m} action="volume-down" kind="step" icon="minus" label={t("volume.down")} off={volume === 0} onTouch={() => step(-1)} />
      <span class="level">
        <Icon name="volume" />
        <output data-field="volume" aria-label={t("volume.title")}>{level}</output>
      </span>
      <Touch m={m} action="volume-up" kind="step" icon="plus" label={t("volume.up")} off={volume === 100} onTouch={() => step(1)} />
    </div>
  );
}

function Camera(p: ScreenProps): VNode | null {
  const m = p.m;
  const camera = (m.status.Video && m.status.Video.Camera) || {};
  const on = !!camera.Sending;
  const word: Key =
    camera.Cover === "Missing" ? "camera.missing" : camera.Cover === "Closed" ? "camera.covered" : on ? "camera.on" : "camera.off";
  return (
    <Touch
      m={m}
      action={on ? "camera-off" : "camera-on"}
      kind={"toggle" + (on ? " on" : "")}
      icon={on && camera.Cover !== "Closed" && camera.Cover !== "Missing" ? "camera" : "cameraOff"}
      label={t(word)}
      pending="camera"
      pressed={on}
      onTouch={() =>
        m.act(
          "camera",
          on ? "Video/CameraOff" : "Video/CameraOn",
          {},
          (s) => !!(s.Video && s.Video.Camera && s.Video.Camera.Sending) !== on,
          "waits.camera",
        )
      }
    />
  );
}

function Selfview(p: ScreenProps): VNode {
  const m = p.m;
  const on = !!(m.status.Video && m.status.Video.Selfview);
  return (
    <Touch
      m={m}
      action={on ? "selfview-off" : "selfview-on"}
      kind={"toggle" + (on ? " on" : "")}
      icon="person"
      label={t(on ? "self.on" : "self.off")}
      pending="selfview"
      pressed={on}
      onTouch={() =>
        m.act("selfview", "Video/SetSelfview", { On: !on }, (s) => !!(s.Video && s.Video.Selfview) === !on, "waits.selfview")
      }
    />
  );
}

const layouts: { layout: Layout; icon: IconName }[] = [
  { layout: "Speaker", icon: "speaker" },
  { layout: "Grid", icon: "grid" },
  { layout: "Content", icon: "content" },
];

function Layouts(p: ScreenProps): VNode {
  const m = p.m;
  const now = m.status.Stage && m.status.Stage.Layout;
  const set = (layout: Layout): void =>
    m.act("layout:" + layout, "Stage/SetLayout", { Layout: layout }, (s) => !!s.Stage && s.Stage.Layout === layout, "waits.layout");
  return (
    <div class="layouts" role="group" aria-label={t("layout.title")}>
      {layouts.map((l) => (
        <Touch
          m={m}
          action="stage-layout"
          kind={"toggle" + (l.layout === now ? " on" : "")}
          icon={l.icon}
          label={t(("layout." + l.layout) as Key)}
          pending={"layout:" + l.layout}
          pressed={l.layout === now}
          data={{ layout: l.layout }}
          onTouch={() => set(l.layout)}
        />
      ))}
    </div>
  );
}

/** Controls is the bar of a call: what people need most is largest. */
export function Controls(p: ScreenProps): VNode {
  return (
    <nav class="controls" aria-label={t("controls.title")}>
      <div class="main">
        <Mute m={p.m} />
        <Volume m={p.m} />
        <Touch
          m={p.m}
          action="call-leave"
          kind="primary leave"
          icon="hangup"
          label={t("call.leave")}
          pending="leave"
          onTouch={() => leave(p.m)}
        />
      </div>
      <div class="side">
        <Camera m={p.m} />
        <Selfview m={p.m} />
        <Layouts m={p.m} />
      </div>
    </nav>
  );
}
