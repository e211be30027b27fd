// The list of events, live, with its filters.

import { ask, follow } from "./api.js";
import { builder, codePanel } from "./builder.js";
import { announce, h, put } from "./dom.js";
import { count, number } from "./format.js";
import { eventList, eventRow, nothing } from "./list.js";
import { describe, eventLink, fromParameter, link, parameter } from "./query.js";
import { failure, replaceAddress } from "./shell.js";

/** The number of events on a page. */
const PAGE = 100;
/** The number of rows that a live list keeps. */
const MOST_ROWS = 200;

/** Shows the view in `root`. Returns a function that ends it. */
export function events(root, parameters, signal) {
  const items = fromParameter(parameters.get("q"));
  let before = Number(parameters.get("before")) || undefined;
  let isLive = !before;
  let stop;
  let asking;
  // What arrived while a person reads the list, or that it was too much to keep.
  let held = [];
  let hasGap = false;

  const live = h("button", { type: "button", class: "live", id: "live", "aria-pressed": "false", onclick: () => setLive(!isLive) }, "Live");
  const summary = h("p", { class: "note", id: "summary" });
  const more = h("button", { type: "button", class: "new-events", hidden: true, onclick: release });
  const body = h("div", { class: "panel list" });
  const pages = h("nav", { class: "pages", "aria-label": "Pages" });
  const code = codePanel(() => ({ items }));
  put(root,
    h("div", { class: "head" }, h("h1", {}, "Events"), live,
      h("form", { class: "jump", onsubmit: jump }, h("label", { for: "jump" }, "Go to position"),
        h("input", { id: "jump", type: "number", min: "1", step: "1", required: true }), h("button", { type: "submit", class: "small" }, "Go"))),
    h("section", { class: "panel", "aria-label": "Filter" }, builder(items, changed), code),
    summary, more, body, pages);

  function jump(event) {
    event.preventDefault();
    location.hash = eventLink(root.querySelector("#jump").value);
  }

  function changed() {
    before = undefined;
    code.show();
    replaceAddress(link("events", { q: parameter(items) }));
    load();
  }

  function setLive(wanted) {
    isLive = wanted;
    if (!wanted) {
      stop?.();
      showLive("off");
      return;
    }
    if (before) {
      before = undefined;
      replaceAddress(link("events", { q: parameter(items) }));
    }
    load();
  }

  function showLive(state) {
    live.setAttribute("aria-pressed", String(isLive));
    live.dataset.state = isLive ? state : "off";
    live.title = isLive ? "New events appear as they are appended" : "Follow new events";
  }

  async function load() {
    stop?.();
    asking?.abort();
    asking = new AbortController();
    held = [];
    hasGap = false;
    more.hidden = true;
    showLive("waiting");
    let page;
    try {
      page = await ask("events", { query: parameter(items), before, limit: PAGE }, AbortSignal.any([signal, asking.signal]));
    } catch (error) {
      if (error.name !== "AbortError") put(body, failure(error));
      return;
    }
    show(page);
    if (isLive) stop = follow(parameter(items), page.head, receive, (stands) => showLive(stands ? "on" : "waiting"));
  }

  function show(page) {
    const matching = describe(items);
    const where = before ? ` before ${number(before)}` : "";
    put(summary, page.events.length
      ? `${count(page.events.length, "event")}${where}, newest first: ${matching}. The store has ${number(page.head)}.`
      : `No event matches${where}: ${matching}. The store has ${count(page.head, "event")}.`);
    announce(page.events.length ? `${count(page.events.length, "event")} shown` : "No event matches");
    if (page.events.length) put(body, eventList(page.events, "Events, newest first"));
    else put(body, nothing(page.isCut ? `Nothing was found down to position ${number(page.next)} in the time that a page may take.` : "Nothing matches."));
    put(pages,
      before && h("a", { class: "button", href: link("events", { q: parameter(items) }) }, "Newest"),
      page.next > 1 && h("a", { class: "button", rel: "next", href: link("events", { q: parameter(items), before: page.next }) },
        page.isCut ? `Search on, before ${number(page.next)}` : "Older"));
  }

  function receive(message) {
    if (message.events.length === 0) return;
    held.push(...message.events);
    hasGap ||= message.skippedAfter !== null || held.length > MOST_ROWS;
    if (hasGap) held = [];
    const isReading = scrollY > 300 || body.contains(document.activeElement);
    if (!isReading) return release();
    more.hidden = false;
    more.textContent = hasGap ? "Many new events: show the newest" : `${count(held.length, "new event")}: show`;
  }

  /** Puts the events that arrived at the top of the list. */
  function release() {
    if (document.activeElement === more) live.focus();
    more.hidden = true;
    // The rows would have a gap: the newest page has none.
    if (hasGap) return load();
    let list = body.querySelector("ol");
    if (!list) {
      list = eventList([], "Events, newest first");
      put(body, list);
    }
    list.prepend(...held.map((event) => eventRow(event, "new")).reverse());
    while (list.children.length > MOST_ROWS) list.lastElementChild.remove();
    announce(`${count(held.length, "new event")}, up to position ${held.at(-1).position}`);
    put(summary, `${count(list.children.length, "event")}, newest first: ${describe(items)}.`);
    held = [];
  }

  load();
  return () => {
    stop?.();
    asking?.abort();
  };
}
