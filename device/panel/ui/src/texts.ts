// SPDX-License-Identifier: Apache-2.0

import { de } from "./texts/de";
import { en } from "./texts/en";
import { es } from "./texts/es";
import { fr } from "./texts/fr";
import { it } from "./texts/it";
import { nl } from "./texts/nl";
import { pl } from "./texts/pl";
import { Language } from "./tree";

/** Texts is what every language has; the compiler finds what is missing. */
export type Texts = typeof en;
export type Key = keyof Texts;

const all: { [language in Language]: Texts } = { de, en, es, fr, it, nl, pl };

/** languages are those that we have, each in its own words. */
export const languages: { [language in Language]: string } = {
  de: "Deutsch", en: "English", es: "Español", fr: "Français", it: "Italiano", nl: "Nederlands", pl: "Polski",
};

const known = (tag: string): Language | undefined => {
  const short = tag.toLowerCase().split("-")[0];
  return Object.prototype.hasOwnProperty.call(all, short) ? (short as Language) : undefined;
};

const asked = known(new URLSearchParams(location.search).get("lang") || "");

/** spoken says that ?lang= decides, not the room. */
export let spoken = asked !== undefined;
export let language: Language = "en";
let texts = all.en;
let region = "en-GB"; // the browser's spelling of the language, for times and dates: 10:02 or 10:02 AM
let clock: Intl.DateTimeFormat;
let day: Intl.DateTimeFormat;
let ago: Intl.RelativeTimeFormat;

/** speak makes this page speak a language. */
export function speak(now: Language): void {
  language = now;
  texts = all[now];
  region = navigator.languages.find((tag) => known(tag) === now) || (now === "en" ? "en-GB" : now);
  clock = new Intl.DateTimeFormat(region, { hour: "2-digit", minute: "2-digit" });
  day = new Intl.DateTimeFormat(region, { weekday: "long", day: "numeric", month: "long" });
  ago = new Intl.RelativeTimeFormat(region, { numeric: "auto" });
  document.documentElement.lang = now;
}

/** follow lets the room decide from now on, as somebody chose its language here. */
export function follow(): void {
  spoken = false;
}

// ?lang=, then the first language of the browser that we have; the room's own follows once it is known.
speak(asked || navigator.languages.map(known).find((l) => l !== undefined) || "en");

/** t returns a text, with what is named filled in. A key that another release wrote has no text. */
export function t(key: Key, fill: { name?: string; time?: string } = {}): string {
  const text = Object.prototype.hasOwnProperty.call(texts, key) ? texts[key] : "";
  return text.replace(/\{(name|time)\}/g, (_, what: "name" | "time") => fill[what] || "");
}

/** secondsOf and minutesOf write a number of those, and bytesOf a size, as people of the language do. */
export function secondsOf(n: number): string {
  return new Intl.NumberFormat(region, { style: "unit", unit: "second", unitDisplay: "long" }).format(n);
}

export function minutesOf(n: number): string {
  return new Intl.NumberFormat(region, { style: "unit", unit: "minute", unitDisplay: "long" }).format(n);
}

export function bytesOf(n: number): string {
  const small = n < 1e9;
  const unit = small ? "megabyte" : "gigabyte";
  return new Intl.NumberFormat(region, { style: "unit", unit, maximumFractionDigits: small ? 0 : 1 }).format(n / (small ? 1e6 : 1e9));
}

export const percentOf = (n: number): string => new Intl.NumberFormat(region, { style: "percent" }).format(n / 100);

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
