// What this browser knows of an answer: the secret that proves a vote is its own, and what was said so far. There is one
// record an answer and none for the browser, so nothing here follows a person from one answer to the next.

import { all, parse, put } from "./storage.js";

export type Value = string | number | boolean | null;

export interface Answer {
  /** The nonce. */
  n: string;
  /** When it was made, in milliseconds since 1970. */
  t: number;
  /** The last value of each signal. */
  v: Record<string, Value>;
}

/** As many answers are remembered; the oldest are forgotten first. */
const MOST = 300;

/** 128 random bits, as 32 characters. (`randomUUID` is only there on https.) */
export function random(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => (byte + 256).toString(32)).join("");
}

/**
 * The key of an answer: its interaction, as the handle's `tp` says; a sealed handle can't be read, so its end stands for it.
 */
export function keyOf(handle: string): string {
  const claims = parse<{ tp?: string }>(() => atob(handle.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/")));
  return `a:${claims?.tp ?? handle.slice(-32)}`;
}

const read = (text: string | undefined) => parse<Answer>(() => text);

/** What is known of an answer; a new one has a new nonce. */
export function recall(handle: string): Answer {
  const found = read(all(keyOf(handle)).get(keyOf(handle)));
  return found?.v ? found : { n: random(), t: Date.now(), v: {} };
}

/** Remember what was said, and return the answer's nonce. */
export function remember(handle: string, signal: string, value: Value): string {
  const answer = recall(handle);
  answer.v[signal] = value;
  put(keyOf(handle), JSON.stringify(answer));
  const known = [...all("a:")];
  if (known.length > MOST) put(known.sort(([, a], [, b]) => Number(read(a)?.t) - Number(read(b)?.t))[0]![0], null);
  return answer.n;
}
