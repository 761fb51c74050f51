// A chat: asks the service it came from, shows the answer as it streams, and puts <feedback-buttons> below it.

const REASONS = "wrong beside-the-point cut-off";

const find = (id) => document.getElementById(id);
const [welcome, talk, form, field, send, stop] = ["welcome", "talk", "ask", "question", "send", "stop"].map(find);

/** Tells the service which questions belong together. */
let conversation;
/** Ends the answer that is streaming, if one is. */
let running;
/** The button by which the last answer is asked for again. */
let again;

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function begin() {
  running?.abort();
  conversation = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => (byte + 256).toString(36)).join("");
  talk.replaceChildren();
  welcome.hidden = false;
  field.focus();
}

/** The server-sent events of a response: each its name and its data. */
async function* eventsOf(response) {
  let rest = "";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let piece; !(piece = await reader.read()).done; ) {
    const blocks = (rest + piece.value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const [name, data] = block.split("\n").map((line) => line.slice(line.indexOf(": ") + 2));
      yield [name, JSON.parse(data)];
    }
  }
}

/** The widget for one answer. It is there while the answer streams, so that it sees when the reader leaves. */
function makeButtons(handle, answer) {
  const buttons = make("feedback-buttons", { handle, answer });
  buttons.setAttribute("reasons", REASONS);
  buttons.toggleAttribute("correct", true);
  buttons.toggleAttribute("streaming", true);
  return buttons;
}

async function ask(question) {
  running?.abort();
  const mine = (running = new AbortController());
  again?.remove();
  welcome.hidden = true;
  send.hidden = !(stop.hidden = false);
  const text = make("p", { className: "waiting" });
  const note = make("p", { className: "note" });
  const tools = make("div", { className: "tools" }, note);
  const below = make("div", { hidden: true }, tools);
  const card = make("article", { className: "answer", ariaLabel: "Answer", ariaBusy: "true" }, text, below);
  talk.append(card);
  card.scrollIntoView({ block: "nearest" });
  let buttons;
  try {
    const response = await fetch("/ask/stream", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ question, conversation }),
      signal: mine.signal,
    });
    if (!response.ok) throw new Error(`status ${response.status}`);
    // The header is there before the first word is. Without one nothing is asked for.
    const handle = response.headers.get("feedback-handle");
    if (handle) below.append((buttons = makeButtons(handle, text)));
    note.textContent = "The answer was cut off.";
    for await (const [name, data] of eventsOf(response)) {
      if (name === "text") text.append(data);
      else note.textContent = name === "error" ? data : data.sources.length ? `From ${data.sources.join(", ")}` : "";
    }
  } catch {
    note.textContent = mine.signal.aborted ? "Stopped." : "No answer came. Is the service running?";
    if (mine.signal.aborted) buttons?.abandon?.();
  }
  text.className = "";
  card.ariaBusy = "false";
  buttons?.toggleAttribute("streaming", false);
  if (text.textContent) tools.append(makeCopy(text, buttons));
  below.hidden = false;
  card.scrollIntoView({ block: "nearest" });
  if (running !== mine) return;
  running = undefined;
  stop.hidden = !(send.hidden = false);
  again = make("button", { type: "button", textContent: "Regenerate" });
  again.addEventListener("click", () => {
    buttons?.regenerate?.();
    ask(question);
  });
  tools.append(again);
}

function makeCopy(text, buttons) {
  const button = make("button", { type: "button", textContent: "Copy" });
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text.textContent);
    buttons?.copied?.();
    button.textContent = "Copied";
  });
  return button;
}

function say(question) {
  if (!question) return;
  talk.append(make("div", { className: "question", textContent: question }));
  ask(question);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) return;
  say(field.value.trim());
  field.value = "";
});
field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
stop.addEventListener("click", () => running?.abort());
find("new").addEventListener("click", begin);
find("suggestions").addEventListener("click", ({ target }) => target.matches("button") && say(target.textContent));
begin();
