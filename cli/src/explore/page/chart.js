// Charts of columns over time. Each one can also be read as a table.

import { h, s } from "./dom.js";
import { duration, localTime, number, tone, visible } from "./format.js";

const WIDTH = 720;
const HEIGHT = 160;

/** Returns a round number that is not less than a value, for the top of the axis. */
export function ceiling(value) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * unit).find((top) => top >= value && Number.isInteger(top)) ?? Math.ceil(value);
}

/** Returns the class of each series: the colour of its type, or the next one that is free. */
function colours(series) {
  const taken = new Set();
  return series.map(({ name }) => {
    if (name === null) return "series others";
    let chosen = series.length === 1 ? 0 : tone(name);
    while (taken.has(chosen)) chosen = (chosen + 1) % 8;
    taken.add(chosen);
    return `series tone-${chosen}`;
  });
}

/**
 * Returns a chart of stacked columns. `series` is a list of names with a count for each interval;
 * a name that is null stands for all others.
 */
export function columns({ label, startUs, intervalUs, series }) {
  const size = series[0]?.counts.length ?? 0;
  const colour = colours(series);
  const totals = Array.from({ length: size }, (_, at) => series.reduce((sum, { counts }) => sum + counts[at], 0));
  const most = Math.max(1, ...totals);
  const top = ceiling(most);
  const step = WIDTH / Math.max(1, size);
  const height = (value) => (value / top) * HEIGHT;
  const nameOf = ({ name }) => (name === null ? "other types" : visible(name));
  const columnsOf = totals.map((total, at) => {
    let y = HEIGHT;
    const from = localTime(startUs + at * intervalUs);
    const detail = series.length > 1
      ? series.filter(({ counts }) => counts[at]).map((one) => `\n${nameOf(one)}: ${number(one.counts[at])}`).join("")
      : "";
    return s("g", {}, s("title", {}, `${from}, ${duration(intervalUs)}: ${number(total)} events${detail}`),
      s("rect", { class: "hover", x: at * step, y: 0, width: step, height: HEIGHT }),
      series.map(({ counts }, index) => {
        if (!counts[at]) return null;
        const tall = Math.max(1, height(counts[at]));
        y -= tall;
        return s("rect", { class: colour[index], x: at * step + 1, y, width: Math.max(1, step - 2), height: tall, rx: 1 });
      }));
  });
  const lines = [0.5, 1].map((share) => s("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT * (1 - share) + 0.5, y2: HEIGHT * (1 - share) + 0.5 }));
  const image = s("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    lines, columnsOf, s("line", { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }));
  const legend = series.length > 1 && h("ul", { class: "legend" },
    series.map((one, index) => h("li", {}, h("span", { class: `swatch ${colour[index]}`, "aria-hidden": "true" }), nameOf(one))));
  const rows = totals.map((total, at) => [total, at]).filter(([total]) => total).map(([total, at]) => h("tr", {},
    h("th", { scope: "row" }, localTime(startUs + at * intervalUs)),
    series.length > 1 && series.map(({ counts }) => h("td", {}, number(counts[at]))), h("td", {}, number(total))));
  const table = h("details", { class: "as-table" }, h("summary", {}, "As a table"),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${label}, as a table` }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "From"), series.length > 1 && series.map((one) => h("th", { scope: "col" }, nameOf(one))), h("th", { scope: "col" }, "Events"))),
      h("tbody", {}, rows))));
  return h("figure", { class: "figure" },
    h("div", { class: "plot" }, h("span", { class: "top-value", "aria-hidden": "true" }, number(top)), image),
    h("div", { class: "scale", "aria-hidden": "true" }, h("span", {}, localTime(startUs)), h("span", {}, `${duration(intervalUs)} each`), h("span", {}, localTime(startUs + size * intervalUs))),
    legend, table);
}
