// The selected segment: what it is, and everything that can be done to it without a pointer.
import { index, NO_LABEL } from "./data.js";
import { add, change, remove, truthOf } from "./corrections.js";
import { $, announce, clamp, clock, element, round } from "./dom.js";
import { describe, itemOf } from "./lanes.js";
import { on, select, state, video } from "./state.js";

const LENGTH = 2; // seconds of an instance added at the playhead
let lastLabel = "";

const overlap = (a, b) => {
  const shared = Math.max(0, Math.min(a.end, b.end) - Math.max(a.start, b.start));
  return shared > 0 ? shared / (a.end - a.start + b.end - b.start - shared) : 0;
};

function showSelected() {
  const item = itemOf(state.selected);
  const truth = item?.what === "truth";
  $("chosen").textContent = item ? describe(item) : "Nothing selected. Fill in the fields to add an instance.";
  $("accept").hidden = !item || truth;
  $("delete").hidden = !truth;
  $("add").hidden = Boolean(item);
  if (!item) {
    fill($("label").value || lastLabel, null, null);
    return;
  }
  if (item.label !== NO_LABEL) lastLabel = item.label;
  // A detection may reach beyond the video; what is accepted of it may not.
  const { start, end } = truth ? item : { start: Math.max(item.start, 0), end: Math.min(item.end, longest()) };
  fill(item.label === NO_LABEL ? "" : item.label, start, end);
}

const longest = () => (video().sure ? Math.floor(1000 * video().duration) / 1000 : Infinity);

function fill(label, start, end) {
  $("label").value = label;
  $("start").value = start ?? "";
  $("end").value = end ?? "";
  complain("");
}

function complain(text) {
  $("wrong").textContent = text;
  for (const id of ["label", "start", "end"]) $(id).setAttribute("aria-invalid", String(Boolean(text)));
}

// The fields as an instance, or null with the reason said.
function fields() {
  const label = $("label").value.trim();
  const [start, end] = ["start", "end"].map((id) => ($(id).value === "" ? NaN : round(Number($(id).value))));
  let problem = "";
  if (!label || label === NO_LABEL) problem = "Name the class.";
  else if (Number.isNaN(start) || Number.isNaN(end)) problem = "Give start and end in seconds.";
  else if (start < 0 || end > longest() + 0.0011) problem = `Times lie between 0 and ${longest()} s.`;
  else if (end <= start) problem = "The end must come after the start.";
  complain(problem);
  if (problem) return null;
  lastLabel = label;
  return { label, start, end };
}

function commit() {
  const item = itemOf(state.selected);
  if (item?.what !== "truth") return;
  const values = fields();
  if (!values) return;
  if (values.label === item.label && values.start === item.start && values.end === item.end) return;
  change(item.id, values, `${item.label} corrected: ${values.label}, ${clock(values.start)} to ${clock(values.end)}`);
}

// An accepted detection takes the place of the instance of its class that it would count as finding, if there is one;
// otherwise it is a new one, and a neighbour that it merely touches stays.
export function accept() {
  const item = itemOf(state.selected);
  if (item?.what !== "found") return;
  const values = fields();
  if (!values) { $("label").focus(); return; }
  const truth = truthOf(state.video);
  const shares = truth.map((one) => (one.label === values.label ? overlap(one, values) : 0));
  const share = Math.max(0, ...shares);
  const span = `${clock(values.start)} to ${clock(values.end)}`;
  if (share < index.tiou) {
    add(values, `Accepted: ${values.label}, ${span}`);
    return;
  }
  const old = truth[shares.indexOf(share)];
  change(old.id, values, `Accepted: ${values.label}, ${span}, in place of ${clock(old.start)} to ${clock(old.end)}`);
}

export function removeSelected() {
  const item = itemOf(state.selected);
  if (item?.what !== "truth") return;
  select(null);
  remove(item.id, `${item.label} deleted, ${clock(item.start)} to ${clock(item.end)}`);
}

export function addFromFields() {
  const values = fields();
  if (!values) return;
  select({ what: "truth", id: add(values, `${values.label} added, ${clock(values.start)} to ${clock(values.end)}`) });
}

// At the playhead, of the class used last; its fields are then ready to be changed.
export function addAtPlayhead() {
  const label = lastLabel || itemOf(state.selected)?.label || index.labels[0] || "";
  const start = round(clamp(state.time, 0, Math.max(video().duration - 0.1, 0)));
  const end = round(Math.min(start + LENGTH, video().duration));
  if (!label || label === NO_LABEL) {
    fill("", start, end);
    $("label").focus();
    announce("Name the class of the new instance.");
    return;
  }
  select({ what: "truth", id: add({ label, start, end }, `${label} added, ${clock(start)} to ${clock(end)}`) });
}

// "start" or "end" takes the time of the playhead.
export function setBoundary(side) {
  $(side).value = round(state.time);
  commit();
}

export function startInspector() {
  $("inspector").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["label", "start", "end"]) $(id).addEventListener("change", commit);
  $("accept").addEventListener("click", accept);
  $("delete").addEventListener("click", removeSelected);
  $("add").addEventListener("click", addFromFields);
  $("start-here").addEventListener("click", () => setBoundary("start"));
  $("end-here").addEventListener("click", () => setBoundary("end"));
  on("select edit", showSelected);
  on("video edit", () => {
    const names = new Set([...index.labels, ...truthOf(state.video).map((one) => one.label)]);
    names.delete(NO_LABEL);
    $("labels").replaceChildren(...[...names].map((value) => element("option", { value })));
  });
  on("video", () => select(null));
}
