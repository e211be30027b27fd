// The page in a real browser. The test in browser.rs starts this with the address of a server and
// appends what this asks for: a line "append JSON" on stdout, answered by a line on stdin.

import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";

const [url, hostileUrl, modules, browserPath, pictures, work, hostileJson] = process.argv.slice(2);
const require = createRequire(path.join(modules, "package.json"));
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const hostile = JSON.parse(hostileJson);

const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has the test append events together, and returns the position of the last one. */
async function append(...events) {
  console.log(`append ${JSON.stringify(events)}`);
  return Number((await answers.next()).value);
}

const profile = fs.mkdtempSync(path.join(os.tmpdir(), "dcb-explorer-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: browserPath, headless: true, viewport: { width: 1200, height: 820 }, locale: "en-GB", timezoneId: "UTC", colorScheme: "light",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const page = context.pages()[0] ?? (await context.newPage());
page.setDefaultTimeout(20_000);

const faults = [];
const hosts = new Set();
page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
page.on("console", (message) => message.type() === "error" && faults.push(`console: ${message.text()}`));
page.on("dialog", (dialog) => { faults.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
page.on("request", (request) => hosts.add(new URL(request.url()).host));

let view = 0;

/** Opens a view as a new page would. */
async function open(hash, base = url) {
  // Another address before the hash, so that the page is loaded anew.
  view += 1;
  await page.goto(`${base}?${view}${hash}`);
  await page.waitForSelector("main h1");
}

async function picture(name) {
  await page.evaluate(() => document.activeElement?.blur());
  await page.mouse.move(2, 400);
  await page.waitForTimeout(150);
  await page.screenshot({ path: path.join(pictures, `explorer-${name}.png`), animations: "disabled" });
}

/** Looks for what keeps people out, by the rules of WCAG 2.2 up to AA. */
async function accessible(what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join("\n  ")}`);
  assert.deepEqual(found, [], `accessibility of ${what}`);
}

async function noSideways(what) {
  const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(wide <= seen, `${what} is ${wide} wide in a window of ${seen}`);
}

/** Writes what the page shows as code to files, for the test to compile. */
async function code(name) {
  for (const language of ["JSON", "Go", "C++", "C"]) {
    await page.getByRole("tab", { name: language, exact: true }).click();
    fs.writeFileSync(path.join(work, `${name}.${language}`), await page.getByRole("tabpanel").textContent());
  }
}

const rows = "main .panel.list ol.events > li";
const tests = [];
const test = (name, run) => tests.push([name, run]);

test("the overview shows the store", async () => {
  await open("");
  await page.waitForSelector(".chart");
  const text = await page.textContent("main");
  assert.match(text, /StudentSubscribed/);
  assert.match(text, /Counted over all|Estimated from a sample/);
  assert.match(text, /Nothing is wrong/);
  await accessible("the overview");
  await picture("overview");
});

test("a type and a tag filter the events, with completion", async () => {
  await open("#/events");
  await page.waitForSelector(rows);
  assert.equal(await page.locator(rows).count(), 100);
  const type = page.getByRole("combobox", { name: "Type is any of" });
  await type.fill("subscr");
  await page.getByRole("option", { name: /StudentSubscribed/ }).click();
  const tag = page.getByRole("combobox", { name: "Tags include all of" });
  await tag.fill("course:c1");
  await page.waitForSelector(".options:not([hidden]) [role=option]");
  await tag.press("ArrowDown");
  await tag.press("Enter");
  await page.waitForFunction(() => document.querySelector("#summary").textContent.includes("type StudentSubscribed tagged course:c1"));
  const found = await page.locator(rows).allTextContents();
  assert.ok(found.length > 0 && found.every((row) => row.includes("StudentSubscribed") && row.includes("course:c1")));
  assert.match(page.url(), /course%3Ac1/);
  await page.getByText("Use it in code").click();
  for (const [language, expected] of [["JSON", '{"items": ['], ["Go", "dcb.NewQuery("], ["C++", "dcb::query("], ["C", "const char *query ="]]) {
    await page.getByRole("tab", { name: language, exact: true }).click();
    assert.ok((await page.getByRole("tabpanel").textContent()).includes(expected), language);
  }
  await accessible("the events");
  await page.getByRole("tab", { name: "Go", exact: true }).click();
  await picture("events");
  await page.reload();
  await page.waitForFunction(() => document.querySelector("#summary")?.textContent.includes("tagged course:c1"));
});

test("several items are alternatives", async () => {
  await open("#/events");
  await page.getByRole("combobox", { name: "Type is any of" }).fill("CourseDefined");
  await page.getByRole("combobox", { name: "Type is any of" }).press("Enter");
  await page.getByRole("button", { name: "or another item" }).click();
  await page.getByRole("combobox", { name: "Type is any of" }).nth(1).fill("CourseCapacityChanged");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("#summary").textContent.includes("CourseDefined, or type CourseCapacityChanged"));
  await page.getByText("Use it in code").click();
  await code("several");
  const types = new Set(await page.locator(`${rows} .type`).allTextContents());
  assert.deepEqual([...types].sort(), ["CourseCapacityChanged", "CourseDefined"]);
  const tags = page.getByRole("combobox", { name: "Tags include all of" }).nth(1);
  for (const tag of ["course:c1", "bare"]) {
    await tags.fill(tag);
    await tags.press("Enter");
  }
  await code("tags");
  await page.getByRole("button", { name: "Remove item 2" }).click();
  await page.waitForFunction(() => !document.querySelector("#summary").textContent.includes("CourseCapacityChanged"));
  await page.getByRole("button", { name: "Clear" }).click();
  await code("all");
});

test("pages lead back in time and forward again", async () => {
  await open("#/events");
  const first = Number(await page.locator(rows).first().getAttribute("data-position"));
  await page.getByRole("link", { name: "Older" }).click();
  await page.waitForFunction((head) => Number(document.querySelector("ol.events > li")?.dataset.position) === head - 100, first);
  await page.getByRole("link", { name: "Newest" }).click();
  await page.waitForFunction((head) => Number(document.querySelector("ol.events > li")?.dataset.position) === head, first);
});

test("live appends arrive, and only those that match", async () => {
  await open("#/events?q=" + encodeURIComponent(JSON.stringify({ items: [{ tags: ["live:yes"] }] })));
  await page.waitForSelector("#live[data-state=on]");
  await page.getByText("Nothing matches.").waitFor();
  const last = await append({ type: "Seen", tags: ["live:yes"], data: "1" }, { type: "Unseen", tags: ["live:no"], data: "2" });
  await page.waitForSelector(`${rows}[data-position="${last - 1}"]`);
  const next = await append({ type: "SeenToo", tags: ["live:yes"], data: "3" });
  await page.waitForSelector(`${rows}[data-position="${next}"]`);
  assert.deepEqual(await page.locator(`${rows} .type`).allTextContents(), ["SeenToo", "Seen"]);
  await page.waitForFunction(() => document.getElementById("status").textContent.includes("new event"));
  await page.locator("#live").click();
  await page.waitForSelector("#live[data-state=off]");
  await append({ type: "Later", tags: ["live:yes"], data: "4" });
  await page.waitForTimeout(600);
  assert.equal(await page.locator(rows).count(), 2);
  await page.locator("#live").click();
  await page.waitForFunction(() => document.querySelectorAll("ol.events > li").length === 3);
});

test("a flood of appends is skipped over", async () => {
  await open("#/events");
  await page.waitForSelector("#live[data-state=on]");
  const many = Array.from({ length: 3000 }, (_, index) => ({ type: "Flood", tags: ["flood:1"], data: String(index) }));
  const last = await append(...many);
  await page.waitForSelector(`${rows}[data-position="${last}"]`);
  assert.ok((await page.locator(rows).count()) <= 200);
  const shown = (await page.locator(rows).evaluateAll((list) => list.map((row) => Number(row.dataset.position))));
  assert.deepEqual(shown, shown.map((_, index) => last - index), "there is no gap");
});

test("a tag leads to its page, and from there to the next", async () => {
  await open("#/events?q=" + encodeURIComponent(JSON.stringify({ items: [{ tags: ["course:c1"] }] })));
  await page.locator(`${rows} .tag`, { hasText: "course:c1" }).first().click();
  await page.getByRole("heading", { name: "Tag course:c1" }).waitFor();
  await page.waitForSelector(".timeline .event");
  const order = await page.locator(".timeline .event").evaluateAll((list) => list.map((row) => Number(row.dataset.position)));
  assert.deepEqual(order, [...order].sort((a, b) => a - b));
  assert.match(await page.textContent("main"), /Tags beside it[^]*student:s/);
  await accessible("a tag");
  await picture("tag");
  await page.locator(".bars .both").first().click();
  await page.waitForFunction(() => /tagged course:c1 and /.test(document.querySelector("#summary")?.textContent));
  await page.goBack();
  await page.getByRole("heading", { name: "Tag course:c1" }).waitFor();
});

test("an event shows its data, its metadata and its append", async () => {
  const last = await append({ type: "First", tags: ["pair:1"], data: '{"big":12345678901234567890,"same":1,"same":2}', id: "pair-1", metadata: '{"by":"ada"}' },
    { type: "Second", tags: ["pair:1"], data: '["b"]', id: "pair-2" });
  await open(`#/event/${last - 1}`);
  await page.waitForSelector(".code");
  const text = await page.textContent("main");
  assert.ok(text.includes("12345678901234567890"), "all digits are kept");
  assert.equal((await page.textContent(".code")).match(/"same"/g).length, 2, "repeated keys are kept");
  assert.match(text, /"by": "ada"/);
  assert.match(text, /pair-1/);
  assert.match(text, /Same append[^]*Second/);
  await accessible("an event");
  await page.getByRole("link", { name: "Next event" }).click();
  await page.getByRole("heading", { name: `Event ${last.toLocaleString("en")}` }).waitFor();
  await page.getByRole("link", { name: "What would a condition after this event see?" }).click();
  await page.waitForSelector(".banner.holds");
  await page.emulateMedia({ colorScheme: "dark" });
  await open("#/events?q=" + encodeURIComponent(JSON.stringify({ items: [{ types: ["StudentSubscribed"], tags: ["course:c1"] }] })));
  await page.locator(`${rows} .position`).nth(3).click();
  await page.waitForSelector(".code");
  await accessible("an event in the dark");
  await picture("event-dark");
  await page.emulateMedia({ colorScheme: "light" });
});

test("a condition turns as the position and the store do", async () => {
  const query = encodeURIComponent(JSON.stringify({ items: [{ types: ["StudentSubscribed"], tags: ["course:c2"] }] }));
  await open(`#/condition?q=${query}&after=0`);
  await page.waitForSelector(".banner.fails");
  const first = await page.locator(".event.failing").first().getAttribute("data-position");
  assert.ok((await page.textContent(".banner")).includes(`Event ${Number(first).toLocaleString("en")} matches`));
  const failing = await page.locator(".event.failing").evaluateAll((list) => list.map((row) => Number(row.dataset.position)));
  await page.getByLabel("stored after position").fill(String(failing[failing.length >> 1]));
  await page.waitForFunction((count) => document.querySelectorAll(".event.failing").length < count, failing.length);
  assert.ok((await page.locator(".event.known").count()) > 0);
  await page.getByText("Use it in code").click();
  for (const [language, expected] of [["JSON", '"failIfEventsMatch"'], ["Go", "dcb.AppendCondition{"], ["C++", "dcb::append_condition"], ["C", "const char *condition ="]]) {
    await page.getByRole("tab", { name: language, exact: true }).click();
    assert.ok((await page.getByRole("tabpanel").textContent()).includes(expected), language);
  }
  await page.getByText("Use it in code").click();
  await accessible("a condition");
  await picture("condition");
  await page.getByRole("button", { name: "Head" }).click();
  await page.waitForSelector(".banner.holds");
  await append({ type: "StudentSubscribed", tags: ["course:c2", "student:s1"], data: "{}" });
  await page.waitForSelector(".banner.fails");
});

test("everything can be done with the keyboard", async () => {
  await open("");
  await page.waitForSelector(".chart");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "skip");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await page.keyboard.press("?");
  await page.getByRole("heading", { name: "Keys", exact: true }).waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("g");
  await page.keyboard.press("e");
  await page.waitForSelector(rows);
  await page.keyboard.press("/");
  await page.keyboard.type("InvoiceS");
  await page.getByRole("option", { name: /InvoiceSent/ }).waitFor();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("#summary").textContent.includes("type InvoiceSent"));
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  const second = await page.locator(rows).nth(1).getAttribute("data-position");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: `Event ${Number(second).toLocaleString("en")}` }).waitFor();
  await page.keyboard.press("[");
  await page.getByRole("heading", { name: `Event ${(Number(second) - 1).toLocaleString("en")}` }).waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("c");
  await page.getByRole("heading", { name: "What would a condition see?" }).waitFor();
  await page.waitForSelector(".banner");
  // Every part of the page gets the focus, and shows it.
  const seen = new Set();
  await page.evaluate(() => document.activeElement.blur());
  for (let count = 0; count < 40; count += 1) {
    await page.keyboard.press("Tab");
    const [name, shown] = await page.evaluate(() => {
      const element = document.activeElement;
      const style = getComputedStyle(element);
      const field = element.closest(".field");
      return [element.outerHTML.slice(0, 60), style.outlineStyle !== "none" || (field && getComputedStyle(field).outlineStyle !== "none") || element === document.body];
    });
    assert.ok(shown, `the focus is not shown on ${name}`);
    seen.add(name);
  }
  assert.ok(seen.size > 15, `${seen.size} elements had the focus`);
});

