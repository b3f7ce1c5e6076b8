// SPDX-License-Identifier: Apache-2.0

import { de } from "./texts/de";
import { en } from "./texts/en";
import { es } from "./texts/es";
import { fr } from "./texts/fr";
import { it } from "./texts/it";
import { nl } from "./texts/nl";
import { pl } from "./texts/pl";

/** Texts is what every language has; the compiler finds what is missing. */
export type Texts = typeof en;
export type Key = keyof Texts;

const all: { [language: string]: Texts } = { de, en, es, fr, it, nl, pl };

/** choose takes ?lang=, then the first language of the browser that we have. */
function choose(): string {
  const asked = new URLSearchParams(location.search).get("lang");
  for (const tag of [asked || "", ...navigator.languages]) {
    const short = tag.toLowerCase().split("-")[0];
    if (Object.prototype.hasOwnProperty.call(all, short)) return short;
  }
  return "en";
}

export const language = choose();
const texts = all[language];

/** region is the browser's spelling of the language, for times and dates: 10:02 or 10:02 AM. */
const region = navigator.languages.find((tag) => tag.toLowerCase().split("-")[0] === language) || (language === "en" ? "en-GB" : language);

const clock = new Intl.DateTimeFormat(region, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(region, { weekday: "long", day: "numeric", month: "long" });
const ago = new Intl.RelativeTimeFormat(region, { numeric: "auto" });

/** t returns a text, with what is named filled in. A key that another release wrote has no text. */
export function t(key: Key, fill: { name?: string; time?: string } = {}): string {
  const text = Object.prototype.hasOwnProperty.call(texts, key) ? texts[key] : "";
  return text.replace(/\{(name|time)\}/g, (_, what: "name" | "time") => fill[what] || "");
}

export const timeOf = (ms: number): string => clock.format(ms);

/** faceOf is a time for a large clock: digits, and "AM" or "PM" apart where people use them. */
export function faceOf(ms: number): { digits: string; period: string } {
  const parts = clock.formatToParts(ms);
  const period = parts.filter((p) => p.type === "dayPeriod").map((p) => p.value).join("");
  return { digits: parts.filter((p) => p.type !== "dayPeriod").map((p) => p.value).join("").trim(), period };
}

export function dateOf(ms: number): string {
  const text = day.format(ms);
  return text.charAt(0).toLocaleUpperCase(region) + text.slice(1);
}

/** ageOf writes how long ago something was. */
export function ageOf(seconds: number): string {
  if (seconds < 60) return ago.format(-Math.round(seconds), "second");
  if (seconds < 3600) return ago.format(-Math.round(seconds / 60), "minute");
  if (seconds < 86400) return ago.format(-Math.round(seconds / 3600), "hour");
  return ago.format(-Math.round(seconds / 86400), "day");
}

export const collator = (): Intl.Collator => new Intl.Collator(region);

/** whyOf says what is wrong with a room's proof; a code without words stands as it is. */
export function whyOf(code: string | undefined): string {
  return code ? t(("verdict.why." + code) as Key) || code : "";
}

/** reason says what went wrong and what to do. What has no words of its own reads as "internal". */
export function reason(key: string, name: string): { title: string; remedy: string } {
  const found = t(key as Key, { name: name || t("call.title") }) || t("internal");
  const parts = found.split("|");
  return { title: parts[0], remedy: parts[1] || "" };
}
