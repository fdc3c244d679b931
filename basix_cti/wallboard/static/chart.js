// The chart of the last hour: waiting calls above, the longest wait below. What is not known is a band without a line.

const SVG = "http://www.w3.org/2000/svg";
const HOUR = 3600;

function add(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.appendChild(element);
  return element;
}

// A round number that is not below: 1, 2, 5, 10, 20, 50, …
function ceiling(value, steps) {
  for (let scale = 1; ; scale *= 10) {
    for (const step of steps) if (step * scale >= value) return step * scale;
  }
}

/**
 * Draw the chart anew.
 *
 * samples: a Map of [start, waiting, longest], by start, in seconds; null for what is not known.
 * now: in seconds by the same clock, at the right end; step: how many seconds a sample stands for.
 * format: {number, duration, time}: functions that give texts. names: {waiting, longest}: of the two lines.
 */
export function draw(svg, samples, now, step, format, names) {
  const box = svg.getBoundingClientRect();
  const width = Math.max(200, Math.round(box.width));
  const height = Math.max(120, Math.round(box.height));
  const size = parseFloat(getComputedStyle(svg).fontSize) || 16;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const left = size * 3.2;
  const right = width - size * 0.8;
  const start = now - HOUR;
  const x = (time) => left + ((Math.min(Math.max(time, start), now) - start) / HOUR) * (right - left);

  const slots = [];
  for (let at = Math.floor(start / step) * step; at <= now; at += step) slots.push(samples.get(at) ?? [at, null, null]);

  const bottom = height - size * 1.6;
  const middle = (bottom + size * 0.6) / 2;
  const panels = [
    { name: "waiting", index: 1, top: size * 0.6, bottom: middle - size * 0.5, format: format.number, least: 5, steps: [1, 2, 5] },
    { name: "longest", index: 2, top: middle + size * 0.5, bottom, format: format.duration, least: 60, steps: [6, 12, 30] },
  ];
  for (const panel of panels) {
    const group = add(svg, "g", { class: panel.name });
    const known = slots.filter((slot) => slot[panel.index] !== null);
    const most = ceiling(Math.max(panel.least, ...known.map((slot) => slot[panel.index])), panel.steps);
    const y = (value) => panel.bottom - (value / most) * (panel.bottom - panel.top);
    for (const value of [0, most / 2, most]) {
      if (panel.name === "waiting" && value % 1) continue;
      add(group, "line", { class: "grid", x1: left, x2: right, y1: y(value), y2: y(value) });
      add(group, "text", { class: "value", x: left - size * 0.4, y: y(value) + size * 0.3 }, panel.format(value));
    }
    gaps(group, slots, panel, x, step);
    lines(group, slots, panel, x, y, step);
    add(group, "text", { class: "name", x: left + size * 0.4, y: panel.top + size }, names[panel.name]);
  }
  const minutes = width < 500 ? 20 : 10;
  for (let at = Math.ceil(start / (minutes * 60)) * minutes * 60; at <= now; at += minutes * 60) {
    add(svg, "line", { class: "grid", x1: x(at), x2: x(at), y1: size * 0.6, y2: bottom });
    if (x(at) < right - size) add(svg, "text", { class: "time", x: x(at), y: height - size * 0.4 }, format.time(at));
  }
}

function runs(slots, test) {
  const found = [];
  for (const slot of slots) {
    if (!test(slot)) found.push(null);
    else if (found.length && found.at(-1)) found.at(-1).push(slot);
    else found.push([slot]);
  }
  return found.filter(Boolean);
}

function gaps(group, slots, panel, x, step) {
  for (const run of runs(slots, (slot) => slot[panel.index] === null)) {
    const from = x(run[0][0]);
    const to = x(run.at(-1)[0] + step);
    add(group, "rect", { class: "gap", x: from, width: Math.max(1, to - from), y: panel.top, height: panel.bottom - panel.top });
  }
}

function lines(group, slots, panel, x, y, step) {
  for (const run of runs(slots, (slot) => slot[panel.index] !== null)) {
    const points = run.map((slot) => `H${x(slot[0]).toFixed(1)}V${y(slot[panel.index]).toFixed(1)}`);
    const first = x(run[0][0]).toFixed(1);
    const last = x(run.at(-1)[0] + step).toFixed(1);
    const top = `M${first} ${y(run[0][panel.index]).toFixed(1)}${points.join("")}H${last}`;
    add(group, "path", { class: "area", d: `M${first} ${panel.bottom}V${y(run[0][panel.index]).toFixed(1)}${points.join("")}H${last}V${panel.bottom}Z` });
    add(group, "path", { class: "line", d: top });
  }
}
