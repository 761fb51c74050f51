// Keeps an open page up to date: on each change the page is fetched again, and what differs in its
// marked parts is changed in place, so that focus, selection, scroll and open details stay.
"use strict";

const SHORTEST_PAUSE_MS = 250;
const parts = () => [...document.querySelectorAll("[data-live]")];

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.dataset.key : undefined;
}

function alike(was, now) {
  return was.nodeType === now.nodeType && was.nodeName === now.nodeName && keyOf(was) === keyOf(now);
}

function changeAttributes(was, now) {
  for (const { name } of [...was.attributes]) {
    // Whether details are open is the reader's choice.
    if (!now.hasAttribute(name) && !(was.nodeName === "DETAILS" && name === "open")) was.removeAttribute(name);
  }
  for (const { name, value } of now.attributes) {
    if (was.nodeName === "DETAILS" && name === "open") continue;
    if (was.getAttribute(name) !== value) was.setAttribute(name, value);
  }
}

function change(was, now) {
  if (was.isEqualNode(now)) return;
  if (was.nodeType !== Node.ELEMENT_NODE) {
    was.nodeValue = now.nodeValue;
    return;
  }
  changeAttributes(was, now);
  const keyed = new Map([...was.childNodes].filter(keyOf).map((node) => [keyOf(node), node]));
  let next = was.firstChild;
  for (const child of [...now.childNodes]) {
    const key = keyOf(child);
    const known = key ? keyed.get(key) : undefined;
    if (known && alike(known, child)) {
      keyed.delete(key);
      if (known === next) next = next.nextSibling;
      else was.insertBefore(known, next);
      change(known, child);
    } else if (!key && next && alike(next, child)) {
      const after = next.nextSibling;
      change(next, child);
      next = after;
    } else {
      was.insertBefore(document.importNode(child, true), next);
    }
  }
  while (next) {
    const after = next.nextSibling;
    next.remove();
    next = after;
  }
}

async function refresh() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
  if (answer.redirected || !answer.ok) return;
  // Nothing runs in a document that is only parsed; the server has escaped what strangers wrote.
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of parts()) {
    const now = page.querySelector(`[data-live="${part.dataset.live}"]`);
    if (now) change(part, now);
  }
}

let running = false;
let waiting = false;

async function catchUp() {
  if (running || document.hidden) {
    waiting = true;
    return;
  }
  running = true;
  waiting = false;
  const began = performance.now();
  try {
    await refresh();
  } catch {
    // The server is away: when the stream opens again, the page is fetched again.
  }
  const pause = Math.max(SHORTEST_PAUSE_MS, 3 * (performance.now() - began));
  setTimeout(() => {
    running = false;
    if (waiting) catchUp();
  }, pause);
}

function show(state, text) {
  const sign = document.getElementById("live");
  sign.hidden = false;
  sign.dataset.state = state;
  document.getElementById("live-text").textContent = text;
}

const SHORTEST_SILENCE_MS = 5000;
let told = -SHORTEST_SILENCE_MS;
let untold = 0;
let telling;

function tell(count) {
  untold += count;
  clearTimeout(telling);
  const rest = told + SHORTEST_SILENCE_MS - performance.now();
  if (rest > 0) {
    telling = setTimeout(tell, rest, 0);
  } else if (untold) {
    told = performance.now();
    document.getElementById("announce").textContent = `${untold} new feedback, the page is up to date.`;
    untold = 0;
  }
}

let stream;
let again;
let lost = false;

function listen() {
  clearTimeout(again);
  stream?.close();
  stream = new EventSource("/api/live");
  stream.addEventListener("open", () => {
    show("on", "Live");
    if (lost) catchUp();
    lost = false;
  });
  stream.addEventListener("change", (event) => {
    let count = 0;
    try {
      count = Number(JSON.parse(event.data).feedback) || 0;
    } catch {
      // A change is a change, whatever it says.
    }
    catchUp();
    tell(count);
  });
  stream.addEventListener("error", () => {
    lost = true;
    show("off", "Not connected");
    // A browser gives up for good when the answer isn't a stream.
    if (stream.readyState === EventSource.CLOSED) again = setTimeout(listen, 5000);
  });
}

function pause() {
  // A browser has six connections to a server: pages that nobody sees must not hold them.
  clearTimeout(again);
  stream?.close();
  lost = true;
}

if (parts().length) {
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : listen()));
  addEventListener("pagehide", pause);
  addEventListener("pageshow", (event) => event.persisted && listen());
  if (!document.hidden) listen();
  else lost = true;
}
