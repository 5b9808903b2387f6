// A lane per class: the truth above, the detections of each result file below.
import { block, index, KIND_COLOURS, labelColour, NO_LABEL } from "./data.js";
import { truthOf } from "./corrections.js";
import { $, clock, counted, element } from "./dom.js";
import { seek } from "./player.js";
import { on, placeOf, reaches, select, state } from "./state.js";
import { reveal } from "./zoom.js";

const THIN = 15; // pixels of a strip without anything, with room for its letter
const DEEPEST = 4; // detections that overlap are put below each other, as many as there is room for
let shown = new Map(); // key -> {button, item}

export const keyOf = (selected) =>
  selected && (selected.what === "truth" ? `truth ${selected.id}` : `found ${selected.set} ${selected.place}`);

// Everything of the open video, whether filters hide it or not.
export function items() {
  const truth = truthOf(state.video).map((one) => ({
    ...one, what: "truth", missed: one.finders.map((score) => !reaches(score)),
  }));
  const agreed = new Set(truth.filter((one) => one.origin !== "file").map((one) => `${one.label} ${one.start} ${one.end}`));
  const found = block(state.video).sets.flatMap((rows, set) =>
    rows.map(([label, start, end, score, kind], place) => {
      const name = index.labels[label];
      return { what: "found", set, place, label: name, start, end, score, kind, settled: agreed.has(`${name} ${start} ${end}`) };
    }));
  return { truth, found };
}

// Detections that are counted but not drawn, at the threshold.
export const left = (set) =>
  block(state.video).rest[set]
    .filter(([, , place]) => place >= placeOf(state.threshold))
    .map(([label, kind, , count]) => ({ label: index.labels[label], kind, count }));

// How an instance of the truth stands: "missed" by results that are shown, "found", or "unjudged": nobody has to find it
// (Ambiguous), it is no longer that of the file, or its video is not scored.
export function standing(item) {
  if (!item.missed.length) return "unjudged";
  return item.missed.some((one, set) => one && !state.hiddenSets.has(set)) ? "missed" : "found";
}

export function passes(item) {
  if (state.hiddenLabels.has(item.label)) return false;
  if (item.what === "truth") return !state.hiddenKinds.has(standing(item));
  if (state.hiddenSets.has(item.set) || !reaches(item.score)) return false;
  return !state.hiddenKinds.has(item.kind < 0 ? "unscored" : item.kind);
}

// What a reviewer steps through: wrong detections and missed instances that are shown and not yet dealt with.
export function errors() {
  const { truth, found } = items();
  const missed = truth.filter((one) => passes(one) && standing(one) === "missed");
  const wrong = found.filter((one) => one.kind > 0 && !one.settled && passes(one));
  return [...missed, ...wrong].sort((a, b) => a.start - b.start || a.end - b.end);
}

export const itemOf = (selected) => {
  if (!selected) return null;
  const { truth, found } = items();
  return (selected.what === "truth" ? truth : found).find((one) => keyOf(one) === keyOf(selected)) ?? null;
};

export function describe(item) {
  const where = `${item.label}, ${clock(item.start)} to ${clock(item.end)}`;
  if (item.what === "truth") {
    const origin = { file: "truth", changed: "truth, corrected", added: "truth, added" }[item.origin];
    const names = index.sets.filter((name, set) => item.missed[set]);
    return `${where}, ${origin}${names.length ? `, missed${index.sets.length > 1 ? ` by ${names.join(" and ")}` : ""}` : ""}`;
  }
  const whose = index.sets.length > 1 ? `, ${index.sets[item.set]}` : "";
  const kind = item.settled ? ", accepted" : !index.scored ? "" : `, ${index.kinds[item.kind] ?? "not scored"}`;
  return `${where}, score ${Number(item.score.toFixed(3))}${kind}${whose}`;
}

function bar(item, top) {
  const says = describe(item);
  const button = element("button", { type: "button", className: item.what, title: says, tabIndex: -1 });
  button.setAttribute("aria-label", says);
  button.dataset.key = keyOf(item);
  button.style.cssText = `--s:${item.start};--e:${item.end};top:${top}px`;
  const byKind = state.colour === "kind" && index.scored;
  if (item.what === "truth") {
    button.classList.toggle("missed", standing(item) === "missed");
    button.classList.toggle("unjudged", byKind && standing(item) === "unjudged");
    if (item.origin !== "file") button.classList.add("mended");
    button.style.setProperty("--color", byKind ? "var(--truth)" : labelColour(item.label));
  } else {
    const share = Math.min(Math.max(item.score / index.cuts[index.cuts.length - 1], 0), 1);
    button.style.setProperty("--fill", `${Math.round(25 + 75 * share)}%`);
    button.style.setProperty("--color", byKind ? KIND_COLOURS[item.kind] ?? "var(--truth)" : labelColour(item.label));
    if (byKind) button.classList.add(item.kind < 0 ? "unscored" : `kind-${item.kind}`);
    if (item.settled) button.classList.add("settled");
  }
  shown.set(button.dataset.key, { button, item });
  return button;
}

function levelsOf(list) {
  const ends = [];
  return list.map((item) => {
    let level = ends.findIndex((end) => end <= item.start);
    if (level < 0) level = ends.length < DEEPEST ? ends.push(0) - 1 : DEEPEST - 1;
    ends[level] = Math.max(ends[level], item.end);
    return level;
  });
}

