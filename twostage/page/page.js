// What people see: photographs in, readings out. `openReader` and `NEEDED` come from the reader's own file.

const byId = (id) => document.getElementById(id);
const rows = [];

/** A new element with attributes and children, which are elements or text. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

/** As many decimals as the interval has two digits for; without one, four digits in all. */
function shown(value, row) {
  const width = row.upper - row.lower, known = row.lower !== null && width > 0;
  const power = Math.floor(Math.log10(known ? width : Math.abs(value) || 1));
  return value.toFixed(Math.min(Math.max(known ? 1 - power : 3 - power, 0), 8)).replace("-", "\u2212");
}

const short = (x) => String(Number(x.toPrecision(4))).replace("-", "\u2212");
const percent = (p) => (p > 0 && p < 0.005 ? "<1 %" : `${Math.round(100 * p)} %`);
const withUnit = (text) => (settings.card.unit ? `${text}\u00a0${settings.card.unit}` : text);
const range = (low, high) => `${low} to ${high}`;

function intervalText(row) {
  if (row.lower === null || row.upper === null) return "";
  return range(shown(row.lower, row), shown(row.upper, row));
}

/** What is said of a reading, in one sentence. */
function sentence(row) {
  const label = settings.statuses[row.status]?.label || row.status;
  const number = row.concentration === null ? "no number" : withUnit(shown(row.concentration, row));
  const interval = intervalText(row) && `, between ${intervalText(row).replace(" to ", " and ")}`;
  return `${row.image}: ${number}${interval}. ${label}${row.reason && `: ${row.reason}`}.`;
}

function statusOf(row) {
  const label = make("strong", {}, settings.statuses[row.status]?.label || row.status);
  return make("p", { class: `status ${row.status}` }, label, row.reason && `: ${row.reason}`);
}

function readingOf(row) {
  if (row.concentration === null) return [make("p", { class: "number none" }, "No number")];
  const number = make("p", { class: "number" }, shown(row.concentration, row), " ");
  number.append(make("span", { class: "unit" }, settings.card.unit || ""));
  const interval = intervalText(row) && make("p", { class: "interval" }, `${confidence()} interval `,
    make("b", {}, withUnit(intervalText(row))));
  return [number, interval, row.bin_probabilities && barsOf(row)];
}

const confidence = () => (settings.card.confidence ? `${Number((100 * settings.card.confidence).toFixed(1))} %` : "");

/** A reading as a sheet: what the model saw beside what it says. */
function sheetOf(row) {
  const alt = "what the model saw, with the outlines of where it looks";
  const picture = row.picture ? make("img", { src: row.picture, alt, width: 160, height: 160 }) : make("div", { class: "blank" });
  const text = make("div", { class: "said" }, make("h3", {}, row.image), ...readingOf(row).filter(Boolean), statusOf(row));
  return make("li", { class: "sheet" }, picture, text);
}

function lineOf(row, number) {
  const bin = row.bin_index === null ? "" : `${range(short(row.bin_low), short(row.bin_high))} (${percent(row.bin_probability)})`;
  const concentration = row.concentration === null ? "" : shown(row.concentration, row);
  const label = settings.statuses[row.status]?.label || row.status;
  return make("tr", {}, make("td", { class: "right" }, String(number)), make("th", { scope: "row" }, row.image),
    make("td", { class: "right" }, concentration), make("td", {}, intervalText(row)), make("td", {}, bin),
    make("td", {}, label + (row.reason && `: ${row.reason}`)));
}

/** A name that comes again gets a number: phones call every photograph image.jpg. */
function named(file, taken) {
  const [, stem, ending] = /^(.*?)(\.[^.]*)?$/s.exec(file.name || "photograph");
  let name = file.name || stem;
  for (let n = 2; taken.has(name); n++) name = `${stem} (${n})${ending || ""}`;
  taken.add(name);
  return name;
}

const names = new Set();
const refusedRow = (image, reason) => ({
  image, concentration: null, lower: null, upper: null, bin_index: null, bin_low: null, bin_high: null,
  bin_probability: null, status: "refused", reason, bin_probabilities: null, picture: null,
});

async function rowFor(reader, file, image) {
  try {
    return { ...(await reader.read(file)), image };
  } catch (error) {
    return refusedRow(image, error instanceof Refusal ? error.message : `this page failed on it (${error.message || error})`);
  }
}

