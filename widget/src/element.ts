// <feedback-buttons>: asks for an opinion on one answer, and notices what is done with it.

import { keyOf, recall, remember, type Value } from "./answers.js";
import { style } from "./dom.js";
import { coarse, distance } from "./measure.js";
import { notice, textOf } from "./notice.js";
import { add, type Outcome, type Said } from "./queue.js";
import { parse } from "./storage.js";
import { languageOf, say, type Texts } from "./texts.js";
import { draw, explicit, type View } from "./view.js";

/** What the event `feedback` tells: never a handle, and no text that a person wrote. */
export interface FeedbackDetail {
  id: string;
  signal: string;
  /** `null`: taken back; `undefined`: a correction. */
  value: Value | undefined;
  reasons: string[] | undefined;
  outcome: Outcome;
  /** The HTTP status; 0 where there was no answer. */
  status: number;
}

const REFUSALS: Record<number, string> = { 401: "gone", 409: "taken" };
/** The longest text of a correction that capture takes. */
const LONGEST = 8000;

const here = import.meta.url;
/** Where capture is: beside this script if capture serves it, else on the script's own host. */
const capture = (): string => new URL(/\/v1\/widget[^/]*$/.test(here) ? "feedback" : "/v1/feedback", here).href;

/** Importing this on a server does nothing. */
const Base = globalThis.HTMLElement ?? (Object as unknown as typeof HTMLElement);

export class FeedbackButtons extends Base {
  static readonly observedAttributes = ["handle", "signal", "lang", "reasons", "reasons-positive", "texts", "correct", "for", "streaming"];

  /** The element that shows the answer, where an id can't name it. */
  declare answer?: Element | null;
  /** The element in which the answer is edited before it is used, where an id can't name it. */
  declare edited?: Element | null;
  /** Texts of the site's own by name, labels of reasons by code, instead of the attribute; set before it is shown. */
  declare texts?: Texts;

  _view: View | undefined;
  _off: AbortController | undefined;
  _key = "";
  _chosen: Value = null;
  _accepted: Value = null;
  _reasons: string[] | undefined;
  _comment = "";
  _last: Said | undefined;
  _early: Said[] = [];
  _baseline: string | undefined;
  _lang = "";

  /** What the answer came with. It may come late: what was said before waits for it in memory. */
  get handle(): string {
    return this.getAttribute("handle") ?? "";
  }
  set handle(handle: string | null | undefined) {
    this.setAttribute("handle", handle ?? "");
  }

  /** The answer's text was taken over, such as by a button of the site's. `share`: how much of it, in (0, 1]. */
  copied(share = 1): boolean {
    return share > 0 && this._implicit("copy", coarse(Math.min(share, 1)));
  }

  /** The answer was used, in this form; by default as it stands in the edited element. */
  used(text?: string): boolean {
    const edited = this._named("edited");
    const source = edited ?? this._named("answer");
    const after = text ?? (edited && textOf(edited));
    return !!source && after != null && this._implicit("edit", distance(this._baseline ?? textOf(source), after));
  }

  /** The answer was taken as it is. */
  accept(): boolean {
    return this._implicit("accept", true);
  }

  /** Another answer was asked for in its place. */
  regenerate(): boolean {
    return this._implicit("regenerate", true);
  }

  /** The answer was not waited for. */
  abandon(): boolean {
    return this._implicit("abandon", true);
  }

  /** @internal */
  connectedCallback(): void {
    if (Object.hasOwn(this, "handle")) {
      // Set before this class was there.
      const { handle } = this;
      delete (this as { handle?: unknown }).handle;
      this.handle = handle;
    }
    this._off = notice(this);
    this._draw();
  }

  /** @internal */
  disconnectedCallback(): void {
    this._off!.abort();
  }

  /** @internal */
  attributeChangedCallback(name: string): void {
    if (name === "handle") this._arrive();
    else if (name === "streaming") this._view?._show(); // now there is an answer to correct
    else this._draw();
  }

  get _signal(): string {
    return explicit(this.getAttribute("signal")!);
  }

  _text(name: string): string {
    return say(this._lang, name, this.texts ?? parse<Texts>(() => this.getAttribute("texts")) ?? {});
  }

