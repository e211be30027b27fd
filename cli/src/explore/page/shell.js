// What surrounds the views: the bar at the top, the keys, and the address.

import { h, put } from "./dom.js";
import { visible } from "./format.js";

const THEMES = { auto: "Automatic", light: "Light", dark: "Dark" };
const KEYS = [
  ["?", "this list"], ["/", "the first filter"], ["j / k", "next and previous event of a list"], ["Enter", "open it"],
  ["l", "live on or off"], ["[ / ]", "previous and next event, or page"], ["g o", "overview"], ["g e", "events"], ["g c", "condition"], ["Escape", "close, or leave a field"],
];

/** Keeps a choice for the next visit. A browser that keeps nothing does no harm. */
function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Private windows may refuse.
  }
}

function remembered(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/** Replaces the address without showing the view anew. */
export function replaceAddress(hash) {
  history.replaceState(null, "", hash);
}

/** Returns what is shown when a request fails. */
export function failure(error) {
  return h("div", { class: "banner fails", role: "alert" }, h("strong", {}, "That did not work. "), visible(error.message));
}

function applyTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function themeChoice() {
  const chosen = Object.hasOwn(THEMES, remembered("theme")) ? remembered("theme") : "auto";
  applyTheme(chosen);
  const select = h("select", { "aria-label": "Colours", onchange: () => { applyTheme(select.value); remember("theme", select.value); } },
    Object.entries(THEMES).map(([value, name]) => h("option", { value, selected: value === chosen }, name)));
  return select;
}

function helpDialog() {
  const dialog = h("dialog", { "aria-labelledby": "keys" });
  const single = h("input", { type: "checkbox", id: "single", checked: remembered("keys") !== "off", onchange: () => remember("keys", single.checked ? "on" : "off") });
  put(dialog, h("h2", { id: "keys" }, "Keys"),
    h("dl", { class: "facts" }, KEYS.map(([key, meaning]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, meaning)])),
    h("p", {}, single, h("label", { for: "single" }, " Keys without Ctrl or Alt do something")),
    h("form", { method: "dialog" }, h("button", {}, "Close")));
  return { dialog, isOn: () => single.checked };
}

/** Moves the focus among the rows of a list. */
function step(by) {
  const rows = [...document.querySelectorAll("main ol.events a.position")];
  if (rows.length === 0) return;
  const at = rows.indexOf(document.activeElement?.closest("li.event")?.querySelector("a.position"));
  const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))];
  next.focus();
  next.closest("li").scrollIntoView({ block: "nearest" });
}

function onKey(event, help, state) {
  if (event.ctrlKey || event.altKey || event.metaKey || help.dialog.open) return;
  const isField = event.target.matches?.("input, select, textarea");
  if (event.key === "Escape" && isField) event.target.blur();
  if (isField || !help.isOn()) return;
  const go = state.wasG;
  state.wasG = false;
  const press = (selector) => document.querySelector(selector)?.click();
  const actions = {
    "?": () => help.dialog.showModal(),
    "/": () => document.querySelector("main .builder input")?.focus(),
    j: () => step(1),
    k: () => step(-1),
    l: () => press("#live"),
    "[": () => press("main a[rel=prev]"),
    "]": () => press("main a[rel=next]"),
    g: () => { state.wasG = true; },
  };
  const views = { o: "#/", e: "#/events", c: "#/condition" };
  if (go && Object.hasOwn(views, event.key)) location.hash = views[event.key];
  else if (Object.hasOwn(actions, event.key)) actions[event.key]();
  else return;
  event.preventDefault();
}

/** Shows the bar, and listens for keys. Returns a function that marks the view that is shown. */
export function shell(about) {
  const help = helpDialog();
  const views = [["", "Overview"], ["events", "Events"], ["condition", "Condition"]];
  const links = views.map(([view, name]) => h("a", { href: `#/${view}`, "data-view": view }, name));
  put(document.getElementById("top"),
    h("a", { class: "brand", href: "#/" }, h("img", { src: "icon.svg", alt: "", width: "24", height: "24" }), h("span", {}, "dcb"), h("span", { class: "store", title: visible(about.title) }, visible(about.title))),
    h("nav", { "aria-label": "Views" }, links),
    h("div", { class: "tools" }, h("span", { class: "badge" }, "read-only"), themeChoice(),
      h("button", { type: "button", class: "small", "aria-label": "Keys", title: "Keys (?)", onclick: () => help.dialog.showModal() }, "?")));
  document.body.append(help.dialog);
  const state = { wasG: false };
  document.addEventListener("keydown", (event) => onKey(event, help, state));
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("main").focus();
  });
  return (view) => links.forEach((link) => {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  });
}
