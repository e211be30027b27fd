// Writes a query, or a condition with it, as code to paste.

import { document as queryDocument, isAll } from "./query.js";

/** Returns the escape of each byte of a character in UTF-8. */
const utf8 = (character) =>
  [...new TextEncoder().encode(character)].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");

/**
 * Returns a string literal of C and C++. A control character is three octal digits, which cannot run
 * into the text after it, and "??" is parted so that it begins no trigraph.
 */
export function cString(text) {
  const escaped = text.replace(/["\\?\p{C}\p{Z}]/gu, (character) => {
    if (character === " ") return character;
    if (character === "?") return "\\?";
    return character === '"' || character === "\\" ? `\\${character}` : utf8(character);
  });
  return `"${escaped}"`;
}

/** Returns a string literal of Go. */
export function goString(text) {
  const escaped = text.replace(/["\\\p{C}\p{Z}]/gu, (character) => {
    if (character === " ") return character;
    if (character === '"' || character === "\\") return `\\${character}`;
    const code = character.codePointAt(0);
    return code > 0xffff ? `\\U${code.toString(16).padStart(8, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
  return `"${escaped}"`;
}

/** Returns a string literal of JSON, in which characters that cannot be seen are escaped. */
function jsonString(text) {
  const escape = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(text).replace(/[\p{C}\p{Z}]/gu, (character) =>
    character === " " ? character : character.split("").map(escape).join(""));
}

const indent = (text, by) => text.split("\n").join(`\n${by}`);

function itemsOf(items) {
  return (queryDocument(items)?.items ?? []).map((item) => ({ types: item.types ?? [], tags: item.tags ?? [] }));
}

function jsonQuery(items) {
  if (isAll(items)) return "null";
  const list = (names) => `[${names.map(jsonString).join(", ")}]`;
  const lines = itemsOf(items).map(({ types, tags }) => {
    const keys = [];
    if (types.length) keys.push(`"types": ${list(types)}`);
    if (tags.length) keys.push(`"tags": ${list(tags)}`);
    return `  {${keys.join(", ")}}`;
  });
  return `{"items": [\n${lines.join(",\n")}\n]}`;
}

function json(items, after) {
  const query = jsonQuery(items);
  if (after === undefined) return query;
  return `{\n  "failIfEventsMatch": ${indent(query, "  ")},\n  "after": ${after}\n}`;
}

function goTag(tag) {
  const at = tag.indexOf(":");
  if (at < 0) return `dcb.BareTag(${goString(tag)})`;
  return `{Key: ${goString(tag.slice(0, at))}, Value: ${goString(tag.slice(at + 1))}}`;
}

function goQuery(items) {
  if (isAll(items)) return "dcb.QueryAll()";
  const lines = itemsOf(items).map(({ types, tags }) => {
    const fields = [];
    if (types.length) fields.push(`Types: []string{${types.map(goString).join(", ")}}`);
    if (tags.length) fields.push(`Tags: []dcb.Tag{${tags.map(goTag).join(", ")}}`);
    return `\tdcb.QueryItem{${fields.join(", ")}},`;
  });
  return `dcb.NewQuery(\n${lines.join("\n")}\n)`;
}

function go(items, after) {
  const query = goQuery(items);
  if (after === undefined) return `query := ${query}`;
  return `condition := dcb.AppendCondition{\n\tFailIfEventsMatch: ${indent(query, "\t")},\n\tAfter: ${after},\n}`;
}

function cppQuery(items) {
  if (isAll(items)) return "dcb::query::all()";
  const lines = itemsOf(items).map(({ types, tags }) => {
    let text = "dcb::query_item()";
    if (types.length) text += `.of_type(${types.map(cString).join(", ")})`;
    if (tags.length === 1) text += `.tagged(${cString(tags[0])})`;
    if (tags.length > 1) text += `.tagged(std::vector<dcb::tag>{${tags.map((tag) => `dcb::tag(${cString(tag)})`).join(", ")}})`;
    return text;
  });
  return lines.length === 1 ? `dcb::query(${lines[0]})` : `dcb::query(std::vector<dcb::query_item>{\n    ${lines.join(",\n    ")}})`;
}

function cpp(items, after) {
  const query = cppQuery(items);
  if (after === undefined) return `const dcb::query query = ${query};`;
  return `const dcb::append_condition condition(\n    ${indent(query, "    ")},\n    ${after});`;
}

function c(items, after) {
  const lines = json(items, after).split("\n").map((line) => `    ${cString(line)}`);
  return `const char *${after === undefined ? "query" : "condition"} =\n${lines.join("\n")};`;
}

/** The languages, each with a function that writes a query, or with `after` a condition. */
export const languages = [["JSON", json], ["Go", go], ["C++", cpp], ["C", c]];
