// The keyboard: every key here is listed in the help of the page (viewer.html).
import { nextRedo, nextUndo, redo, undo } from "./corrections.js";
import { $, announce } from "./dom.js";
import { accept, addAtPlayhead, removeSelected, setBoundary } from "./inspector.js";
import { index } from "./data.js";
import { openVideo, stepVideo } from "./list.js";
import { errors, itemOf, keyOf, open, walk } from "./lanes.js";
import { playOrPause, seek } from "./player.js";
import { on, select, state, video } from "./state.js";
import { showAll, zoom } from "./zoom.js";

// The next (1) or previous (-1) error; at the end of a video, of the next one in the list that has any.
export function stepError(step) {
  const here = itemOf(state.selected);
  const list = errors();
  const at = here ? list.findIndex((one) => keyOf(one) === keyOf(here)) : -1;
  let next = at >= 0 ? list[at + step]
    : step > 0 ? list.find((one) => one.start >= (here?.start ?? state.time)) : list.findLast((one) => one.start < (here?.start ?? state.time));
  for (let tries = 0; !next && tries < index.videos.length; tries += 1) {
    if (!stepVideo(step)) return;
    next = step > 0 ? errors()[0] : errors().at(-1);
  }
  if (next) open(next);
  else announce("There is no further error.");
}

// What is undone is seen: the video it was done in is opened. (It may be in another page of the same truth.)
function step(id, action) {
  if (id === null) return;
  const number = index.videos.findIndex((one) => one.id === id);
  if (number >= 0 && id !== video().id) openVideo(number);
  action();
}

const takeBack = () => step(nextUndo(), undo);
const again = () => step(nextRedo(), redo);

const ACTIONS = {
  " ": playOrPause,
  ArrowLeft: (event) => seek(state.time - (event.shiftKey ? 0.1 : 1)),
  ArrowRight: (event) => seek(state.time + (event.shiftKey ? 0.1 : 1)),
  ArrowDown: () => walk(1),
  ArrowUp: () => walk(-1),
  n: () => stepError(1),
  p: () => stepError(-1),
  N: () => stepVideo(1),
  P: () => stepVideo(-1),
  "+": () => zoom(2),
  "=": () => zoom(2),
  "-": () => zoom(0.5),
  0: showAll,
  a: accept,
  i: addAtPlayhead,
  s: () => setBoundary("start"),
  e: () => setBoundary("end"),
  l: () => { $("label").focus(); $("label").select(); },
  Delete: removeSelected,
  Backspace: removeSelected,
  Escape: () => select(null),
  "?": () => $("help").showModal(),
};
const IN_LANES = new Set(["ArrowDown", "ArrowUp", "Delete", "Backspace"]); // elsewhere these scroll, or do nothing

function onKey(event) {
  const target = event.target;
  if ($("help").open || (target === $("player") && /^( |Arrow)/.test(event.key))) return;
  if (target.matches("input:not([type=checkbox]), select, textarea")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    event.preventDefault();
    if (event.shiftKey) again();
    else takeBack();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in ACTIONS)) return;
  const inLanes = Boolean(target.closest("#lanes"));
  if (IN_LANES.has(event.key) && !inLanes) return;
  if (event.key === " " && !inLanes && target.matches("button, summary, a, input")) return;
  event.preventDefault();
  ACTIONS[event.key](event);
}

export function startKeys() {
  document.addEventListener("keydown", onKey);
  // A button presses itself when Space is let go; within the lanes Space plays instead.
  document.addEventListener("keyup", (event) => { if (event.key === " " && event.target.closest?.("#lanes")) event.preventDefault(); });
  $("undo").addEventListener("click", takeBack);
  $("redo").addEventListener("click", again);
  $("show-help").addEventListener("click", () => $("help").showModal());
  $("next-error")?.addEventListener("click", () => stepError(1));
  $("previous-error")?.addEventListener("click", () => stepError(-1));
  const show = () => {
    $("undo").disabled = nextUndo() === null;
    $("redo").disabled = nextRedo() === null;
  };
  on("edit", show);
  show();
}
