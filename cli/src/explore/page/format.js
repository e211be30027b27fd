// Numbers, times and sizes for a person.

const whole = new Intl.NumberFormat("en");
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

export const number = (value) => whole.format(value);

/** Returns "1 event" or "2 events". */
export const count = (value, noun) => `${whole.format(value)} ${noun}${value === 1 ? "" : "s"}`;

export const percent = (part, of) => {
  const share = of ? (100 * part) / of : 0;
  return share > 0 && share < 0.1 ? "<0.1 %" : `${tenth.format(share)} %`;
};

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${tenth.format(value)} ${units[unit]}`;
}

const dateOf = (us) => new Date(us / 1000);

export const localTime = (us) => clock.format(dateOf(us));

/** Returns the time in UTC with its microseconds. */
export function utcTime(us) {
  const date = dateOf(us - (us % 1_000_000));
  return date.toISOString().replace(/\.\d+Z$/, `.${String(us % 1_000_000).padStart(6, "0")}Z`);
}

/** Returns the time of day, with the day unless it is today. */
export function shortTime(us) {
  const date = dateOf(us);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? time.format(date) : `${day.format(date)}, ${time.format(date)}`;
}

export function duration(us) {
  const seconds = us / 1_000_000;
  if (seconds < 0.001) return `${tenth.format(us)} µs`;
  if (seconds < 1) return `${tenth.format(seconds * 1000)} ms`;
  if (seconds < 120) return `${tenth.format(seconds)} s`;
  if (seconds < 7200) return `${tenth.format(seconds / 60)} min`;
  if (seconds < 172800) return `${tenth.format(seconds / 3600)} h`;
  return `${tenth.format(seconds / 86400)} days`;
}

/** Returns how long ago a time was. */
export function ago(us) {
  const passed = Date.now() * 1000 - us;
  return passed < 2_000_000 ? "just now" : `${duration(passed)} ago`;
}

/** Returns how many things there are in a unit of time, of which many passed. */
export function rate(value, us) {
  const [unit, name] = us > 172800e6 ? [86400e6, "day"] : us > 7200e6 ? [3600e6, "hour"] : us > 120e6 ? [60e6, "minute"] : [1e6, "second"];
  return `${whole.format(Math.round((value * unit) / us))} a ${name} on average`;
}

/** Returns one of eight numbers, always the same one for a name. */
export function tone(name) {
  let hash = 2166136261;
  for (let at = 0; at < name.length; at += 1) hash = Math.imul(hash ^ name.charCodeAt(at), 16777619);
  return ((hash >>> 16) ^ (hash >>> 5) ^ hash) & 7;
}

/** Returns text in which invisible characters that could mislead are shown by their numbers. */
export function visible(text) {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu,
    (character) => `\\u${character.codePointAt(0).toString(16).padStart(4, "0")}`);
}
