// SPDX-License-Identifier: Apache-2.0

import { h, VNode } from "preact";
import { Icon } from "./icons";
import { ScreenProps, Touch } from "./parts";
import { t } from "./texts";

interface FieldProps {
  id: string; // stable, for tests
  label: string;
  value: string;
  hint?: string;
  wrong?: string; // what is wrong with it, if anything is
  max: number; // characters
  lines?: number; // more than one makes it an area
  kind?: "text" | "numeric";
  onInput: (value: string) => void;
  onEnter?: () => void;
}

/** Field is every place to write. What is wrong stands at the field and is read out with it. */
export function Field(p: FieldProps): VNode {
  const attributes = {
    id: "field-" + p.id,
    class: "input" + (p.wrong ? " wrong" : ""),
    value: p.value,
    maxLength: p.max,
    autoComplete: "off",
    autoCapitalize: "off",
    spellCheck: false,
    "data-input": p.id,
    "aria-describedby": p.hint || p.wrong ? "hint-" + p.id : null,
    "aria-invalid": p.wrong ? "true" : null,
    onInput: (e: Event) => p.onInput((e.target as HTMLInputElement).value),
    onKeyDown: (e: KeyboardEvent) => {
      if (e.key !== "Enter" || !p.onEnter) return;
      e.preventDefault();
      p.onEnter();
    },
  };
  return (
    <div class="field">
      <label for={"field-" + p.id}>{p.label}</label>
      {p.lines ? <textarea rows={p.lines} {...attributes} /> : <input type="text" inputMode={p.kind || "text"} {...attributes} />}
      {(p.wrong || p.hint) && (
        <p id={"hint-" + p.id} class={p.wrong ? "bad" : "hint"} data-field={p.wrong ? "wrong" : "hint"}>
          {p.wrong && <Icon name="triangle" />}
          <span>{p.wrong || p.hint}</span>
        </p>
      )}
    </div>
  );
}

/** Steps says how far a person is, in words and as a row of marks. */
export function Steps(p: { at: number; of: number }): VNode {
  const marks = Array.from({ length: p.of }, (_, i) => <span class={"mark" + (i < p.at ? " done" : "")} />);
  return (
    <p class="steps-row">
      <span>{t("setup.step", { name: String(p.at), time: String(p.of) })}</span>
      <span class="marks-row" aria-hidden="true">{marks}</span>
    </p>
  );
}

interface PairProps extends ScreenProps {
  back?: () => void;
  next: () => void;
  label: string;
  off?: boolean;
  pending?: string;
  action: string;
}

/** Onward is the way back and the way on. */
export function Onward(p: PairProps): VNode {
  return (
    <div class="answers onward">
      {p.back && <Touch m={p.m} action="setup-back" kind="small" icon="back" label={t("back")} onTouch={p.back} />}
      <Touch m={p.m} action={p.action} kind="primary go" icon="next" label={p.label} off={p.off} pending={p.pending} onTouch={p.next} />
    </div>
  );
}
