// The buttons and what opens below them. It shows a state and reports what a person does; it decides nothing.

import type { Value } from "./answers.js";
import { icon, make } from "./dom.js";

/** The values of each explicit signal, in the order of their buttons. */
const CHOICES: Record<string, (string | number)[]> = {
  thumbs: ["up", "down"],
  helpful: ["yes", "no"],
  stars: [1, 2, 3, 4, 5],
};

/** The signal that is asked for: `thumbs` where the name isn't one with buttons. */
export const explicit = (name: string): string => (CHOICES[name] ? name : "thumbs");

/** Whose view it is. */
export interface Host {
  _signal: string;
  _lang: string;
  _chosen: Value;
  _reasons: string[] | undefined;
  _comment: string;
  /** The codes that are offered for the present vote. */
  _offered(): string[];
  /** The answer as a correction begins with it; without one none is offered. */
  _original(): string;
  _text(name: string): string;
  _vote(value: Value): void;
  _detail(reasons: string[] | undefined, comment: string): void;
  _correct(text: string): void;
}

export interface View {
  _element: HTMLElement;
  /** Say something in the status, which is read out. */
  _tell(text: string): void;
  /** Show the state of the host. */
  _show(): void;
}

export function draw(host: Host): View {
  const signal = host._signal;
  const values = CHOICES[signal]!;
  const ariaLabel = host._text("question");
  const status = make("span", "status", { role: "status" });
  const text = make("textarea", "text");
  let editing = "";
  let offered = "";

  const button = (part: string, value: string, shown: Node | string, onclick: (event: MouseEvent) => void) =>
    make("button", part, { type: "button", value, onclick }, shown);
  const press = (made: HTMLElement, state: boolean, on = state) => {
    made.ariaPressed = String(state);
    made.part.toggle("on", on);
  };

  const votes = values.map((value, i) => {
    const star = signal === "stars";
    const label = star ? `${value}/5` : host._text(i ? "no" : "yes");
    const words = signal === "helpful";
    const shown = words ? label : icon(star ? "star" : "thumb");
    const made = button(`vote v${value} ${words ? "word" : "icon"}`, "", shown, ({ detail }) => {
      // The second click of a double click is no second thought.
      if (detail < 2) host._vote(value === host._chosen ? null : value);
    });
    made.title = label;
    return made;
  });

  const edit = (name: string) => {
    editing = name;
    show();
    if (name) {
      text.ariaLabel = host._text(name);
      text.value = name === "comment" ? host._comment : host._original();
      text.maxLength = name === "comment" ? 4000 : 8000;
      text.focus();
    }
  };
  const links = ["comment", "correct"].map((name) =>
    button("link", name, host._text(name), () => edit(editing === name ? "" : name)),
  );
  const close = () => {
    links.find(({ value }) => value === editing)!.focus();
    edit("");
  };
  const send = () => {
    const said = text.value.trim();
    if (editing === "correct") host._correct(said);
    else if (said !== host._comment) host._detail(host._reasons, said);
    close();
  };
  text.onkeydown = ({ key }) => {
    if (key === "Escape") close();
  };

  const chip = (code: string) =>
    button("reason", code, host._text(code), () => {
      const others = host._reasons?.filter((other) => other !== code) ?? [];
      host._detail(host._reasons?.includes(code) ? others : [...others, code], host._comment);
    });

  const show = () => {
    const chosen = host._chosen;
    values.forEach((value, i) => press(votes[i]!, value === chosen, value === chosen || Number(value) < Number(chosen)));
    const codes = chosen === null ? [] : host._offered();
    if (offered !== (offered = codes.join())) reasons.replaceChildren(...codes.map(chip));
    for (const made of reasons.children as Iterable<Element> as Iterable<HTMLButtonElement>) {
      press(made, !!host._reasons?.includes(made.value));
    }
    const open = [chosen !== null, host._original()];
    links.forEach((link, i) => {
      if (!open[i] && editing === link.value) editing = "";
      link.hidden = !open[i];
      link.ariaExpanded = String(editing === link.value);
    });
    editor.hidden = !editing;
  };

  const reasons = make("span", "reasons");
  const editor = make("div", "editor", {}, text, button("send", "", host._text("send"), send));
  const base = make("div", "base", { role: "group", ariaLabel, lang: host._lang });
  if (signal === "helpful") base.append(make("span", "question", {}, ariaLabel));
  base.append(make("span", "votes", {}, ...votes), reasons, ...links, status, editor);
  show();
  return {
    _element: base,
    _show: show,
    _tell(said) {
      if (status.textContent !== said) status.textContent = said;
    },
  };
}
