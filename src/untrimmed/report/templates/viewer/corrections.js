// The truth as corrected so far: every change can be undone, and all of it outlives a reload in the browser's storage.
// An instance is {id, label, start, end}; its id is its row in the file, or below 0 if it was added here. Kept are, of
// each video, the instances that differ from the file (null: deleted), and of each step of undo the one it changed.
import { block, index } from "./data.js";
import { announce, round } from "./dom.js";
import { state, tell, video } from "./state.js";

const KEY = `untrimmed corrections ${index.key}`;
const STEPS_KEPT = [500, 100, 20, 0]; // of undo: all, or as many as a storage that is full still takes
// By id of the video; without a prototype, so that a video may be called "constructor".
export const table = (entries) => Object.assign(Object.create(null), entries);
const nothing = () => ({ version: 2, edits: table(), done: [], undone: [], added: 0, exported: true });
let work = nothing();
let kept = true;

function readWork() {
  try {
    const text = localStorage.getItem(KEY);
    const found = text ? JSON.parse(text) : null;
    work = found?.version === 2 ? { ...found, edits: table(found.edits) } : nothing();
  } catch {
    kept = false;
  }
}

function keepWork() {
  kept = STEPS_KEPT.some((steps) => {
    const last = (list) => list.slice(Math.max(0, list.length - steps));
    try {
      localStorage.setItem(KEY, JSON.stringify({ ...work, done: last(work.done), undone: last(work.undone) }));
      return true;
    } catch {
      // If nothing helps, or it is forbidden: the page says so, and asks before it is closed.
      return false;
    }
  });
}

// Without storage, corrections live in this page only.
export const isKept = () => kept;
export const isExported = () => work.exported;
export const edited = () => Object.keys(work.edits);

export function fileTruth(number) {
  return block(number).truth.map(([label, start, end, finders], id) => ({
    id, label: index.labels[label], start, end, finders, origin: "file",
  }));
}

export function truthOf(number) {
  const changes = work.edits[index.videos[number].id] ?? {};
  const mended = (id, origin) => changes[id] && { ...changes[id], id: Number(id), finders: [], origin };
  const rows = fileTruth(number).map((one) => (one.id in changes ? mended(one.id, "changed") : one));
  const added = Object.keys(changes).filter((id) => id < 0).map((id) => mended(id, "added"));
  return [...rows, ...added].filter(Boolean);
}

export const isEdited = (number) => index.videos[number].id in work.edits;
export const editsOf = (id) => work.edits[id];
const plain = ({ label, start, end }) => ({ label, start: round(start), end: round(end) });

// One instance of the open video gets values, null (deleted), or undefined (as in the file); one step of undo.
function edit(id, after, words) {
  const step = { video: video().id, id, before: work.edits[video().id]?.[id], after, words };
  work.done = [...work.done.slice(1 - STEPS_KEPT[0]), step];
  work.undone = [];
  put(step, after, words);
}

function put({ video: name, id }, values, words) {
  const changes = (work.edits[name] ??= {});
  if (values === undefined) delete changes[id];
  else changes[id] = values;
  if (!Object.keys(changes).length) delete work.edits[name];
  work.exported = false;
  keepWork();
  announce(words);
  tell("edit");
}

export function change(id, values, words) {
  const after = plain({ ...truthOf(state.video).find((one) => one.id === id), ...values });
  const file = fileTruth(state.video)[id];
  const same = file && file.label === after.label && file.start === after.start && file.end === after.end;
  edit(id, same ? undefined : after, words);
}

export function add(instance, words) {
  work.added += 1;
  const id = -work.added;
  edit(id, plain(instance), words);
  return id;
}

export const remove = (id, words) => edit(id, id < 0 ? undefined : null, words);

// The id of the video that changes, for it to be shown first; null if there is nothing to undo (redo).
export const nextUndo = () => work.done.at(-1)?.video ?? null;
export const nextRedo = () => work.undone.at(-1)?.video ?? null;

export function undo() {
  const step = work.done.pop();
  work.undone.push(step);
  put(step, step.before, `Undone: ${step.words}`);
}

export function redo() {
  const step = work.undone.pop();
  work.done.push(step);
  put(step, step.after, `Done again: ${step.words}`);
}

export function discard() {
  work = nothing();
  keepWork();
  announce("All corrections are discarded.");
  tell("edit");
}

export function markExported() {
  work.exported = true;
  keepWork();
  tell("edit");
}

// Another tab with the same truth has written: go on from its work, so that neither overwrites the other.
window.addEventListener("storage", (event) => {
  if (event.key !== KEY) return;
  readWork();
  tell("edit");
});
window.addEventListener("beforeunload", (event) => {
  if (!kept && !work.exported) event.preventDefault();
});
readWork();
