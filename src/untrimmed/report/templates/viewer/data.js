// What Python wrote into the page. The form of index and blocks is described in report/viewer_data.py.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const opened = new Map();

export const index = read("index");

// The truth, detections and curves of a video are read when it is first opened.
export function block(number) {
  if (!opened.has(number)) opened.set(number, read(`video-${number}`));
  return opened.get(number);
}

// The whole annotation file, to be corrected and exported.
export const annotations = () => read("annotations");

export const NO_LABEL = "(no label)";
export const KIND_COLOURS = ["#009e73", "#56b4e9", "#e69f00", "#0072b2", "#d55e00", "#8c8f94"];
const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8f6bc9", "#7a9a01"];

export function labelColour(name) {
  const place = index.labels.indexOf(name);
  if (place >= 0 && place < PALETTE.length) return PALETTE[place];
  const number = place >= 0 ? place : 31 + [...name].reduce((sum, letter) => sum + letter.codePointAt(0), 0);
  return `hsl(${(number * 137.508) % 360} 60% ${number % 2 ? 42 : 56}%)`;
}
