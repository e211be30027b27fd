// A query as the page keeps it: a list of items, each with types and tags. An item that has neither
// is one that a person has not filled in yet, so it does not count.

/** Returns an empty query, which selects every event. */
export const empty = () => [{ types: [], tags: [] }];

/** Returns the query for the events with all of some tags. */
export const ofTags = (...tags) => [{ types: [], tags }];

const isFilled = (item) => item.types.length > 0 || item.tags.length > 0;

/** Returns whether the query selects every event. */
export const isAll = (items) => !items.some(isFilled);

/** Returns the query as the library's documents write it. */
export function document(items) {
  if (isAll(items)) return null;
  return {
    items: items.filter(isFilled).map((item) => ({
      ...(item.types.length ? { types: item.types } : {}),
      ...(item.tags.length ? { tags: item.tags } : {}),
    })),
  };
}

/** Returns the query as a parameter of an address, or nothing for every event. */
export function parameter(items) {
  const found = document(items);
  return found ? JSON.stringify(found) : undefined;
}

/** Returns the query that a parameter holds. What is no query selects every event. */
export function fromParameter(text) {
  try {
    const names = (list) => (list ?? []).filter((name) => typeof name === "string");
    const items = JSON.parse(text).items.map((item) => ({ types: names(item.types), tags: names(item.tags) }));
    return items.length ? items : empty();
  } catch {
    return empty();
  }
}

/** Says what a query selects. */
export function describe(items) {
  if (isAll(items)) return "every event";
  const one = (item) => {
    const types = item.types.join(" or ");
    const tags = item.tags.join(" and ");
    if (!tags) return `type ${types}`;
    return types ? `type ${types} tagged ${tags}` : `tagged ${tags}`;
  };
  return items.filter(isFilled).map(one).join(", or ");
}

/** Returns the address of a view, as a link within the page. */
export function link(view, parameters) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters ?? {})) {
    if (value !== undefined && value !== null && value !== "") search.set(name, value);
  }
  const text = search.toString();
  return `#/${view}${text ? `?${text}` : ""}`;
}

export const tagLink = (tag) => link("tag", { tag });
export const eventLink = (position) => `#/event/${position}`;
export const eventsLink = (items) => link("events", { q: parameter(items) });
export const typeLink = (type) => eventsLink([{ types: [type], tags: [] }]);