  _named(which: "answer" | "edited"): Element | null {
    const id = this.getAttribute(which === "answer" ? "for" : "edited-for");
    return this[which] ?? (id ? ((this.getRootNode() as Document).getElementById(id) ?? document.getElementById(id)) : null);
  }

  _offered(): string[] {
    const good = this._chosen === "up" || this._chosen === "yes" || Number(this._chosen) > 3;
    return this.getAttribute(good ? "reasons-positive" : "reasons")?.match(/[^\s,]+/g) ?? [];
  }

  _original(): string {
    const answer = this.hasAttribute("correct") && this._named("answer");
    const text = answer ? textOf(answer).trim() : "";
    return text.length > LONGEST ? "" : text;
  }

  _draw(): void {
    if (!this.isConnected) return;
    this._lang = languageOf(this);
    if (!this.shadowRoot) style(this.attachShadow({ mode: "open" }));
    this._view?._element.remove();
    this._view = draw(this);
    this.shadowRoot!.append(this._view._element);
  }

  _arrive(): void {
    const key = this.handle && keyOf(this.handle);
    if (this._key && key !== this._key) {
      // Another answer took this one's place.
      this._early = [];
      this._baseline = undefined;
      this._begin(null);
      this._view?._tell("");
    }
    this._key = key;
    if (key) {
      for (const said of this._early.splice(0)) this._send(said);
      this._recall();
    }
  }

  _begin(value: Value): void {
    this._chosen = this._accepted = value;
    this._reasons = undefined;
    this._comment = "";
    this._view?._show();
  }

  _recall(): void {
    const value = recall(this.handle).v[this._signal] ?? null;
    if (value !== this._chosen) this._begin(value);
  }

  _vote(value: Value): void {
    this._chosen = value;
    this._detail(undefined, "");
  }

  _detail(reasons: string[] | undefined, comment: string): void {
    this._reasons = reasons;
    this._comment = comment;
    const said: Said = { signal: this._signal, value: this._chosen };
    if (reasons) said.reasons = reasons;
    if (comment) said.comment = comment;
    this._say(said);
    this._view?._show();
  }

  _correct(corrected: string): void {
    this._say({ signal: "text", correction: { original: this._original(), corrected } });
  }

  _say(said: Said): void {
    this._last = said;
    this._tell(this.handle ? "sent" : "kept", 0);
    this._send(said);
  }

  _tell(outcome: Outcome, status: number): void {
    const done = this._last!.value === null ? "back" : "thanks";
    const names: Partial<Record<Outcome, string>> = { sent: done, kept: "later" };
    this._view?._tell(this._text(names[outcome] ?? REFUSALS[status] ?? "refused"));
  }

  _implicit(signal: string, value: Value): boolean {
    const { globalPrivacyControl, doNotTrack } = navigator as Navigator & { globalPrivacyControl?: boolean };
    if (this.hasAttribute("no-implicit") || globalPrivacyControl || doNotTrack === "1") return false;
    this._send({ signal, value });
    return true;
  }

  _send(said: Said): void {
    const { handle } = this;
    const { signal, value, reasons } = said;
    if (!handle) {
      this._early.push(said);
      return;
    }
    const vote = signal === this._signal;
    if (!vote && !said.correction) {
      // Behaviour says a thing once; of copies, the largest counts.
      const before = recall(handle).v[signal];
      if (before === value || (signal === "copy" && Number(before) >= Number(value))) return;
    }
    const address = this.getAttribute("endpoint");
    let last: Outcome | undefined;
    const id = add(address ? new URL(address, document.baseURI).href : capture(), handle, said, (outcome, status) => {
      if (outcome === last) return;
      last = outcome;
      if (handle === this.handle) {
        if (outcome === "sent" && vote) this._accepted = value!;
        if (said === this._last) this._tell(outcome, status);
        if (said === this._last && vote && outcome === "refused") {
          // What is shown is what holds.
          remember(handle, signal, this._accepted);
          this._begin(this._accepted);
        }
      }
      const detail: FeedbackDetail = { id, signal, value, reasons, outcome, status };
      this.dispatchEvent(new CustomEvent("feedback", { bubbles: true, composed: true, detail }));
    });
  }
}