test("single keys can be switched off", async () => {
  await open("#/events");
  await page.getByRole("button", { name: "Keys", exact: true }).click();
  await page.getByLabel("Keys without Ctrl or Alt do something").uncheck();
  await page.getByRole("button", { name: "Close" }).click();
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("g");
  await page.keyboard.press("c");
  await page.waitForTimeout(200);
  assert.match(page.url(), /#\/events/);
  await page.evaluate(() => localStorage.removeItem("keys"));
});

test("dark and narrow, it is still readable", async () => {
  const few = "#/events?q=" + encodeURIComponent(JSON.stringify({ items: [{ types: ["CourseDefined"], tags: ["course:c1"] }] }));
  await page.emulateMedia({ colorScheme: "dark" });
  for (const [hash, what] of [["", "overview"], [few, "events"], ["#/tag?tag=course%3Ac30", "tag"], [few.replace("events", "condition"), "condition"]]) {
    await page.setViewportSize({ width: 1200, height: 820 });
    await open(hash);
    await page.waitForSelector(hash === "" ? ".chart" : "ol.events > li");
    await accessible(`the ${what} in the dark`);
    for (const width of [768, 360]) {
      await page.setViewportSize({ width, height: 740 });
      await noSideways(`the ${what}, ${width} wide`);
    }
    if (what !== "events") continue;
    await accessible("the events, narrow");
    await picture("narrow");
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1200, height: 820 });
  await open("");
  await page.getByLabel("Colours").selectOption("dark");
  const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.equal(ground, "rgb(15, 19, 24)");
  await page.getByLabel("Colours").selectOption("auto");
});

