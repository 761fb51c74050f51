// The widget of otel-feedback: importing it defines <feedback-buttons> and sends what an earlier page could not.

import { FeedbackButtons } from "./element.js";
import { begin } from "./queue.js";

export type { Value } from "./answers.js";
export type { FeedbackDetail } from "./element.js";
export { feedbackHandle, observeFetch } from "./handles.js";
export type { Outcome } from "./queue.js";
export type { Texts } from "./texts.js";
export { FeedbackButtons };

declare global {
  interface HTMLElementTagNameMap {
    "feedback-buttons": FeedbackButtons;
  }
  interface HTMLElementEventMap {
    feedback: CustomEvent<import("./element.js").FeedbackDetail>;
  }
}

if (globalThis.customElements && !customElements.get("feedback-buttons")) {
  begin(); // before the elements, so that it knows first that the page goes
  customElements.define("feedback-buttons", FeedbackButtons);
}
