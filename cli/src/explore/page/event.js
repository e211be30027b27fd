// One event in full.

import { ask } from "./api.js";
import { announce, h, put } from "./dom.js";
import { bytes, count, localTime, number, utcTime, visible } from "./format.js";
import { jsonBlock } from "./json.js";
import { eventRow, tagElement, timeElement, typeElement } from "./list.js";
import { eventLink, eventsLink, link, ofTags, parameter } from "./query.js";
import { failure } from "./shell.js";

function text(name, value, size, position) {
  const whole = new TextEncoder().encode(value).length;
  return h("section", { class: "panel" },
    h("div", { class: "head" }, h("h2", {}, name === "data" ? "Data" : "Metadata"),
      h("span", { class: "quiet" }, bytes(size)),
      h("a", { class: "button small", href: `api/events/${position}/${name}.json`, download: `event-${position}-${name}.json` }, "Download")),
    whole < size && h("p", { class: "note" }, `The first ${bytes(whole)} are shown. Download it for the rest.`),
    jsonBlock(value, name === "data" ? "Data" : "Metadata"));
}

function sameAppend(found) {
  const { event, sameTime, moreSameTime } = found;
  if (sameTime.length === 0) {
    return h("section", { class: "panel" }, h("h2", {}, "Same append"),
      h("p", { class: "note" }, "No neighbour has the same time, so the event was appended by itself."));
  }
  const rows = [...sameTime, { ...event, moreTags: 0, data: event.data.slice(0, 240) }].sort((a, b) => a.position - b.position);
  return h("section", { class: "panel" }, h("h2", {}, "Same append"),
    h("p", { class: "note" },
      `${moreSameTime ? "More than " : ""}${count(sameTime.length, "neighbour")} with the same time. All events of an append have one time; another append has the same one only if it was accepted within the same microsecond.`),
    h("ol", { class: "events", "aria-label": "Events of the same append" }, rows.map((row) => eventRow(row, row.position === event.position ? "current" : ""))));
}

/** Shows the view in `root`. */
export async function event(root, parameters, signal) {
  const position = Number(parameters.get("position"));
  const step = (by, name, key) => h("a", { class: "button small", rel: by < 0 ? "prev" : "next", href: eventLink(position + by), "aria-label": `${name} event` }, key);
  const content = h("div", {});
  put(root, content);
  let found;
  try {
    found = await ask(`events/${encodeURIComponent(position)}`, {}, signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    put(content, h("h1", {}, `Event ${number(position)}`), failure(error));
    return;
  }
  const { event: shown } = found;
  const tags = ofTags(...shown.tags);
  announce(`Event ${position}, ${shown.type}`);
  put(content,
    h("div", { class: "head" }, h("h1", {}, `Event ${number(position)}`), typeElement(shown.type),
      h("nav", { class: "steps", "aria-label": "Neighbours" }, position > 1 && step(-1, "Previous", "← Previous"), position < found.head && step(1, "Next", "Next →"))),
    h("section", { class: "panel" }, h("h2", { class: "unseen" }, "Facts"),
      h("dl", { class: "facts" },
        h("dt", {}, "Position"), h("dd", {}, `${number(position)} of ${number(found.head)}`),
        h("dt", {}, "Time"), h("dd", {}, timeElement(shown.timestampUs, localTime(shown.timestampUs)), h("span", { class: "quiet mono" }, ` ${utcTime(shown.timestampUs)}`)),
        h("dt", {}, "Tags"), h("dd", { class: "tags" }, shown.tags.length ? shown.tags.map(tagElement) : "none"),
        h("dt", {}, "Id"), h("dd", { class: "mono" }, shown.id === null ? "none" : visible(shown.id))),
      h("div", { class: "row" },
        shown.tags.length > 1 && h("a", { class: "button small", href: eventsLink(tags) }, "Events with all of these tags"),
        h("a", { class: "button small", href: link("condition", { q: parameter(shown.tags.length ? tags : [{ types: [shown.type], tags: [] }]), after: position }) },
          "What would a condition after this event see?"))),
    text("data", shown.data, shown.dataBytes, position),
    shown.metadata !== null && text("metadata", shown.metadata, shown.metadataBytes, position),
    sameAppend(found));
}