const waiting = [];
let busy = false, total = 0;

/** Take files in their order; they are read a few at a time and shown in that order. */
async function take(reader, files) {
  for (const file of files) waiting.push({ file, image: named(file, names) });
  total += files.length;
  if (busy) return;
  busy = true;
  const first = byId("list").firstChild; // what comes now stands above what was there
  const done = rows.length;
  while (waiting.length) {
    say(total > 1 ? `Reading ${rows.length - done + 1} of ${total} \u2026` : "Reading \u2026");
    await new Promise((resolve) => setTimeout(resolve)); // so that it is seen
    const some = waiting.splice(0, reader.atOnce).map(({ file, image }) => rowFor(reader, file, image));
    for (const row of await Promise.all(some)) show(row, first);
  }
  finish(rows.slice(done));
}

function show(row, first) {
  rows.push(row);
  byId("list").insertBefore(sheetOf(row), first);
  byId("lines").append(lineOf(row, rows.length));
  byId("readings").hidden = byId("all").hidden = false;
}

function finish(found) {
  [busy, total] = [false, 0];
  const refused = found.filter((row) => row.status === "refused").length;
  say(`${found.length} ${found.length === 1 ? "photograph" : "photographs"} done${refused ? `, ${refused} refused` : ""}.`);
  byId("spoken").textContent = found.length === 1 ? sentence(found[0]) : "";
}

/** Say how things stand; a screen reader waits for the end of what goes on. */
function say(text) {
  byId("state").setAttribute("aria-busy", String(busy));
  byId("state").textContent = text;
}

function save() {
  const link = make("a", { href: URL.createObjectURL(new Blob([csvOf(rows)], { type: "text/csv" })), download: "readings.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function startOver() {
  if (!confirm("Remove all readings from this page?")) return;
  rows.length = 0;
  names.clear();
  byId("list").replaceChildren();
  byId("lines").replaceChildren();
  byId("readings").hidden = byId("all").hidden = true;
  say("Ready.");
  byId("files").focus();
}

/** Photographs come from the camera, from files, by drag and drop or from the clipboard. */
function listen(reader) {
  document.body.classList.toggle("touch", navigator.maxTouchPoints > 0); // who has no phone in hand takes files
  for (const id of ["camera", "files"]) {
    byId(id).disabled = false;
    byId(id).addEventListener("change", (event) => {
      const files = [...event.target.files];
      event.target.value = ""; // so that the same file can be taken again
      take(reader, files);
    });
  }
  const body = document.body.classList;
  for (const kind of ["dragover", "dragleave", "drop"]) addEventListener(kind, (event) => {
    event.preventDefault();
    body.toggle("over", kind === "dragover");
    if (kind === "drop") take(reader, [...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => take(reader, [...event.clipboardData.files]));
  byId("save").addEventListener("click", save);
  byId("clear").addEventListener("click", startOver);
}

/** On paper everything is open, and dated. */
function dressForPaper() {
  const closed = [...document.querySelectorAll("details:not([open]):not(.screen)")];
  addEventListener("beforeprint", () => {
    closed.splice(0, Infinity, ...document.querySelectorAll("details:not([open]):not(.screen)"));
    closed.forEach((details) => (details.open = true));
    byId("printed").textContent = `Printed ${new Date().toLocaleString("en-GB", { dateStyle: "long", timeStyle: "short" })}`;
  });
  addEventListener("afterprint", () => closed.forEach((details) => (details.open = false)));
}

/** The notices of others are long: they are unpacked where somebody wants to read them. */
function showNotices() {
  byId("licences")?.addEventListener("toggle", async () => {
    byId("others").textContent ||= new TextDecoder().decode(await unpacked("notices"));
  });
}

async function start() {
  dressForPaper();
  showNotices();
  const missing = NEEDED.filter((name) => !(name in globalThis));
  if (missing.length) {
    return say(`This browser has no ${missing.join(" and no ")}, which this page needs to read photographs. ` +
      "Open it in Firefox, Chrome, Edge or Safari of 2023 or later.");
  }
  try {
    listen(await openReader());
    say("Ready.");
  } catch (error) {
    say(`The model cannot be loaded in this browser (${error.message || error}). ` +
      "Open the page in Firefox, Chrome, Edge or Safari of 2023 or later.");
  }
}

start();
