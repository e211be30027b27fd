// Rows of events, as several views show them.

import { h } from "./dom.js";
import { jsonLine } from "./json.js";
import { bytes, localTime, number, shortTime, tone, utcTime, visible } from "./format.js";
import { eventLink, tagLink, typeLink } from "./query.js";

/** Returns a link to the page of a tag. */
export function tagElement(tag) {
  const at = tag.indexOf(":");
  const [key, value] = at < 0 ? [tag, ""] : [tag.slice(0, at + 1), tag.slice(at + 1)];
  return h("a", { class: "tag", href: tagLink(tag), title: visible(tag) },
    h("span", { class: "key" }, visible(key)), h("span", {}, visible(value)));
}

/** Returns a link to the events of a type. */
export function typeElement(type) {
  return h("a", { class: `type tone-${tone(type)}`, href: typeLink(type), title: visible(type) }, h("span", {}, visible(type)));
}

export function timeElement(us, text) {
  return h("time", { datetime: utcTime(us), title: `${localTime(us)} (${utcTime(us)})` }, text ?? shortTime(us));
}

/** Returns the row of an event. */
export function eventRow(event, mark) {
  const isCut = event.data.length < event.dataBytes && new TextEncoder().encode(event.data).length < event.dataBytes;
  return h("li", { class: `event ${mark ?? ""}`, "data-position": event.position },
    h("a", { class: "position", href: eventLink(event.position), "aria-label": `Event ${number(event.position)}` }, number(event.position)),
    timeElement(event.timestampUs),
    h("div", { class: "what" }, typeElement(event.type), event.tags.map(tagElement),
      event.moreTags > 0 && h("span", { class: "quiet" }, `and ${event.moreTags} more tags`)),
    h("div", { class: "data" }, jsonLine(event.data), isCut && h("span", { class: "quiet" }, `… ${bytes(event.dataBytes)}`)));
}

/** Returns a list of events in order. */
export function eventList(events, label, mark) {
  return h("ol", { class: "events", "aria-label": label }, events.map((event) => eventRow(event, mark?.(event))));
}

/** Returns what is shown where there is nothing. */
export function nothing(text) {
  return h("p", { class: "nothing" }, text);
}

/** Returns a list of names with their shares as bars. */
export function bars(counted, { label, of, element, extra }) {
  const most = Math.max(1, ...counted.map((entry) => entry.count));
  return h("ul", { class: "bars", "aria-label": label }, counted.map((entry) => {
    const bar = h("span", { class: "bar", "aria-hidden": "true" });
    bar.style.setProperty("--share", `${(100 * entry.count) / most}%`);
    return h("li", {}, h("span", { class: "label" }, element(entry.name)), h("span", { class: "quiet" }, of(entry.count)), extra?.(entry.name), bar);
  }));
}
