// A field for several names, which completes them while typing.

import { ask } from "./api.js";
import { announce, freshId, h, put } from "./dom.js";
import { count, visible } from "./format.js";

/**
 * Returns a field for names of a kind ("type" or "tag"). `names` is the list that it changes;
 * `onChange` is called after each change.
 */
export function nameField({ kind, label, names, onChange }) {
  const listId = freshId("names");
  const inputId = freshId("input");
  const hintId = freshId("hint");
  let options = [];
  let active = -1;
  let asking;
  let waiting;

  const chips = h("ul", { class: "chips", "aria-label": `${label}: chosen` });
  const listbox = h("ul", { class: "options", role: "listbox", id: listId, "aria-label": `Known ${kind}s`, hidden: true });
  const input = h("input", {
    id: inputId, type: "text", role: "combobox", autocomplete: "off", autocapitalize: "off", spellcheck: "false",
    maxlength: "255", placeholder: kind === "type" ? "any type" : "any tag", "aria-autocomplete": "list",
    "aria-controls": listId, "aria-expanded": "false", "aria-describedby": hintId,
    oninput: () => suggestSoon(), onclick: () => suggestSoon(), onblur: () => close(), onkeydown: onKey,
  });
  const field = h("div", { class: "field", onclick: () => input.focus() }, chips, h("div", { class: "entry" }, input, listbox));

  function show() {
    chips.hidden = names.length === 0;
    put(chips, names.map((name, at) => h("li", { class: "chip" },
      h("span", {}, visible(name)),
      h("button", { type: "button", "aria-label": `Remove ${kind} ${visible(name)}`, onclick: () => remove(at) }, "×"))));
    input.placeholder = names.length ? (kind === "type" ? "or…" : "and…") : (kind === "type" ? "any type" : "any tag");
  }

  function add(name) {
    if (name && !names.includes(name)) {
      names.push(name);
      announce(`${kind} ${name} added`);
      show();
      onChange();
    }
    input.value = "";
    close();
  }

  function remove(at) {
    const [name] = names.splice(at, 1);
    announce(`${kind} ${name} removed`);
    show();
    onChange();
    input.focus();
  }

  function close() {
    clearTimeout(waiting);
    asking?.abort();
    listbox.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function suggestSoon() {
    clearTimeout(waiting);
    waiting = setTimeout(suggest, 80);
  }

  async function suggest() {
    asking?.abort();
    asking = new AbortController();
    try {
      const { names: found } = await ask("names", { kind, text: input.value.trim() }, asking.signal);
      if (document.activeElement !== input) return;
      options = found.filter((option) => !names.includes(option.name));
      open();
    } catch {
      // Without suggestions a name can still be typed.
    }
  }

  function open() {
    active = -1;
    put(listbox, options.map((option, at) => h("li", {
      role: "option", id: `${listId}-${at}`, "aria-selected": "false",
      // Not "click": the field would lose the focus first, and close the list.
      onmousedown: (event) => { event.preventDefault(); add(option.name); },
    }, h("span", { class: "name" }, visible(option.name)),
    option.count > 0 && h("span", { class: "quiet" }, count(option.count, "event")))));
    listbox.hidden = options.length === 0;
    input.setAttribute("aria-expanded", String(options.length > 0));
    input.removeAttribute("aria-activedescendant");
  }

  function move(by) {
    if (listbox.hidden || options.length === 0) return suggest();
    listbox.children[active]?.setAttribute("aria-selected", "false");
    active = (active + by + options.length + (active < 0 && by < 0 ? 1 : 0)) % options.length;
    const option = listbox.children[active];
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", option.id);
  }

  function onKey(event) {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      move(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter") {
      event.preventDefault();
      add(active >= 0 && !listbox.hidden ? options[active].name : input.value.trim());
    } else if (event.key === "Escape" && !listbox.hidden) {
      event.stopPropagation();
      close();
    } else if (event.key === "Backspace" && input.value === "" && names.length) {
      remove(names.length - 1);
    }
  }

  show();
  return h("div", { class: "name-field" },
    h("label", { for: inputId }, label), field,
    h("span", { class: "unseen", id: hintId },
      `Type to complete. Enter adds the ${kind}, Backspace in the empty field removes the last one.`));
}