function strip(kind, list, tag, pitch) {
  const sorted = [...list].sort((a, b) => a.start - b.start || a.end - b.end);
  const levels = levelsOf(sorted);
  const made = element("div", { className: `strip ${kind}-strip` });
  made.style.height = `${list.length || kind === "truth" ? pitch * (1 + Math.max(0, ...levels)) + 6 : THIN}px`;
  made.append(...sorted.map((item, at) => bar(item, 3 + pitch * levels[at])));
  return [element("div", { className: "tag", textContent: tag }), made];
}

function lane(name, truth, found) {
  const swatch = element("span", { className: "swatch" });
  swatch.style.background = labelColour(name);
  const heading = element("div", { className: "name", title: name }, swatch, element("span", { textContent: name }));
  const cells = [];
  const lettered = index.sets.length > 1;
  if (index.has_truth || index.annotate || truth.length) cells.push(...strip("truth", truth, "", 18));
  index.sets.forEach((_, set) => {
    if (state.hiddenSets.has(set)) return;
    cells.push(...strip("found", found.filter((one) => one.set === set), lettered ? "AB"[set] : "", 15));
  });
  const row = element("div", { className: "lane" }, heading, element("div", { className: "strips" }, ...cells));
  row.dataset.label = name;
  row.setAttribute("role", "group");
  row.setAttribute("aria-label", `${name}: ${counted(truth.length, "instance")}, ${counted(found.length, "detection")}`);
  return row;
}

function drawLanes() {
  const { truth, found } = items();
  const groups = new Map();
  const group = (name) => groups.get(name) ?? groups.set(name, { truth: [], found: [], any: false }).get(name);
  if (state.empty) index.labels.filter((name) => name !== NO_LABEL).forEach(group);
  for (const item of truth) if (passes(item)) group(item.label).truth.push(item);
  for (const item of found) if (passes(item)) group(item.label).found.push(item);
  const known = (name) => (index.labels.indexOf(name) + index.labels.length + 1) % (index.labels.length + 1);
  const names = [...groups.keys()].filter((name) => !state.hiddenLabels.has(name)).sort((a, b) => known(a) - known(b));
  shown = new Map();
  const rows = names.map((name) => lane(name, groups.get(name).truth, groups.get(name).found));
  if (!rows.length) {
    const hint = index.annotate ? "No class yet: set a start and an end below, name the class, and add it."
      : "Nothing to show here: lower the score, or show more classes or kinds.";
    rows.push(element("p", { className: "hint", textContent: hint }));
  }
  const focused = document.activeElement?.dataset?.key;
  $("rows").replaceChildren(...rows);
  drawSelected();
  drawHere();
  if (focused && shown.has(focused)) shown.get(focused).button.focus({ preventScroll: true });
}

// One stop of the Tab key for all segments: the selected one, or the first. The arrow keys walk on from there.
function drawSelected() {
  const key = keyOf(state.selected);
  const stop = shown.has(key) ? key : inOrder()[0]?.button.dataset.key;
  for (const [each, { button }] of shown) {
    button.classList.toggle("selected", each === key);
    if (each === key) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    button.tabIndex = each === stop ? 0 : -1;
  }
  $("rows").querySelectorAll(".handle").forEach((one) => one.remove());
  const chosen = shown.get(key);
  if (!chosen || chosen.item.what !== "truth") return;
  for (const side of ["start", "end"]) {
    const handle = element("span", { className: `handle ${side}` });
    handle.dataset.side = side;
    handle.style.cssText = chosen.button.style.cssText;
    chosen.button.after(handle);
  }
}

function drawHere() {
  for (const { button, item } of shown.values()) {
    const here = item.start <= state.time && state.time < item.end;
    if (here !== button.classList.contains("here")) button.classList.toggle("here", here);
  }
}

const inOrder = () =>
  [...shown.values()].sort((a, b) => a.item.start - b.item.start || a.item.end - b.item.end || a.item.what.localeCompare(b.item.what));

// Goes to the segment that follows (step 1) or precedes (step -1) the selected one in time.
export function walk(step) {
  const order = inOrder();
  if (!order.length) return;
  const at = order.findIndex(({ button }) => button.dataset.key === keyOf(state.selected));
  const first = order.findIndex(({ item }) => item.start >= state.time);
  const next = at >= 0 ? at + step : step > 0 ? Math.max(first, 0) : (first < 0 ? order.length : first) - 1;
  if (order[next]) open(order[next].item);
}

export function open(item, { focus = true } = {}) {
  seek(item.start);
  reveal(item.start, item.end);
  select(item.what === "truth" ? { what: "truth", id: item.id } : { what: "found", set: item.set, place: item.place });
  if (focus) shown.get(keyOf(item))?.button.focus({ preventScroll: true });
  shown.get(keyOf(item))?.button.closest(".lane").scrollIntoView({ block: "nearest" });
}

export function startLanes() {
  on("video threshold filter edit", drawLanes);
  on("select", drawSelected);
  on("time", drawHere);
  $("rows").addEventListener("click", (event) => {
    const chosen = shown.get(event.target.closest("button")?.dataset.key);
    if (chosen) open(chosen.item);
  });
}
