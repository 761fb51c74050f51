// Elements without markup in strings: nothing here is a sink for Trusted Types, and no style is inline.

import css from "./style.css";

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  thumb: "M7 11v9H3v-9zl4-8c3 0 3 2 2 6h6c2 0 2 1 2 3l-2 6c0 1-1 2-2 2H7",
  star: "m12 3 3 6 6 1-5 4 2 7-6-4-6 4 2-7-5-4 6-1z",
};

/** A new element with properties and children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  part: string,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(tag), { part }, properties);
  element.append(...children);
  return element as HTMLElementTagNameMap[K];
}

/** A drawing that a screen reader passes over. */
export function icon(name: keyof typeof PATHS): SVGElement {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.ariaHidden = "true";
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** Style a shadow root: by a sheet that a strict policy allows, in old browsers by an element. */
export function style(root: ShadowRoot): void {
  try {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    root.adoptedStyleSheets = [sheet];
  } catch {
    root.append(make("style", "", {}, css));
  }
}
