// Corrections by pointer: drag a boundary of the selected instance, or drag over the empty truth of a lane to add one.
import { add, change } from "./corrections.js";
import { $, clock, element, round } from "./dom.js";
import { itemOf } from "./lanes.js";
import { seek } from "./player.js";
import { on, select, state } from "./state.js";
import { timeAt } from "./zoom.js";

const LEAST = 0.05; // seconds an instance lasts at least
const SLOP = 4; // pixels a pointer moves before a press is a drag
let dragging = null;

function begin(event) {
  if (event.button !== 0) return;
  const handle = event.target.closest(".handle");
  const empty = event.target.classList.contains("truth-strip");
  const strip = event.target.closest(".strip");
  if (handle) {
    const one = itemOf(state.selected);
    dragging = { what: "move", side: handle.dataset.side, id: one.id, start: one.start, end: one.end, label: one.label };
    event.preventDefault();
  } else if (empty && event.pointerType !== "touch") {
    dragging = { what: "add", label: strip.closest(".lane").dataset.label, at: timeAt(event.clientX) };
  } else if (strip && !event.target.closest("button")) {
    dragging = { what: "seek" };
  } else return;
  Object.assign(dragging, { x: event.clientX, strip: strip ?? handle.closest(".strip"), moved: false, pointer: event.pointerId });
  if (dragging.what !== "seek") dragging.strip.setPointerCapture(event.pointerId);
}

function move(event) {
  if (!dragging || event.pointerId !== dragging.pointer) return;
  dragging.moved ||= Math.abs(event.clientX - dragging.x) > SLOP;
  if (!dragging.moved || dragging.what === "seek") return;
  const time = round(timeAt(event.clientX));
  if (dragging.what === "move") {
    if (dragging.side === "start") dragging.start = Math.min(time, dragging.end - LEAST);
    else dragging.end = Math.max(time, dragging.start + LEAST);
  } else Object.assign(dragging, { start: Math.min(time, dragging.at), end: Math.max(time, dragging.at) });
  preview();
  seek(dragging.what === "move" ? dragging[dragging.side] : time);
}

function preview() {
  const style = `--s:${dragging.start};--e:${dragging.end};top:3px`;
  dragging.ghost ??= dragging.strip.appendChild(element("span", { className: "ghost" }));
  dragging.ghost.style.cssText = style;
  dragging.ghost.textContent = `${clock(dragging.start)} to ${clock(dragging.end)}`;
}

function finish(event) {
  if (!dragging || event.pointerId !== dragging.pointer) return;
  const done = dragging;
  cancel();
  if (event.type === "pointercancel") return;
  if (!done.moved) {
    if (done.what !== "move") seek(timeAt(event.clientX));
  } else if (done.what === "move") {
    const { id, side, label } = done;
    change(id, { [side]: done[side] }, `${label}: ${side} moved to ${clock(done[side])}`);
  } else if (done.what === "add" && done.end - done.start >= LEAST) {
    const { label, start, end } = done;
    select({ what: "truth", id: add({ label, start, end }, `${label} added, ${clock(start)} to ${clock(end)}`) });
  }
}

function cancel() {
  dragging?.ghost?.remove();
  dragging = null;
}

export function startDrag() {
  const rows = $("rows");
  rows.addEventListener("pointerdown", begin);
  rows.addEventListener("pointermove", move);
  rows.addEventListener("pointerup", finish);
  rows.addEventListener("pointercancel", finish);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") cancel(); });
  // A key may change what is being dragged.
  on("video select edit", cancel);
}
