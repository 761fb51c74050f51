// How a page comes by the handle of an answer: it stands in a response header, before the first byte of a stream.

/** The handle that a response brings, or `null`. Another origin must expose the header `feedback-handle`. */
export function feedbackHandle(response: Response): string | null {
  return response.headers.get("feedback-handle");
}

/**
 * A `fetch` that tells of every handle as soon as the headers are there, streamed responses included. Nothing else changes,
 * and no global is replaced.
 */
export function observeFetch(
  told: (handle: string, response: Response) => void,
  inner: typeof fetch = globalThis.fetch,
): typeof fetch {
  return async (...request) => {
    const response = await inner.apply(globalThis, request);
    const handle = feedbackHandle(response);
    if (handle) queueMicrotask(() => told(handle, response)); // what it throws is not the request's fault
    return response;
  };
}
