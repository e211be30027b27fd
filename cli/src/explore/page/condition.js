// What an append condition would see.

import { ask, follow } from "./api.js";
import { builder, codePanel } from "./builder.js";
import { announce, h, put, s } from "./dom.js";
import { count, number } from "./format.js";
import { eventList, nothing } from "./list.js";
import { describe, fromParameter, link, parameter } from "./query.js";
import { failure, replaceAddress } from "./shell.js";

/** Returns a picture of the sequence: what the caller knows, and what makes the append fail. */
function strip(verdict, after) {
  const shown = [...verdict.known, ...verdict.failing].map((event) => event.position);
  const low = Math.min(after, verdict.head, ...shown);
  const span = Math.max(1, verdict.head - low);
  const x = (position) => 16 + (688 * (Math.min(position, verdict.head) - low)) / span;
  const dot = (kind) => (event) => s("circle", { class: kind, cx: x(event.position), cy: 26, r: 5 }, s("title", {}, `Event ${number(event.position)}`));
  return h("figure", { class: "strip" }, s("svg", {
    viewBox: "0 0 720 52", role: "img",
    "aria-label": `Of the sequence up to ${verdict.head}, the condition looks at what is after ${after}: ${count(verdict.failing.length, "matching event")} there`,
  }, s("line", { class: "before", x1: 16, x2: x(after), y1: 26, y2: 26 }),
  s("line", { class: "seen", x1: x(after), x2: 704, y1: 26, y2: 26 }),
  s("line", { class: "after", x1: x(after), x2: x(after), y1: 8, y2: 44 }),
  verdict.known.map(dot("known")), verdict.failing.map(dot("failing"))),
  h("figcaption", {},
    h("span", { class: "key-known" }, "known to the caller"), h("span", { class: "key-after" }, `after ${number(after)}`), h("span", { class: "key-failing" }, "makes the append fail")));
}

function banner(verdict, after) {
  if (verdict.fails === null) {
    return h("div", { class: "banner unknown" }, h("strong", {}, "Not decided in time."), ` Nothing matches up to position ${number(verdict.next)}; the search was stopped there.`);
  }
  if (verdict.fails) {
    const first = verdict.failing[0].position;
    return h("div", { class: "banner fails" }, h("strong", {}, "The append fails."),
      ` Event ${number(first)} matches and is after ${number(after)}; the error condition_failed names it. Read again, decide again, and use the position that the read returns.`);
  }
  return h("div", { class: "banner holds" }, h("strong", {}, "The append succeeds."),
    after >= verdict.head ? ` No event is after ${number(after)}.` : ` No event after ${number(after)} matches, of ${count(verdict.head - after, "event")} there.`);
}

/** Shows the view in `root`. Returns a function that ends it. */
export function condition(root, parameters, signal) {
  const items = fromParameter(parameters.get("q"));
  let after = Math.max(0, Number(parameters.get("after")) || 0);
  let head = 0;
  let asking;
  let stop;

  const position = h("input", { id: "after", type: "number", min: "0", step: "1", value: after, "aria-describedby": "after-hint", oninput: () => moveTo(position.value) });
  const code = codePanel(() => ({ items, after }));
  const result = h("div", { class: "verdict" });
  const lists = h("div", {});
  put(root,
    h("h1", {}, "What would a condition see?"),
    h("p", { class: "lead" }, "An append with this condition fails if an event that matches the query was stored after the position."),
    h("section", { class: "panel", "aria-label": "Condition" },
      h("h2", {}, "Fail if events match"), builder(items, changed),
      h("div", { class: "row after" }, h("label", { for: "after" }, "stored after position"), position,
        h("button", { type: "button", class: "small", onclick: () => { position.value = 0; moveTo(0); } }, "Start"),
        h("button", { type: "button", class: "small", onclick: () => { position.value = head; moveTo(head); } }, "Head"),
        h("span", { class: "quiet", id: "after-hint" }, "the position that the decision's read returned")),
      code),
    result, lists);

  function moveTo(value) {
    after = Math.max(0, Math.floor(Number(value)) || 0);
    changed();
  }

  function changed() {
    code.show();
    replaceAddress(link("condition", { q: parameter(items), after }));
    load();
  }

  async function load() {
    stop?.();
    asking?.abort();
    asking = new AbortController();
    try {
      const verdict = await ask("condition", { query: parameter(items), after }, AbortSignal.any([signal, asking.signal]));
      show(verdict);
      stop = follow(parameter(items), verdict.head, (message) => (message.events.length ? load() : note(message.head)), () => {});
    } catch (error) {
      if (error.name !== "AbortError") put(result, failure(error));
    }
  }

  function note(newer) {
    head = newer;
  }

  function show(verdict) {
    head = verdict.head;
    put(result, banner(verdict, after), verdict.head > 0 && strip(verdict, after));
    announce(verdict.fails ? "The append fails" : verdict.fails === null ? "Not decided in time" : "The append succeeds");
    put(lists,
      h("section", { class: "panel list" }, h("h2", {}, "Events that make it fail"),
        h("p", { class: "note" }, `Matching ${describe(items)}, after ${number(after)}, oldest first.${verdict.next === null ? "" : " The first ones are shown."}`),
        verdict.failing.length ? eventList(verdict.failing, "Events that make the append fail", () => "failing") : nothing("None."),
        verdict.next !== null && h("a", { class: "button small", href: link("events", { q: parameter(items) }) }, "All of them, newest first")),
      h("section", { class: "panel list" }, h("h2", {}, "Events that the caller knows"),
        h("p", { class: "note" }, `Matching, at or before ${number(after)}, newest first. They do not count.${verdict.moreKnown ? " There are more." : ""}`),
        verdict.known.length ? eventList(verdict.known, "Events that the caller knows", () => "known") : nothing("None.")));
  }

  load();
  return () => {
    stop?.();
    asking?.abort();
  };
}
