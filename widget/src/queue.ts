// Feedback on its way: kept until it was taken over, sent in order for each answer, again after a failure. An id makes it
// harmless that two tabs send the same one.

import { random, remember, type Value } from "./answers.js";
import { all, parse, put } from "./storage.js";

/** The body of a request, as docs/capture.md describes it. */
export interface Body {
  handle: string;
  signal: string;
  value?: Value;
  id: string;
  nonce: string;
  reasons?: string[];
  comment?: string;
  correction?: { original: string; corrected: string };
}

/** What is said of an answer, without what makes it a request. */
export type Said = Omit<Body, "handle" | "id" | "nonce">;

/**
 * `sent`: taken over. `kept`: comes later. `replaced`: a newer state of the same vote is sent instead. `refused`: never will be
 * taken. `dropped`: too much waited.
 */
export type Outcome = "sent" | "kept" | "replaced" | "refused" | "dropped";

export type Told = (outcome: Outcome, status: number) => void;

interface Entry {
  url: string;
  body: Body;
}

const MOST = 50;
const LONGEST = 7 * 864e5;
const HOUR = 36e5;
/** Characters of a body up to which it may outlive the page: browsers allow 64 KiB for all at once. */
const KEEPALIVE = 15e3;

/** Implicit signals begin so, and no other: what nobody said goes first where room is short. */
const DERIVED = /^[acer]/;

const flying = new Map<string, Body>();
const listeners = new Map<string, Told>();
let stamp = 0;
let failures = 0;
let timer: ReturnType<typeof setTimeout> | undefined;
let leaving = false;

/** Keep a feedback and send it as soon as it may be. Returns its id. */
export function add(url: string, handle: string, said: Said, told: Told): string {
  const id = random();
  const nonce = remember(handle, said.signal, said.value ?? null);
  const body: Body = { handle, ...said, id, nonce };
  for (const [key, entry] of waiting()) {
    if (!flying.has(key) && covers(body, entry.body)) drop(key, entry.body.id, "replaced");
  }
  stamp = Math.max(Date.now(), stamp + 1);
  put(`q:${stamp.toString(36)}:${id}`, JSON.stringify({ url, body } satisfies Entry));
  listeners.set(id, told);
  const kept = waiting();
  if (kept.length > MOST) {
    const [key, entry] = kept.find(([, { body }]) => DERIVED.test(body.signal)) ?? kept[0]!;
    drop(key, entry.body.id, "dropped");
  }
  pump();
  return id;
}

/** Whether a newer state of a vote says all that an older one does. */
function covers(newer: Body, older: Body): boolean {
  return (
    older.handle === newer.handle &&
    older.signal === newer.signal &&
    !older.correction &&
    (["comment", "reasons"] as const).every((name) => !older[name] || (older.value === newer.value && newer[name]))
  );
}

/** What has not been taken over yet, oldest first. */
function waiting(): [string, Entry][] {
  const found: [string, Entry][] = [];
  for (const [key, text] of all("q:")) {
    const entry = parse<Entry>(() => text);
    const age = Date.now() - parseInt(key.slice(2), 36);
    if (entry?.body?.handle && age < LONGEST) found.push([key, entry]);
    else put(key, null);
  }
  return found;
}

function drop(key: string, id: string, outcome: Outcome, status = 0): void {
  put(key, null);
  listeners.get(id)?.(outcome, status);
  listeners.delete(id);
}

/** Send what may be sent now. */
function pump(): void {
  clearTimeout(timer);
  const pause = Number(all("until").get("until")) - Date.now();
  const entries = waiting();
  if (pause > 0 && pause <= HOUR) {
    timer = setTimeout(pump, pause);
    for (const [, { body }] of entries) listeners.get(body.id)?.("kept", 0);
    return;
  }
  // Two requests under way may overtake each other, so that each answer has one at a time; while the page goes, each vote.
  const chain = ({ handle, signal }: Body) => handle + (leaving ? signal : "");
  const busy = new Set([...flying.values()].map(chain));
  for (const [key, entry] of entries) {
    if (busy.has(chain(entry.body))) continue;
    busy.add(chain(entry.body));
    void send(key, entry);
  }
}

async function send(key: string, { url, body }: Entry): Promise<void> {
  flying.set(key, body);
  const text = JSON.stringify(body);
  let status = 0;
  let after: string | null = null;
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: text,
      keepalive: text.length < KEEPALIVE,
      credentials: "omit",
      redirect: "error", // a handle goes where the page said, and nowhere else
      signal: AbortSignal.timeout(3e4),
    });
    status = response.status;
    after = response.headers.get("retry-after");
  } catch {
    // not reached: as good as any other failure
  }
  flying.delete(key);
  if (status === 202 || /^4(?!08|29)/.test(String(status))) {
    failures = 0;
    drop(key, body.id, status === 202 ? "sent" : "refused", status);
    pump();
  } else {
    const asked = Number(after) * 1000 || 0;
    const pause = Math.min(asked, HOUR) || Math.min(1000 * 2 ** failures++, 3e5) * (0.5 + Math.random() / 2);
    if (asked > 0) put("until", String(Date.now() + pause)); // every tab heeds it
    clearTimeout(timer);
    timer = setTimeout(pump, pause);
    listeners.get(body.id)?.("kept", status);
  }
}

/** Begin: what an earlier page left is sent. */
export function begin(): void {
  addEventListener("online", () => {
    failures = 0;
    pump();
  });
  addEventListener("pagehide", () => {
    leaving = true;
    pump();
  });
  addEventListener("pageshow", () => {
    leaving = false;
    pump();
  });
  pump();
}

