// The truth as corrected so far: every change can be undone, and all of it outlives a reload in the browser's storage.
// An instance is {label, start, end, row}; row is its place in the file, or null if it was added here.
import { block, index } from "./data.js";
import { announce, round } from "./dom.js";
import { state, tell } from "./state.js";

const KEY = `untrimmed corrections ${index.key}`;
const KEPT = 500;
// By id of the video; without a prototype, so that a video may be called "constructor".
export const table = (entries) => Object.assign(Object.create(null), entries);
const nothing = () => ({ version: 1, edits: table(), done: [], undone: [], exported: true });
let work = nothing();
let kept = true;

function readWork() {
  try {
    const text = localStorage.getItem(KEY);
    const found = text ? JSON.parse(text) : null;
    work = found?.version === 1 ? { ...found, edits: table(found.edits) } : nothing();
  } catch {
    kept = false;
  }
}

function keepWork() {
  try {
    localStorage.setItem(KEY, JSON.stringify(work));
    kept = true;
  } catch {
    // A full or forbidden storage: the page says so, and asks before it is closed.
    kept = false;
  }
}

// Without storage, corrections live in this page only.
export const isKept = () => kept;
export const isExported = () => work.exported;
export const edited = () => Object.keys(work.edits);

export function fileTruth(number) {
  return block(number).truth.map(([label, start, end, finders], row) => ({ label: index.labels[label], start, end, row, finders }));
}

export function truthOf(number) {
  const mended = work.edits[index.videos[number].id];
  if (!mended) return fileTruth(number);
  const file = fileTruth(number);
  return mended.map((one) => {
    const before = one.row === null ? null : file[one.row];
    const same = before && before.label === one.label && before.start === one.start && before.end === one.end;
    return { ...one, finders: same ? before.finders : null, origin: same ? "file" : before ? "changed" : "added" };
  });
}

export const isEdited = (number) => index.videos[number].id in work.edits;
export const editsOf = (id) => work.edits[id];
const plain = ({ label, start, end, row }) => ({ label, start: round(start), end: round(end), row });

// Takes the place of all instances of a video; one step of undo.
function replace(number, instances, words) {
  const id = index.videos[number].id;
  const before = work.edits[id] ?? null;
  const after = instances.map(plain);
  work.done = [...work.done.slice(1 - KEPT), { id, before, after, words }];
  work.undone = [];
  put(id, after, words);
}

function put(id, instances, words) {
  if (instances === null) delete work.edits[id];
  else work.edits[id] = instances;
  work.exported = false;
  keepWork();
  announce(words);
  tell("edit");
}

export function change(place, values, words) {
  const instances = truthOf(state.video);
  instances[place] = { ...instances[place], ...values };
  replace(state.video, instances, words);
}

export function add(instance, words) {
  const instances = truthOf(state.video);
  replace(state.video, [...instances, { row: null, ...instance }], words);
  return instances.length;
}

export function remove(place, words) {
  replace(state.video, truthOf(state.video).filter((one, at) => at !== place), words);
}

// The id of the video that changes, for it to be shown first; null if there is nothing to undo (redo).
export const nextUndo = () => work.done.at(-1)?.id ?? null;
export const nextRedo = () => work.undone.at(-1)?.id ?? null;

export function undo() {
  const step = work.done.pop();
  work.undone.push(step);
  put(step.id, step.before, `Undone: ${step.words}`);
}

export function redo() {
  const step = work.undone.pop();
  work.done.push(step);
  put(step.id, step.after, `Done again: ${step.words}`);
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
