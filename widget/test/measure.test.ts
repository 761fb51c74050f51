import assert from "node:assert/strict";
import { test } from "node:test";
import { coarse, distance } from "../src/measure.js";

/** Levenshtein's distance as the textbook has it. */
function plain(a: string, b: string): number {
  const table = Array.from({ length: a.length + 1 }, (_, i) => [i, ...Array<number>(b.length).fill(0)]);
  for (let j = 0; j <= b.length; j++) table[0]![j] = j;
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const change = table[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      table[i]![j] = Math.min(change, table[i - 1]![j]! + 1, table[i]![j - 1]! + 1);
    }
  }
  return table[a.length]![b.length]!;
}

test("equal texts are 0 apart, whatever their white space, and different ones 1", () => {
  assert.equal(distance("", ""), 0);
  assert.equal(distance("one  two\n", "one two"), 0);
  assert.equal(distance("abc", "xyz"), 1);
  assert.equal(distance("", "xyz"), 1);
  assert.equal(distance("xyz", ""), 1);
});

test("it is the textbook's distance by the longer text's length", () => {
  let seed = 7;
  const random = (n: number) => (seed = (seed * 48271) % 2147483647) % n;
  for (let round = 0; round < 500; round++) {
    const [a, b] = [0, 1].map(() => Array.from({ length: random(12) }, () => "abc"[random(3)]).join("")) as [string, string];
    assert.equal(distance(a, b), coarse(plain(a, b) / Math.max(a.length, b.length, 1)), `${a} ${b}`);
  }
});

test("a share has two digits; only nothing is 0", () => {
  assert.deepEqual([0, 0.0001, 0.126, 1].map(coarse), [0, 0.01, 0.13, 1]);
});

test("a letter changed at both ends of a long text is a small change", () => {
  const words = Array.from({ length: 1200 }, (_, n) => `word${n}`).join(" ");
  assert.equal(distance(`a ${words} b`, `x ${words} y`), 0.01);
});

test("the longest texts take less than a tenth of a second, and are never said to be closer than they are", () => {
  const long = (start: string) => Array.from({ length: 50_000 }, (_, n) => start + n).join(" ");
  const began = performance.now();
  assert.equal(distance(long("a"), long("b")), 1);
  assert.ok(performance.now() - began < 100 * 3, "three times, for a slow machine");
});