test("hostile strings are shown as text", async () => {
  for (const hash of ["", "#/events"]) {
    await open(hash, hostileUrl);
    await page.waitForSelector("main .tag");
    await page.waitForTimeout(200);
    const text = await page.textContent("main");
    assert.ok(text.includes("<img src=x onerror=window.pwned=1>"));
    assert.ok(text.includes("\\u202e") && !text.includes("\u202e"), "what turns the text around is shown by its number");
    await accessible("hostile strings");
    await noSideways("hostile strings");
  }
  for (const [index, text] of hostile.entries()) {
    await open(`#/event/${index + 1}`, hostileUrl);
    await page.locator("main dd .tag").click();
    await page.waitForSelector(".timeline .event");
    const query = encodeURIComponent(JSON.stringify({ items: [{ types: [text], tags: [text] }] }));
    await open(`#/condition?q=${query}`, hostileUrl);
    await page.waitForSelector(".banner.fails");
    assert.equal(await page.locator(".chip").count(), 2, text);
    // The code is a query of the same names.
    await page.getByText("Use it in code").click();
    await code(String(index));
  }
  await open("#/nonsense?q=%7B%22items%22%3A5%7D&after=x", hostileUrl);
  await open("#/events?q=%7B%22items%22%3A5%7D&before=x", hostileUrl);
  await page.waitForSelector(rows);
  assert.equal(await page.evaluate(() => window.pwned), undefined);
});

test("an error is told", async () => {
  await open("#/event/99999999");
  await page.getByRole("alert").waitFor();
  assert.match(await page.textContent("[role=alert]"), /nothing of that kind at position 99999999/);
  // The browser reports the status of that answer by itself.
  assert.equal(faults.splice(0).filter((fault) => !fault.includes("404")).length, 0);
});

let failed = 0;
for (const [name, run] of tests) {
  try {
    await run();
    assert.deepEqual(faults, [], "the browser complains");
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    faults.length = 0;
    console.log(`FAILED ${name}: ${(error.stack ?? String(error)).replaceAll("\n", "\n  | ")}`);
    await page.screenshot({ path: path.join(work, `failed-${failed}.png`) }).catch(() => {});
  }
}
const own = new Set([new URL(url).host, new URL(hostileUrl).host]);
if (![...hosts].every((host) => own.has(host))) {
  failed += 1;
  console.log(`FAILED the page asked other hosts: ${[...hosts].join(", ")}`);
}
await context.close();
fs.rmSync(profile, { recursive: true, force: true });
console.log(failed ? `done ${failed} failed` : `done, ${tests.length} passed`);
process.exit(failed ? 1 : 0);
