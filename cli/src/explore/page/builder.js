// The query builder: items of types and tags, and the same query as code.

import { languages } from "./code.js";
import { nameField } from "./combobox.js";
import { announce, freshId, h, put } from "./dom.js";

/**
 * Returns the fields for a query. `items` is the list that they change; `onChange` is called after
 * each change.
 */
export function builder(items, onChange) {
  const root = h("div", { class: "builder" });

  function show(focusLast) {
    put(root,
      items.map((item, at) => h("fieldset", { class: "item" },
        h("legend", { class: at === 0 ? "unseen" : "or" }, at === 0 ? "First item" : "or"),
        nameField({ kind: "type", label: "Type is any of", names: item.types, onChange }),
        nameField({ kind: "tag", label: "Tags include all of", names: item.tags, onChange }),
        items.length > 1 && h("button", {
          type: "button", class: "plain remove", "aria-label": `Remove item ${at + 1}`,
          onclick: () => { items.splice(at, 1); show(true); announce("item removed"); onChange(); },
        }, "Remove"))),
      h("div", { class: "row" },
        h("button", { type: "button", class: "plain add", onclick: () => { items.push({ types: [], tags: [] }); show(true); } }, "+ or another item"),
        h("button", {
          type: "button", class: "plain", onclick: () => { items.splice(0, items.length, { types: [], tags: [] }); show(true); onChange(); },
        }, "Clear")));
    if (focusLast) root.querySelector("fieldset:last-of-type input").focus();
  }

  show(false);
  return root;
}

/**
 * Returns a part that shows the query as code, with a method `show` that writes it anew. `state`
 * returns the items, and the position of the condition if it is one.
 */
export function codePanel(state) {
  const name = freshId("code");
  let chosen = 0;
  const code = h("pre", { class: "code", tabindex: "0", role: "tabpanel", id: `${name}-panel` });
  const copy = h("button", { type: "button", class: "small", onclick: onCopy }, "Copy");
  const tabs = languages.map(([language], at) => h("button", {
    type: "button", role: "tab", id: `${name}-${at}`, "aria-controls": `${name}-panel`,
    onclick: () => choose(at), onkeydown: (event) => onKey(event, at),
  }, language));

  function text() {
    const { items, after } = state();
    return languages[chosen][1](items, after);
  }

  function choose(at) {
    chosen = at;
    show();
  }

  function onKey(event, at) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const next = (at + by + tabs.length) % tabs.length;
    choose(next);
    tabs[next].focus();
  }

  async function onCopy() {
    try {
      await navigator.clipboard.writeText(text());
      copy.textContent = "Copied";
      announce("The code was copied");
      setTimeout(() => { copy.textContent = "Copy"; }, 1500);
    } catch {
      // Without the clipboard the code is selected, so that a key copies it.
      getSelection().selectAllChildren(code);
      announce("The code is selected");
    }
  }

  function show() {
    tabs.forEach((tab, at) => {
      tab.setAttribute("aria-selected", String(at === chosen));
      tab.tabIndex = at === chosen ? 0 : -1;
    });
    code.setAttribute("aria-labelledby", `${name}-${chosen}`);
    code.textContent = text();
  }

  show();
  const details = h("details", { class: "as-code" }, h("summary", {}, "Use it in code"),
    h("div", { class: "tabs" }, h("div", { role: "tablist", "aria-label": "Language" }, tabs), copy), code);
  details.show = show;
  return details;
}
