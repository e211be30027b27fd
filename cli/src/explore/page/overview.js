// The first view: the store at a glance.

import { ask } from "./api.js";
import { columns } from "./chart.js";
import { h, put } from "./dom.js";
import { ago, bytes, count, duration, number, percent, rate as rateOf, visible } from "./format.js";
import { bars, nothing, tagElement, timeElement, typeElement } from "./list.js";
import { failure } from "./shell.js";

const WINDOWS = [["all", undefined], ["7 days", 7 * 86400e6], ["24 hours", 86400e6], ["1 hour", 3600e6], ["5 minutes", 300e6]];
/** The milliseconds between two looks at the store. */
const AGAIN = 5000;

function card(label, value, note) {
  return h("div", { class: "card" }, h("dt", {}, label), h("dd", {}, h("strong", {}, value), note && h("span", { class: "quiet" }, note)));
}

function cards(about) {
  const { store } = about;
  const lasted = about.lastUs - about.firstUs;
  return h("dl", { class: "cards" },
    card("Events", number(about.head), about.head > 1 && lasted > 0 && rateOf(about.head, lasted)),
    store.fileBytes === null
      ? card("Texts of the events", bytes(about.sampleBytes), about.isWhole ? "all of them" : "of the sample")
      : card("Size", bytes(store.fileBytes + (store.logBytes ?? 0)), store.logBytes > 0 && `${bytes(store.logBytes)} of it in the log`),
    about.firstUs !== null && card("First event", timeElement(about.firstUs, ago(about.firstUs)), duration(Math.max(0, lasted)) + " before the last"),
    about.lastUs !== null && card("Last event", timeElement(about.lastUs, ago(about.lastUs))));
}

function healthPanel(about) {
  const { store } = about;
  const facts = [["File", store.path && visible(store.path)], ["Format", store.format], ["SQLite", store.sqlite], ["Locks", store.locks], ["Schema", store.schema && visible(store.schema)], ["PostgreSQL", store.server && visible(store.server)],
    ["Index in the file", store.indexed !== null && `up to ${number(store.indexed)}, ${count(store.segments, "segment")}`]];
  const words = { good: "Good", notice: "Notice", problem: "Problem" };
  return h("section", { class: "panel" }, h("h2", {}, "Health"),
    h("ul", { class: "findings" }, about.health.map(({ level, text }) => h("li", { class: level }, h("strong", {}, `${words[level]}. `), visible(text)))),
    h("dl", { class: "facts" }, facts.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}

/** Says what the counts are based on. */
function basis(about) {
  return about.isWhole
    ? `Counted over all ${count(about.examined, "event")}.`
    : `Estimated from a sample: ${number(about.examined)} of ${count(about.head, "event")}, in runs spread evenly over the store. Rare names may be missing.`;
}

/** Shows the view in `root`. Returns a function that ends it. */
export function overview(root, _parameters, signal) {
  let windowAt = 0;
  let timer;
  const rate = h("div", {});
  const top = h("div", {});
  const rest = h("div", { class: "columns" });
  const choice = h("div", { class: "choice", role: "group", "aria-label": "Time that is shown" }, WINDOWS.map(([name], at) => h("button", {
    type: "button", class: "small", "aria-pressed": String(at === 0), onclick: () => {
      windowAt = at;
      [...choice.children].forEach((button, own) => button.setAttribute("aria-pressed", String(own === at)));
      load();
    },
  }, name)));
  put(root, h("h1", {}, "Overview"), top,
    h("section", { class: "panel" }, h("div", { class: "head" }, h("h2", {}, "Events over time"), choice), rate), rest);

  async function load() {
    clearTimeout(timer);
    if (document.hidden) {
      timer = setTimeout(load, AGAIN);
      return;
    }
    const windowUs = WINDOWS[windowAt][1];
    let about;
    try {
      about = await ask("overview", { windowUs }, signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      put(top, failure(error));
      timer = setTimeout(load, AGAIN);
      return;
    }
    if (windowUs !== WINDOWS[windowAt][1]) return;
    // What a person has opened, or is about to press, stays as it is.
    const isOpen = rate.querySelector("details")?.open;
    const isBusy = rest.contains(document.activeElement) || rest.matches(":hover");
    put(top, cards(about));
    put(rate, about.head === 0 ? nothing("There are no events yet.")
      : about.rate === null ? nothing("The store took too long to answer. It is tried again.")
      : columns({
        label: `Events over time, ${about.rate.counts.reduce((a, b) => a + b, 0)} in all`,
        startUs: about.rate.startUs, intervalUs: about.rate.intervalUs, series: [{ name: "events", counts: about.rate.counts }],
      }));
    if (isOpen && rate.querySelector("details")) rate.querySelector("details").open = true;
    const of = (value) => (about.isWhole ? `${number(value)} · ` : "≈ ") + percent(value, about.examined);
    if (!isBusy) {
      put(rest,
        h("section", { class: "panel" }, h("h2", {}, "Types"), h("p", { class: "note" }, basis(about)),
          about.types.length ? bars(about.types, { label: "Types", of, element: typeElement }) : nothing("None yet."),
          about.distinctTypes > about.types.length && h("p", { class: "note" }, `and ${number(about.distinctTypes - about.types.length)} more`)),
        h("section", { class: "panel" }, h("h2", {}, "Busiest tags"), h("p", { class: "note" }, basis(about)),
          about.tags.length ? bars(about.tags, { label: "Busiest tags", of, element: tagElement }) : nothing("None yet.")),
        h("div", {}, healthPanel(about),
          h("section", { class: "panel" }, h("h2", {}, "Keys of tags"), about.tagKeys.length ? bars(about.tagKeys, { label: "Keys of tags", of: (value) => number(value), element: visible }) : nothing("None yet."))));
    }
    timer = setTimeout(load, AGAIN);
  }

  load();
  return () => clearTimeout(timer);
}
