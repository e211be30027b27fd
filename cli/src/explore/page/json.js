// Shows JSON text with indents and colours. It works on the text and not on parsed values, so that
// numbers keep all their digits and repeated keys stay.

import { h } from "./dom.js";
import { visible } from "./format.js";

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[{}[\],:]/g;
/** The number of tokens above which the text is shown as it is. */
const MOST = 20_000;

/** Returns the tokens of a JSON text, or nothing if it is not whole or too long. */
export function tokens(text) {
  const found = text.match(TOKEN) ?? [];
  return found.length > MOST ? undefined : found;
}

/** Returns the text with indents, as parts: each has a kind and its text. */
export function parts(text) {
  const found = tokens(text);
  if (!found) return undefined;
  const out = [];
  let depth = 0;
  const line = () => out.push(["space", `\n${"  ".repeat(Math.min(depth, 60))}`]);
  found.forEach((token, at) => {
    const next = found[at + 1];
    if (token === "{" || token === "[") {
      out.push(["mark", token]);
      depth += 1;
      if (next !== "}" && next !== "]") line();
    } else if (token === "}" || token === "]") {
      depth -= 1;
      if (found[at - 1] !== "{" && found[at - 1] !== "[") line();
      out.push(["mark", token]);
    } else if (token === ",") {
      out.push(["mark", ","]);
      line();
    } else if (token === ":") {
      out.push(["mark", ": "]);
    } else if (token.startsWith('"')) {
      out.push([next === ":" ? "key" : "string", token]);
    } else {
      out.push([/^[tfn]/.test(token) ? "word" : "number", token]);
    }
  });
  return out;
}

/** Returns an element that shows JSON text. */
export function jsonBlock(text, label) {
  const shown = parts(text);
  const content = shown
    ? shown.map(([kind, part]) => (kind === "space" ? part : h("span", { class: `json-${kind}` }, visible(part))))
    : visible(text);
  return h("pre", { class: "code", tabindex: "0", role: "region", "aria-label": label }, h("code", {}, content));
}

/** Returns one line of JSON text without white space between tokens. */
export function jsonLine(text) {
  return visible(text.replace(/\s+/g, " "));
}
