import assert from "node:assert/strict";
import { test } from "node:test";
import { keyOf, random, recall, remember } from "../src/answers.js";
import { LANGUAGES, NAMES, say } from "../src/texts.js";

const handle = (claims: object, signature = "s".repeat(43)) =>
  `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.${signature}`;

test("two handles of one interaction are one answer, whatever else they say", () => {
  const tp = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  assert.equal(keyOf(handle({ tp })), `a:${tp}`);
  assert.equal(keyOf(handle({ pn: "Grüße — 回答 ÿ>?", tp }, "t")), `a:${tp}`);
});

test("a handle that can't be read stands for itself", () => {
  const sealed = (end: string) => `e30..aXY.Y2lwaGVy.${"x".repeat(20)}${end}`;
  assert.equal(keyOf(sealed("1")), keyOf(sealed("1")));
  assert.notEqual(keyOf(sealed("1")), keyOf(sealed("2")));
  for (const odd of ["", ".", "a.b.c", "e30.bnVsbA.x", "e30.MQ.x"]) assert.match(keyOf(odd), /^a:/);
});

test("an answer keeps its nonce, and another has another, of 128 bits in printable characters", () => {
  const nonce = remember(handle({ tp: "one" }), "thumbs", "up");
  assert.match(nonce, /^[0-9a-v]{32}$/);
  assert.equal(remember(handle({ tp: "one" }), "copy", 1), nonce);
  assert.notEqual(remember(handle({ tp: "two" }), "thumbs", "up"), nonce);
  assert.deepEqual(recall(handle({ tp: "one" })).v, { thumbs: "up", copy: 1 });
  assert.equal(new Set(Array.from({ length: 1000 }, random)).size, 1000);
});

test("no language lacks a text, and none has one too many or twice", () => {
  assert.deepEqual(Object.keys(LANGUAGES), ["en", "de", "es", "fr", "ja", "zh"]);
  for (const [lang, line] of Object.entries(LANGUAGES)) {
    const texts = line.split("|");
    assert.equal(texts.length, NAMES.length, lang);
    assert.equal(new Set(texts.filter(Boolean)).size, NAMES.length, lang);
  }
});

test("a site's text goes before ours, and a code reads as it is", () => {
  assert.equal(say("de", "send", {}), "Senden");
  assert.equal(say("de", "send", { send: "Ab!" }), "Ab!");
  assert.equal(say("de", "too_long-winded", {}), "too long winded");
});
