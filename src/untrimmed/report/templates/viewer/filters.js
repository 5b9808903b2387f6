// What is hidden: kinds of error, result files, classes. The names beside the boxes are the legend of the lanes.
import { index, KIND_COLOURS, labelColour } from "./data.js";
import { $, element } from "./dom.js";
import { items, left, standing } from "./lanes.js";
import { on, reaches, state, tell } from "./state.js";

function toggle(set, value, shown) {
  if (shown) set.delete(value);
  else set.add(value);
  tell("filter");
}

function box(set, value, text, look) {
  const input = element("input", { type: "checkbox", checked: !set.has(value) });
  input.addEventListener("change", () => toggle(set, value, input.checked));
  const count = element("span", { className: "count" });
  const made = element("label", {}, input, ...(look ? [look] : []), element("span", { textContent: text }), count);
  made.dataset.value = value;
  return made;
}

function swatch(kind, colour) {
  const made = element("span", { className: `swatch ${kind}` });
  if (colour) made.style.setProperty("--color", colour);
  return made;
}

function buildKinds() {
  if (!index.scored) return;
  const boxes = index.kinds.map((name, kind) => box(state.hiddenKinds, kind, name, swatch(`found kind-${kind}`, KIND_COLOURS[kind])));
  if (index.unscored) boxes.push(box(state.hiddenKinds, "unscored", "not scored", swatch("found unscored")));
  boxes.push(box(state.hiddenKinds, "missed", "missed instance", swatch("truth missed")));
  boxes.push(box(state.hiddenKinds, "found", "found instance", swatch("truth")));
  boxes.push(box(state.hiddenKinds, "unjudged", "instance not judged", swatch("truth unjudged")));
  $("kinds").append(...boxes);
}

function buildSets() {
  if (index.sets.length < 2) return;
  $("sets").append(...index.sets.map((name, set) => box(state.hiddenSets, set, `${"AB"[set]}: ${name}`)));
}

function buildClasses() {
  const boxes = index.labels.map((name) => {
    const made = box(state.hiddenLabels, name, name, swatch(""));
    made.querySelector(".swatch").style.background = labelColour(name);
    return made;
  });
  $("classes").append(...boxes);
  // The boxes hold on to the set they were made with: it is emptied and filled, never replaced.
  const set = state.hiddenLabels;
  const fill = (hide) => {
    set.clear();
    if (hide) index.labels.forEach((name) => set.add(name));
    boxes.forEach((one) => { one.querySelector("input").checked = !hide; });
    tell("filter");
  };
  $("classes-all").addEventListener("click", () => fill(false));
  $("classes-none").addEventListener("click", () => fill(true));
}

function showCounts() {
  const { truth, found } = items();
  const counts = new Map();
  const kindOf = (kind) => (kind < 0 ? "unscored" : String(kind));
  const count = (value, more = 1) => counts.set(value, (counts.get(value) ?? 0) + more);
  for (const one of found) if (reaches(one.score) && !state.hiddenSets.has(one.set)) count(kindOf(one.kind));
  index.sets.forEach((_, set) => {
    if (!state.hiddenSets.has(set)) for (const one of left(set)) count(kindOf(one.kind), one.count);
  });
  for (const one of truth) count(standing(one));
  for (const one of document.querySelectorAll("#kinds label")) {
    one.querySelector(".count").textContent = counts.get(one.dataset.value) ?? 0;
  }
}

export function startFilters() {
  buildKinds();
  buildSets();
  buildClasses();
  const colour = $("colour");
  if (colour) {
    colour.value = state.colour;
    colour.addEventListener("change", () => { state.colour = colour.value; tell("filter"); });
  }
  $("empty").checked = state.empty;
  $("empty").addEventListener("change", () => { state.empty = $("empty").checked; tell("filter"); });
  on("video threshold filter edit", showCounts);
}
