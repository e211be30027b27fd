// Shows the view that the address names.

import { ask } from "./api.js";
import { h, put } from "./dom.js";
import { condition } from "./condition.js";
import { event } from "./event.js";
import { events } from "./events.js";
import { overview } from "./overview.js";
import { visible } from "./format.js";
import { failure, shell } from "./shell.js";
import { tag } from "./tag.js";

const views = { "": overview, events, event, tag, condition };
const names = {
  "": () => "Overview", events: () => "Events", condition: () => "Condition",
  event: (parameters) => `Event ${parameters.get("position")}`, tag: (parameters) => visible(parameters.get("tag") ?? ""),
};

const main = document.getElementById("main");
let end;
let mark;
let title = "";

async function show() {
  end?.();
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const [name, position] = path.split("/");
  const view = Object.hasOwn(views, name) ? name : "";
  const parameters = new URLSearchParams(search ?? "");
  if (position) parameters.set("position", position);
  const stopped = new AbortController();
  let stop;
  end = () => {
    stopped.abort();
    stop?.();
  };
  mark(view);
  document.title = `${names[view](parameters)} · ${title} · dcb`;
  const root = h("div", { class: `view view-${view || "overview"}` });
  put(main, root);
  scrollTo(0, 0);
  const returned = await views[view](root, parameters, stopped.signal);
  if (stopped.signal.aborted) returned?.();
  else stop = returned;
}

try {
  const about = await ask("store");
  title = about.title;
  mark = shell(about);
  addEventListener("hashchange", () => {
    show();
    // A screen reader goes on at the beginning of the new view.
    main.focus({ preventScroll: true });
  });
  await show();
} catch (error) {
  put(main, failure(error));
}
