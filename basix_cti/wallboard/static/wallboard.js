// The wallboard. The server sends rows that hold moments; durations are counted here, as long as somebody sends.

import { draw } from "./chart.js";
import { TEXTS } from "./texts.js";

const root = document.documentElement;
const body = document.body;
const $ = (selector) => document.querySelector(selector);
const TABLES = ["groups", "calls", "people"];
const PEOPLE = ["ringing", "talking", "free", "away"];
const ALONE = ["conference", "voicemail", "service", "menu", "parked"]; // where nobody is at the other end
const wall = matchMedia("(min-width: 1500px)"); // as in wallboard.css
const onlyGroups = new URLSearchParams(location.search).getAll("group");

// What the server has told.
const tables = { groups: new Map(), calls: new Map(), people: new Map() };
const samples = new Map();
let header = null;
let settings = { amber: 20, red: 60, heartbeat: 1, step: 10, masked: true, version: null };

// The server's clock, in seconds, less performance.now(): this machine's own clock may be wrong, or be put right.
let clock = null;
let clockAt = 0; // when that was found, by performance.now()
let heardAt = null; // by performance.now()
let link = "connecting"; // then "live" or "lost"; "refused" where a token is needed
let source = null;
let attempts = 0;
let retry = null;

const text = () => TEXTS[root.lang] ?? TEXTS.en;
const id = (key) => JSON.stringify(key);

// --- The connection to the server ---

function connect() {
  retry = null;
  source?.close();
  source = new EventSource("events");
  source.addEventListener("snapshot", (event) => take(JSON.parse(event.data), true));
  source.addEventListener("changes", (event) => take(JSON.parse(event.data), false));
  source.addEventListener("error", lose);
  source.openedAt = performance.now();
}

function lose() {
  source?.close();
  source = null;
  if (link !== "refused") link = heardAt === null && attempts < 1 ? "connecting" : "lost";
  attempts += 1;
  if (attempts % 3 === 0) askWhy();
  // Not all at the same time: after a restart the server meets all pages at once.
  retry ??= setTimeout(connect, Math.min(1000 * 1.5 ** attempts, 10000) * (0.5 + Math.random() / 2));
  show();
}

async function askWhy() {
  try {
    const answer = await fetch("./", { method: "HEAD", cache: "no-store" });
    if (answer.status === 401) link = "refused";
  } catch {
    // It is not there, which is known already.
  }
  show();
}

function take(told, whole) {
  if (whole) {
    if (settings.version !== null && settings.version !== told.settings.version) location.reload();
    settings = told.settings;
    samples.clear();
    clock = null;
    attempts = 0;
  }
  const arrived = performance.now();
  header = told.header;
  heardAt = arrived;
  link = "live";
  const difference = header.now - arrived / 1000;
  // What took least time on its way tells best; a clock that jumps, or runs at another pace, is followed.
  if (clock === null || difference > clock || clock - difference > 2 || arrived - clockAt > 60000) {
    clock = difference;
    clockAt = arrived;
  }
  for (const table of TABLES) {
    const rows = tables[table];
    if (whole) rows.clear();
    const changes = whole ? { changed: told[table], removed: [] } : told[table];
    for (const row of changes?.changed ?? []) rows.set(id(row.id), row);
    for (const key of changes?.removed ?? []) rows.delete(id(key));
  }
  for (const sample of told.history ?? []) samples.set(sample[0], sample);
  show();
}

// --- Time ---

const isLive = () => link === "live" && header?.connection.state === "live";

// The moment that is shown, in seconds by the server's clock. It stands still where nothing new can be known.
function shownNow() {
  if (header === null || clock === null) return null;
  if (header.connection.state !== "live") {
    const gap = header.gap;
    return (gap && gap[1] === null ? gap[0] : header.connection.since) ?? header.now;
  }
  return clock + (link === "live" ? performance.now() : heardAt) / 1000;
}

// How old a moment of the PBX's clock is, in whole seconds; null where that is not known.
function age(since, now) {
  if (!since || now === null) return null;
  return Math.max(0, Math.floor(now - (header.clock_difference ?? 0) - since / 1e6));
}

const two = (number) => String(number).padStart(2, "0");

