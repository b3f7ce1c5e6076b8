// SPDX-License-Identifier: Apache-2.0

import { h, VNode } from "preact";

// Drawn on 24 by 24, in the colour of the text.
const paths = {
  phone: ["M5 4h4l2 5-2.5 1.5a11 11 0 0 0 5 5L15 13l5 2v4a2 2 0 0 1-2 2A15 15 0 0 1 3 6a2 2 0 0 1 2-2z"],
  hangup: ["M3 14.5c0-1.6 3.6-4.5 9-4.5s9 2.9 9 4.5v2.2a1 1 0 0 1-1.2 1l-3.6-.8a1 1 0 0 1-.8-1v-2a13 13 0 0 0-6.8 0v2a1 1 0 0 1-.8 1l-3.6.8a1 1 0 0 1-1.2-1z"],
  mic: ["M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3z", "M5.5 11a6.5 6.5 0 0 0 13 0", "M12 17.5V21", "M8.5 21h7"],
  micOff: ["M9 9v2a3 3 0 0 0 4.6 2.5", "M15 10.5V6a3 3 0 0 0-5.8-1", "M5.5 11a6.5 6.5 0 0 0 10.2 5.3", "M18.5 11a6.5 6.5 0 0 1-.5 2.5", "M12 17.5V21", "M8.5 21h7", "M4 3l16 18"],
  camera: ["M4 7h9a2 2 0 0 1 2 2v6a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V9a2 2 0 0 1 2-2z", "M15 11l6-3.5v9L15 13"],
  cameraOff: ["M8 7h5a2 2 0 0 1 2 2v4l0-2 6-3.5v9l-3-1.7", "M13.5 17H4a2 2 0 0 1-2-2V9a2 2 0 0 1 2-2", "M4 3l16 18"],
  person: ["M12 5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7z", "M5 20a7 7 0 0 1 14 0", "M2 7V4a2 2 0 0 1 2-2h3", "M22 7V4a2 2 0 0 0-2-2h-3"],
  speaker: ["M3 4h18v11H3z", "M3 19h5", "M9.5 19h5", "M16 19h5"],
  grid: ["M3 4h8v7H3z", "M13 4h8v7h-8z", "M3 13h8v7H3z", "M13 13h8v7h-8z"],
  content: ["M3 4h18v16H3z", "M7 9h10", "M7 13h10", "M7 16.5h5"],
  minus: ["M5 12h14"],
  plus: ["M5 12h14", "M12 5v14"],
  check: ["M4.5 12.5l5 5 10-11"],
  cross: ["M6 6l12 12", "M18 6L6 18"],
  back: ["M14.5 5l-7 7 7 7"],
  next: ["M9.5 5l7 7-7 7"],
  lock: ["M6 11h12v9H6z", "M8.5 11V8a3.5 3.5 0 0 1 7 0v3"],
  shield: ["M12 2.5l8 3v6c0 5-3.5 8.5-8 10-4.5-1.5-8-5-8-10v-6z", "M8 12l3 3 5-6"],
  triangle: ["M12 3.5L22 20H2z", "M12 10v4.5", "M12 17.2v.3"],
  octagon: ["M8 2.5h8l5.5 5.5v8L16 21.5H8L2.5 16V8z", "M9 9l6 6", "M15 9l-6 6"],
  info: ["M12 2.5a9.5 9.5 0 1 1 0 19 9.5 9.5 0 0 1 0-19z", "M12 11v6", "M12 7.2v.3"],
  volume: ["M4 9.5h3.5L12 6v12l-4.5-3.5H4z", "M15.5 9a4 4 0 0 1 0 6", "M18 6.5a8 8 0 0 1 0 11"],
  door: ["M6 21V4a1 1 0 0 1 1-1h10a1 1 0 0 1 1 1v17", "M3 21h18", "M14 12v.5"],
  sync: ["M20 6v5h-5", "M4 18v-5h5", "M19 11a7.5 7.5 0 0 0-13-3.5", "M5 13a7.5 7.5 0 0 0 13 3.5"],
  box: ["M3.5 8L12 3.5 20.5 8v8.5L12 21l-8.5-4.5z", "M3.5 8L12 12.5 20.5 8", "M12 12.5V21"],
  stick: ["M8 3.5h8V9H8z", "M6 9h12v10a2 2 0 0 1-2 2H8a2 2 0 0 1-2-2z"],
  down: ["M12 4v11", "M7 10.5l5 5 5-5", "M4 20h16"],
  key: ["M12 12a4.5 4.5 0 1 1-9 0 4.5 4.5 0 0 1 9 0z", "M12 12h9", "M17 12v3.5", "M20.5 12v2.5"],
  bars: [],
  dashed: [],
} as const;

export type IconName = keyof typeof paths;

/** Icon is a picture beside a word; alone it says nothing to a screen reader. */
export function Icon(p: { name: IconName; level?: number }): VNode {
  const attributes = { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" };
  if (p.name === "bars") {
    const level = p.level || 0;
    const bar = (i: number): VNode => (
      <rect x={3 + i * 5} y={15 - i * 4} width="3.4" height={5 + i * 4} rx="1" class={i < level ? "bar on" : "bar"} />
    );
    return <svg {...attributes}>{[0, 1, 2, 3].map(bar)}</svg>;
  }
  if (p.name === "dashed") {
    return (
      <svg {...attributes}>
        <circle cx="12" cy="12" r="9" class="dashes" />
        <path d="M9 9.5a3 3 0 1 1 4.2 2.8c-.8.4-1.2.9-1.2 1.9" />
        <path d="M12 17v.3" />
      </svg>
    );
  }
  return <svg {...attributes}>{paths[p.name].map((d) => <path d={d} />)}</svg>;
}
