import assert from "node:assert/strict";
import { test, type MockTracker } from "node:test";
import { FeedbackButtons, feedbackHandle } from "../src/index.js";
import { add, type Outcome } from "../src/queue.js";

test("imported on a server it does nothing", () => {
  assert.equal(typeof FeedbackButtons, "function");
  assert.equal(feedbackHandle(new Response("", { headers: { "feedback-handle": "h" } })), "h");
  assert.equal(feedbackHandle(new Response("")), null);
});

let day = 1e12;

/** Send one feedback to a `fetch` that gives these answers in turn; tells what was told, when what was asked. */
async function sent(answers: (number | [number, string])[], context: { mock: MockTracker }) {
  const told: [Outcome, number][] = [];
  const asked: RequestInit[] = [];
  context.mock.timers.enable({ apis: ["setTimeout", "Date"], now: (day += 864e5) });
  const after: number[] = [];
  context.mock.method(globalThis, "fetch", async (_: string, request: RequestInit) => {
    asked.push(request);
    after.push(Date.now() - day);
    const answer = answers.shift() ?? 202;
    if (answer === 0) throw new TypeError("network");
    const [status, wait] = Array.isArray(answer) ? answer : [answer, ""];
    return new Response(null, { status, headers: wait ? { "retry-after": wait } : {} });
  });
  add("https://capture.example/v1/feedback", `h${Math.random()}`, { signal: "thumbs", value: "up" }, (...how) => told.push(how));
  for (let n = 0; n < 400 && !["sent", "refused"].includes(told.at(-1)?.[0] ?? ""); n++) {
    await new Promise(setImmediate);
    context.mock.timers.tick(250);
  }
  return { told, asked, after };
}

test("a request carries no credentials, survives its page and follows no redirect", async (context) => {
  const { told, asked } = await sent([], context as never);
  assert.deepEqual(told, [["sent", 202]]);
  const { method, keepalive, credentials, redirect } = asked[0]!;
  assert.deepEqual({ method, keepalive, credentials, redirect }, { method: "POST", keepalive: true, credentials: "omit", redirect: "error" });
});

test("it waits longer after each failure, and is told as kept, then as sent", async (context) => {
  const { told, after } = await sent([0, 500, 503, 408], context as never);
  assert.deepEqual(told.map(([how]) => how), ["kept", "kept", "kept", "kept", "sent"]);
  const waits = after.slice(1).map((at, n) => at - after[n]!);
  waits.forEach((wait, n) => assert.ok(wait >= 500 * 2 ** n && wait <= 1000 * 2 ** n + 500, `${waits}`));
});

test("it waits as long as it is told to", async (context) => {
  const { told, after } = await sent([[429, "30"]], context as never);
  assert.equal(told.at(-1)![0], "sent");
  assert.ok(after[1]! >= 30_000 && after[1]! < 31_000, `${after}`);
});

test("what is no 202 is not taken for one", async (context) => {
  const { told } = await sent([200, 204], context as never);
  assert.deepEqual(told, [["kept", 200], ["kept", 204], ["sent", 202]]);
});

for (const status of [400, 401, 404, 409, 413, 422]) {
  test(`${status} is final`, async (context) => {
    const { told, asked } = await sent([status], context as never);
    assert.deepEqual([told, asked.length], [[["refused", status]], 1]);
  });
}