function duration(seconds) {
  if (seconds === null) return "–";
  const whole = Math.round(seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

function clockTime(seconds, withSeconds = false) {
  const parts = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (withSeconds) parts.second = "2-digit";
  return new Intl.DateTimeFormat(root.lang, parts).format(new Date(seconds * 1000));
}

const number = (value) => (value === null || value === undefined ? "–" : new Intl.NumberFormat(root.lang).format(value));

function level(seconds) {
  if (seconds === null) return "";
  return seconds >= settings.red ? "red" : seconds >= settings.amber ? "amber" : "";
}

// --- Elements: all text is set as text ---

function put(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

function mark(element, name) {
  if (element.className !== name) element.className = name;
}

function box(parent, name) {
  let element = parent.parts?.[name];
  if (!element) {
    element = document.createElement("span");
    element.className = name;
    parent.append(element);
    parent.parts = { ...parent.parts, [name]: element };
  }
  return element;
}

function part(parent, name, value) {
  const element = box(parent, name);
  put(element, value ?? "");
  element.hidden = !value;
  return element;
}

// Makes a list show these rows in this order, with as little change as possible; an element stays that of its row.
function list(element, rows, update) {
  const known = (element.known ??= new Map());
  const wanted = new Set(rows.map((row) => id(row.id)));
  for (const [key, item] of known) {
    if (!wanted.has(key)) {
      item.remove();
      known.delete(key);
    }
  }
  let place = element.firstElementChild;
  for (const row of rows) {
    let item = known.get(id(row.id));
    if (!item) {
      item = document.createElement("li");
      known.set(id(row.id), item);
    }
    if (item === place) place = place.nextElementSibling;
    else element.insertBefore(item, place);
    item.row = row;
    update(item, row);
  }
}

// --- What is shown ---

const title = (row) => row.label || row.name || String(row.id);

const goesBy = (row, name) => [row.name, row.label, row.extension, row.id].some((each) => String(each) === name);

function chosen() {
  const rows = Object.fromEntries(TABLES.map((table) => [table, [...tables[table].values()]]));
  if (!onlyGroups.length) return rows;
  const groups = rows.groups.filter((row) => onlyGroups.some((name) => goesBy(row, name)));
  const ids = new Set(groups.map((row) => id(row.id)));
  return {
    groups,
    calls: rows.calls.filter((row) => ids.has(id(row.group_id))),
    people: rows.people.filter((row) => row.group_ids.some((key) => ids.has(id(key)))),
  };
}

function byWait(one, other) {
  const since = (row) => ("longest_since" in row ? row.longest_since : row.since) ?? 0;
  return Number(!one.waiting) - Number(!other.waiting) || since(one) - since(other) || title(one).localeCompare(title(other));
}

function byState(one, other) {
  const rank = (row) => PEOPLE.indexOf(row.state) * 2 + (row.state === "ringing" && row.direction !== "in" ? 1 : 0);
  return rank(one) - rank(other) || (one.since ?? 0) - (other.since ?? 0) || title(one).localeCompare(title(other));
}

function figures(rows) {
  if (!onlyGroups.length || header.waiting === null) return header;
  const waits = rows.calls.filter((row) => row.waiting).map((row) => row.since);
  const known = waits.filter((since) => since !== null);
  const people = Object.fromEntries(PEOPLE.map((state) => [state, rows.people.filter((row) => row.state === state).length]));
  return { waiting: waits.length, longest_since: known.length ? Math.min(...known) : null, active: rows.calls.length, people };
}

function showFigures(rows) {
  const now = figures(rows);
  const least = header.counters.complete ? "" : "≥ ";
  const counted = (value) => (header.counters.since === null ? "–" : least + number(value));
  const shown = [
    ["waiting", number(now.waiting)],
    ["longest", ""],
    ["active", number(now.active)],
    ["free", number(header.lists.people ? now.people?.free : null)],
    ["answered", counted(header.counters.answered)],
    ["abandoned", counted(header.counters.abandoned)],
    ["missed", counted(header.counters.missed)],
  ];
  const items = shown.map(([name, value]) => ({ id: name, name, value }));
  list($("#figures"), items, (item, row) => {
    item.since = row.id === "waiting" || row.id === "longest" ? now.longest_since : null;
    item.waits = now.waiting;
    part(item, "name", text()[row.name]);
    if (row.id !== "longest") part(item, "value", row.value);
  });
}

function showGroup(item, row) {
  part(item, "title", title(row));
  part(item, "extension", row.extension);
  part(item, "waiting", `${text().waiting} ${number(row.waiting)}`);
  box(item, "time"); // tick() fills it
  const more = box(item, "more");
  part(more, "talking", `${text().talking} ${number(row.talking)}`);
  part(more, "members", row.members === null ? "" : `${text().members} ${number(row.logged_in)}/${number(row.members)}`);
  part(more, "messages", row.mwi_new ? text().messages(number(row.mwi_new)) : "");
}

function showCall(item, row) {
  // The customer is at the outer end: who calls, or in a call that goes out, who is called.
  const out = row.direction === "outbound";
  const customer = [row.organization, row.customers > 1 ? text().customers(row.customers) : ""];
  const who = row.caller || row.number || row.extension || text().unknownCaller;
  const target = row.group || (out && row.customer) || row.target || row.target_number || "";
  const others = row.slot === null ? [row.answered_by] : [text().slot(row.slot), row.parker];
  const joined = (parts) => parts.filter((each) => each && each !== who && each !== target).join(" · ");
  part(item, "state", text().state[row.state] ?? row.state);
  const what = box(item, "what");
  part(what, "who", who);
  part(what, "number", joined([row.number || row.extension, ...(out ? [] : customer)]));
  part(what, "target", target && target !== who ? `→ ${target}` : "");
  part(what, "called", joined(out ? [row.target_number, ...customer] : []));
  part(what, "others", joined(others));
  box(item, "time"); // tick() fills it
}

function showPerson(item, row) {
  const head = box(item, "head");
  part(head, "title", title(row));
  part(head, "extension", row.extension);
  const doing = row.state === "away" ? text().reason[row.reason] ?? row.reason : ALONE.includes(row.doing) ? text().state[row.doing] : null;
  part(item, "state", doing ?? text().state[row.state]);
  part(item, "peer", row.peer || row.peer_number || row.peer_extension);
  box(item, "time"); // tick() fills it
  part(item, "messages", row.mwi_new ? text().messages(number(row.mwi_new)) : "");
}

let due = 0; // when the chart is drawn next, by performance.now()

// What changes as time goes by.
function tick() {
  const silent = heardAt !== null && performance.now() - heardAt > settings.heartbeat * 4000;
  const unanswered = source && performance.now() - Math.max(source.openedAt, heardAt ?? 0) > settings.heartbeat * 5000;
  if (link === "live" && silent) lose();
  else if (link !== "live" && unanswered) lose();
  const now = shownNow();
  put($("#clock"), now === null ? "" : clockTime(now, true));
  for (const item of $("#figures").children) {
    const seconds = item.waits ? age(item.since, now) : null;
    if (item.row.id === "longest") part(item, "value", item.waits ? duration(seconds) : number(item.waits));
    const urgent = item.row.id === "waiting" || item.row.id === "longest" ? level(seconds) : "";
    mark(item, `figure ${item.row.id} ${urgent}`.trimEnd());
  }
  for (const item of $("#groups ul").children) {
    const seconds = item.row.waiting ? age(item.row.longest_since, now) : null;
    part(item, "time", seconds === null ? "" : duration(seconds));
    mark(item, `group ${item.row.waiting ? "waits" : ""} ${level(seconds)}`.trim());
  }
  for (const item of $("#calls ul").children) {
    const seconds = age(item.row.since, now);
    part(item, "time", duration(seconds));
    mark(item, `call ${item.row.state} ${item.row.waiting ? `waits ${level(seconds)}` : ""}`.trimEnd());
  }
  for (const item of $("#people ul").children) {
    const seconds = age(item.row.since, now);
    part(item, "time", seconds === null ? "" : duration(seconds));
    mark(item, `person ${item.row.state}`);
  }
  if (performance.now() >= due) {
    due = performance.now() + 1000;
    showChart();
  }
}

function showStatus() {
  const since = link === "live" ? null : clock === null || heardAt === null ? null : clockTime(clock + heardAt / 1000, true);
  const pbx = header?.connection;
  let problem = "";
  if (link === "refused") problem = text().tokenNeeded;
  else if (link === "lost") problem = since === null ? text().serverNever : text().serverLost(since);
  else if (link === "live" && pbx.state === "lost") problem = text().pbxLost(clockTime(shownNow(), true));
  else if (link === "live" && pbx.state === "loading") problem = text().pbxLoading;
  else if (link === "live" && pbx.state === "connecting") problem = text().pbxConnecting;
  else if (link === "live") {
    const groups = [...tables.groups.values()];
    const unknown = onlyGroups.filter((name) => !groups.some((row) => goesBy(row, name)));
    if (groups.length && unknown.length) problem = text().noGroup(unknown.join(", "));
  }
  put($("#problem"), problem);
  put($("#reason"), (link === "live" && pbx.reason) || "");
  $("#alert").hidden = !problem;
  put($("#status"), isLive() ? text().live : link === "connecting" ? text().connecting : "");
  body.classList.toggle("stale", !isLive());
}

function showChart() {
  const now = shownNow();
  if (now === null) return;
  for (const start of samples.keys()) if (start < now - 3700) samples.delete(start);
  draw($("#history svg"), samples, now, settings.step, { number, duration, time: clockTime }, text());
  const known = [...samples.values()].filter((sample) => sample[1] !== null);
  const most = Math.max(0, ...known.map((sample) => sample[1]));
  const longest = Math.max(0, ...known.map((sample) => sample[2] ?? 0));
  $("#history svg").setAttribute("aria-label", text().historyOf(number(most), duration(longest)));
}

function showFooter() {
  const { counters, gaps, gap, overflowed, bad_frames: unreadable } = header;
  const since = counters.since === null ? "" : clockTime(counters.since);
  put($("#counted"), since && (counters.complete ? text().counted(since) : text().atLeast(since)));
  const told = [];
  if (gap) {
    const from = clockTime(gap[0], true);
    told.push(gap[1] === null ? text().gapOpen(number(gaps), from) : text().gaps(number(gaps), from, clockTime(gap[1], true)));
  }
  if (overflowed) told.push(text().dropped(number(overflowed)));
  if (unreadable) told.push(text().unreadable(number(unreadable)));
  put($("#gaps"), told.join(" "));
  put($("#masked"), settings.masked ? text().masked : "");
}

function show() {
  document.title = text().title;
  put($("#language"), text().otherLanguage);
  put($("#theme"), text().theme[root.dataset.theme]);
  $("#theme").title = text().themeTitle;
  for (const section of ["calls", "history"]) put($(`#${section} h2`), text()[section]);
  put($("#scope"), onlyGroups.length ? text().onlyGroups(onlyGroups.join(", ")) : "");
  showStatus();
  if (header === null) return;
  const rows = chosen();
  showFigures(rows);
  list($("#groups ul"), rows.groups.sort(byWait), showGroup);
  list($("#calls ul"), rows.calls.sort(byWait), showCall);
  list($("#people ul"), rows.people.sort(byState), showPerson);
  put($("#calls .empty"), rows.calls.length ? "" : text().noCalls);
  for (const table of ["groups", "people"]) {
    $(`#${table}`).hidden = !rows[table].length;
    put($(`#${table} h2`), header.lists[table] ? text()[table] : `${text()[table]} (${text().named})`);
  }
  showFooter();
  tick();
  showBelow();
}

// On the wall, which nobody scrolls, how much of each list is below its edge.
function showBelow() {
  for (const table of TABLES) {
    const items = wall.matches ? [...$(`#${table} ul`).children] : [];
    const places = items.map((item) => item.getBoundingClientRect());
    const count = places.filter((place) => place.bottom - place.height / 4 > innerHeight).length;
    $(`#${table} h2`).dataset.below = count ? text().below(number(count)) : "";
  }
}

// --- What people can choose ---

function remember(name, value) {
  document.cookie = `${name}=${value}; path=${location.pathname}; max-age=31536000; samesite=strict`;
}

$("#language").addEventListener("click", () => {
  root.lang = root.lang === "ja" ? "en" : "ja";
  remember("language", root.lang);
  due = 0;
  show();
});

$("#theme").addEventListener("click", () => {
  const themes = ["auto", "light", "dark"];
  root.dataset.theme = themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length];
  remember("theme", root.dataset.theme);
  show();
});

addEventListener("resize", () => {
  due = 0;
  show();
});
addEventListener("scroll", showBelow, { passive: true });
// A machine that has slept shows at once that it has.
document.addEventListener("visibilitychange", tick);

show();
connect();
setInterval(tick, 250);
