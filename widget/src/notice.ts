// What a person does with an answer is noticed at the document: it works in shadow roots, and whatever a page stops.

import { selectedShare } from "./measure.js";

/** Whose answer it is. */
export interface Noticing extends HTMLElement {
  _key: string;
  _baseline: string | undefined;
  _named(which: "answer" | "edited"): Element | null;
  copied(share: number): boolean;
  _recall(): void;
  used(): boolean;
  abandon(): boolean;
}

/** The text of an element as a person sees it. */
export const textOf = (element: Element): string =>
  "value" in element ? String(element.value) : (element as HTMLElement).innerText;

/** Begin to notice; returns what ends it. */
export function notice(host: Noticing): AbortController {
  const end = new AbortController();
  const on = <E extends Event>(target: EventTarget, type: string, act: (event: E) => unknown) =>
    target.addEventListener(type, act as (event: Event) => void, { capture: true, signal: end.signal });
  on(document, "copy", () => host.copied(selectedShare(host._named("answer"))));
  on(document, "beforeinput", (event) => {
    const edited = host._named("edited");
    if (event.composedPath().includes(edited!)) host._baseline ??= textOf(edited!);
  });
  on(document, "submit", (event) => (event.target as Node).contains(host._named("edited")) && host.used());
  on(window, "pagehide", () => host.hasAttribute("streaming") && host.abandon());
  // Another tab.
  on<StorageEvent>(window, "storage", ({ key }) => host._key && key?.endsWith(host._key) && host._recall());
  return end;
}
