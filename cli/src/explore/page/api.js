// What the page asks the server for. Addresses are relative, so the secret in the path is kept.

function address(path, parameters) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters ?? {})) {
    if (value !== undefined && value !== null && value !== "") search.set(name, value);
  }
  const text = search.toString();
  return `api/${path}${text ? `?${text}` : ""}`;
}

/** The milliseconds until a live list that was refused is asked for again. */
const AGAIN = 3000;

/** An answer that is not what was asked for. */
export class Refused extends Error {}

/** Returns the answer to a request, or throws Refused with a message for a person. */
export async function ask(path, parameters, signal) {
  let response;
  try {
    response = await fetch(address(path, parameters), { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer. Is dcb explore still running?");
  }
  const text = await response.text();
  if (response.ok) return JSON.parse(text);
  try {
    throw new Refused(JSON.parse(text).message);
  } catch (error) {
    throw error instanceof Refused ? error : new Refused(text || response.statusText);
  }
}

/**
 * Follows a query above a position, and calls `onMessage` with each message and `onState` with
 * whether the connection stands. It pauses while the page is hidden, since a browser opens only a
 * few connections to a server. Returns a function that ends it.
 */
export function follow(query, after, onMessage, onState) {
  let source;
  let seen = after;
  let again;
  const stop = () => {
    clearTimeout(again);
    source?.close();
    source = undefined;
  };
  const start = () => {
    if (source || document.hidden) return;
    source = new EventSource(address("live", { query, after: seen }));
    source.onopen = () => onState(true);
    source.onerror = () => {
      onState(false);
      if (source?.readyState !== EventSource.CLOSED) return;
      // The server refused, and the browser does not ask again by itself.
      stop();
      again = setTimeout(start, AGAIN);
    };
    source.onmessage = (event) => {
      const message = JSON.parse(event.data);
      seen = Math.max(seen, message.head);
      onMessage(message);
    };
  };
  const onVisibility = () => (document.hidden ? stop() : start());
  document.addEventListener("visibilitychange", onVisibility);
  start();
  return () => {
    document.removeEventListener("visibilitychange", onVisibility);
    stop();
  };
}
