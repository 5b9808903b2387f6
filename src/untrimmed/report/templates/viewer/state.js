// What is being looked at, and who wants to know when it changes.
import { index } from "./data.js";
import { clamp } from "./dom.js";

export const state = {
  video: -1,
  threshold: index.threshold,
  time: 0,
  from: 0,
  to: 1,
  selected: null, // {what: "truth", id} or {what: "found", set, place}
  hiddenLabels: new Set(),
  hiddenKinds: new Set(), // of detections, by number, and "unscored"; of instances "missed", "found", "unjudged"
  hiddenSets: new Set(),
  colour: index.scored ? "kind" : "class",
  empty: index.annotate,
};

const listeners = new Map();

// Events: "video", "view" (the stretch of time shown), "time", "threshold", "filter", "select", "edit".
export function on(events, action) {
  for (const event of events.split(" ")) listeners.set(event, [...(listeners.get(event) ?? []), action]);
}

export function tell(event) {
  for (const action of listeners.get(event) ?? []) action();
}

export const video = () => index.videos[state.video];

// A score reaches the threshold; what is lost by rounding in the page is forgiven.
const SLACK = 1e-4 * (index.cuts[1] - index.cuts[0]);
export const reaches = (score) => score !== null && score >= state.threshold - SLACK;

// Which of the cuts a threshold is.
export const placeOf = (threshold) =>
  clamp(Math.round((threshold - index.cuts[0]) / (index.cuts[1] - index.cuts[0])), 0, index.cuts.length - 1);

export function select(selected) {
  state.selected = selected;
  tell("select");
}
