// How much of an answer was copied, and how much of it was changed. Only numbers leave this module.

/** Steps of one comparison; more cost more than a keystroke's time. */
const STEPS = 2e6;

/** A share in [0, 1] to two digits: none is 0, and nothing else is. */
export function coarse(share: number): number {
  return Math.max(Math.round(share * 100), share > 0 ? 1 : 0) / 100;
}

/** The share of an element's text that is selected, without white space, in [0, 1]. */
export function selectedShare(element: Element | null): number {
  const root = element?.getRootNode() as Partial<Document>;
  const selection = (root?.getSelection ? (root as Document) : document).getSelection(); // Chromium has one for each shadow root
  if (!element || !selection?.rangeCount) return 0;
  const part = selection.getRangeAt(0).cloneRange();
  if (!part.intersectsNode(element)) return 0;
  const whole = document.createRange();
  whole.selectNodeContents(element);
  if (part.compareBoundaryPoints(Range.START_TO_START, whole) < 0) part.setStart(whole.startContainer, whole.startOffset);
  if (part.compareBoundaryPoints(Range.END_TO_END, whole) > 0) part.setEnd(whole.endContainer, whole.endOffset);
  const [selected, size] = [part, whole].map((range) => range.toString().replace(/\s/g, "").length);
  return size ? coarse(selected! / size) : 0;
}

/**
 * How much was changed, in [0, 1]: the edit distance by the longer text's length, white space collapsed. By characters; by
 * words where that would take too long; and where that would, too, all between the first and the last change counts.
 */
export function distance(before: string, after: string, by = ""): number {
  const [p, q] = [before, after].map((text) => text.trim().split(/\s+/).join(" ").split(by)) as [string[], string[]];
  const [shortest, longest] = [p.length, q.length].sort((m, n) => m - n) as [number, number];
  let start = 0;
  let end = 0;
  while (start < shortest && p[start] === q[start]) start++;
  while (end < shortest - start && p.at(~end) === q.at(~end)) end++;
  const [a, b] = [p, q].map((units) => units.slice(start, units.length - end)) as [string[], string[]];
  let row = [...b.keys(), b.length];
  if (a.length * b.length > STEPS) {
    if (!by) return distance(before, after, " ");
    row = [longest - start - end];
  } else {
    for (const unit of a) {
      const next = [row[0]! + 1];
      b.forEach((other, j) => next.push(Math.min(row[j]! + Number(unit !== other), row[j + 1]! + 1, next[j]! + 1)));
      row = next;
    }
  }
  return coarse(row.at(-1)! / (longest || 1));
}
