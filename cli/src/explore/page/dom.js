// Builds elements. Text is only ever set as text, so nothing that a store holds becomes markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Returns an HTML element. A property that begins with "on" is a listener. */
export function h(name, properties, ...children) {
  return fill(document.createElement(name), properties, children);
}

/** Returns an SVG element. */
export function s(name, properties, ...children) {
  return fill(document.createElementNS(SVG, name), properties, children);
}

/** Replaces everything in an element. */
export function put(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

let speaking;

/** Tells a screen reader something, a moment later so that the last of several is heard. */
export function announce(text) {
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    document.getElementById("status").textContent = text;
  }, 300);
}

let ids = 0;

/** Returns an id that no other element has. */
export function freshId(name) {
  ids += 1;
  return `${name}-${ids}`;
}
