// A tag: what happened to it in order, what happened beside it, and when.

import { ask } from "./api.js";
import { columns } from "./chart.js";
import { announce, h, put } from "./dom.js";
import { ago, count, number, percent, visible } from "./format.js";
import { bars, eventList, nothing, tagElement, timeElement, typeElement } from "./list.js";
import { eventsLink, link, ofTags, parameter } from "./query.js";
import { failure } from "./shell.js";

const PAGE = 100;

function aboutPanel(tag, about) {
  const basis = about.isWhole ? `All ${count(about.examined, "event")} with the tag.` : `The newest ${count(about.examined, "event")} with the tag; there are more.`;
  const of = (value) => `${number(value)} · ${percent(value, about.examined)}`;
  return [
    h("dl", { class: "cards" },
      h("div", { class: "card" }, h("dt", {}, "Events"), h("dd", {}, h("strong", {}, (about.isWhole ? "" : "more than ") + number(about.examined)))),
      h("div", { class: "card" }, h("dt", {}, about.isWhole ? "First" : "Oldest examined"), h("dd", {}, h("strong", {}, timeElement(about.oldestUs, ago(about.oldestUs))), h("span", { class: "quiet" }, `position ${number(about.oldestPosition)}`))),
      h("div", { class: "card" }, h("dt", {}, "Last"), h("dd", {}, h("strong", {}, timeElement(about.newestUs, ago(about.newestUs))), h("span", { class: "quiet" }, `position ${number(about.newestPosition)}`)))),
    h("section", { class: "panel" }, h("h2", {}, "Types over time"), h("p", { class: "note" }, basis),
      columns({ label: `Types of the events with the tag ${visible(tag)} over time`, ...about.overTime })),
    h("div", { class: "columns two" },
      h("section", { class: "panel" }, h("h2", {}, "Tags beside it"), h("p", { class: "note" }, "Decisions about this tag may span these. ", basis),
        about.tags.length
          ? bars(about.tags, {
            label: "Tags beside it", of, element: tagElement,
            extra: (other) => h("a", { class: "both", href: eventsLink(ofTags(tag, other)), "aria-label": `Events with both ${visible(tag)} and ${visible(other)}` }, "both"),
          })
          : nothing("No event with this tag has another one."),
        about.moreTags > 0 && h("p", { class: "note" }, `and ${number(about.moreTags)} more`)),
      h("section", { class: "panel" }, h("h2", {}, "Types"), h("p", { class: "note" }, basis), bars(about.types, { label: "Types", of, element: typeElement }))),
  ];
}

/** Shows the view in `root`. */
export async function tag(root, parameters, signal) {
  const name = parameters.get("tag") ?? "";
  const after = Number(parameters.get("after")) || 0;
  const about = h("div", {});
  const timeline = h("div", {});
  put(root,
    h("div", { class: "head" }, h("h1", { class: "tag-name" }, h("span", { class: "unseen" }, "Tag "), visible(name)),
      h("a", { class: "button small", href: eventsLink(ofTags(name)) }, "Follow live"),
      h("a", { class: "button small", href: link("condition", { q: parameter(ofTags(name)), after: 0 }) }, "Try a condition")),
    about, h("section", { class: "panel", "aria-labelledby": "timeline" }, h("h2", { id: "timeline" }, "Timeline"), timeline));
  const query = parameter(ofTags(name));
  try {
    const [found, page] = await Promise.all([ask("tag", { tag: name }, signal), ask("events", { query, after, forward: true, limit: PAGE }, signal)]);
    if (found.examined === 0) {
      put(about);
      put(timeline, nothing("No event has this tag."));
      announce("No event has this tag");
      return;
    }
    put(about, aboutPanel(name, found));
    const list = eventList(page.events, "Events with the tag, oldest first");
    list.classList.add("timeline");
    put(timeline, h("p", { class: "note" }, after ? `Oldest first, after position ${number(after)}.` : "Oldest first."), list,
      h("nav", { class: "pages", "aria-label": "Pages" },
        after > 0 && h("a", { class: "button", href: link("tag", { tag: name }) }, "Oldest"),
        page.next !== null && h("a", { class: "button", rel: "next", href: link("tag", { tag: name, after: page.next }) }, "Newer")));
    announce(`${count(page.events.length, "event")} of the tag shown`);
  } catch (error) {
    if (error.name !== "AbortError") put(about, failure(error));
  }
}
