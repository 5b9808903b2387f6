// Which stretch of the video the lanes show: zoom, pan, the axis and the playhead.
import { $, clamp, clock, element } from "./dom.js";
import { seek } from "./player.js";
import { on, state, tell, video } from "./state.js";

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400];
const SHORTEST = 0.5;

// Left edge and width of the strips of time, in pixels of the window.
export function trackBox() {
  const box = $("axis").getBoundingClientRect();
  return { left: box.left, width: Math.max(box.width, 1) };
}

export function timeAt(clientX) {
  const { left, width } = trackBox();
  return clamp(state.from + ((clientX - left) / width) * (state.to - state.from), 0, video().duration);
}

export function setView(from, to) {
  const whole = video().duration;
  const span = clamp(to - from, Math.min(SHORTEST, whole), whole);
  state.from = clamp(from, 0, whole - span);
  state.to = state.from + span;
  tell("view");
}

export function zoom(factor, around = clamp(state.time, state.from, state.to)) {
  const span = (state.to - state.from) / factor;
  const share = (around - state.from) / (state.to - state.from);
  setView(around - share * span, around + (1 - share) * span);
}

export const showAll = () => setView(0, video().duration);

// Moves the view only as far as needed for a stretch to be seen.
export function reveal(start, end = start) {
  if (start >= state.from && end <= state.to) return;
  const span = Math.max(state.to - state.from, 1.2 * (end - start));
  const from = start < state.from || end - start > span ? start - 0.1 * span : end - 0.9 * span;
  setView(from, from + span);
}

function drawView() {
  const { width } = trackBox();
  const style = $("lanes").style;
  style.setProperty("--from", state.from);
  style.setProperty("--pps", width / (state.to - state.from));
  const whole = video().duration;
  const span = state.to - state.from;
  const zoomed = span < whole - 1e-9;
  $("pan").disabled = $("zoom-all").disabled = $("zoom-out").disabled = !zoomed;
  $("pan").max = Math.max(whole - span, 0.001);
  $("pan").step = span / 20;
  $("pan").value = state.from;
  $("pan").setAttribute("aria-valuetext", `${clock(state.from)} to ${clock(state.to)}`);
  drawAxis(width, span);
  drawPlayhead();
}

function drawAxis(width, span) {
  const wish = span / Math.max(1, Math.floor(width / 64));
  const step = STEPS.find((one) => one >= wish) ?? wish;
  const marks = [];
  for (let count = Math.ceil(state.from / step); count * step <= state.to + 1e-9; count += 1) {
    const time = count * step;
    const mark = element("span", { textContent: step < 1 ? clock(time) : clock(time).slice(0, -2) });
    const share = (time - state.from) / span;
    mark.style.left = `${100 * share}%`;
    // The first and the last stay within the lanes.
    mark.style.transform = `translateX(${share < 0.03 ? 0 : share > 0.97 ? -100 : -50}%)`;
    marks.push(mark);
  }
  $("axis").replaceChildren(...marks);
}

function drawPlayhead() {
  const place = (state.time - state.from) / (state.to - state.from);
  $("playhead").hidden = place < -0.001 || place > 1.001;
  $("playhead").style.left = `${$("axis").offsetLeft + place * $("axis").offsetWidth}px`;
}

function onWheel(event) {
  const sideways = event.shiftKey ? event.deltaY : event.deltaX;
  if (event.ctrlKey || event.metaKey) {
    event.preventDefault();
    zoom(Math.exp(-0.0025 * event.deltaY), timeAt(event.clientX));
  } else if (Math.abs(sideways) > 0 && (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))) {
    event.preventDefault();
    const shift = (sideways / trackBox().width) * (state.to - state.from);
    setView(state.from + shift, state.to + shift);
  }
}

// The axis itself can be dragged, to pan; a click on it seeks.
function dragAxis(event) {
  const begun = { x: event.clientX, from: state.from, to: state.to, moved: false };
  const move = (moved) => {
    begun.moved ||= Math.abs(moved.clientX - begun.x) > 3;
    const shift = ((begun.x - moved.clientX) / trackBox().width) * (begun.to - begun.from);
    if (begun.moved) setView(begun.from + shift, begun.to + shift);
  };
  const stop = (last) => {
    for (const [name, action] of [["pointermove", move], ["pointerup", stop], ["pointercancel", stop]])
      $("axis").removeEventListener(name, action);
    if (!begun.moved && last.type === "pointerup") seek(timeAt(last.clientX));
  };
  $("axis").setPointerCapture(event.pointerId);
  for (const [name, action] of [["pointermove", move], ["pointerup", stop], ["pointercancel", stop]])
    $("axis").addEventListener(name, action);
}

function keepUp() {
  const playing = !$("player").paused;
  if (playing && (state.time > state.to || state.time < state.from)) {
    setView(state.time - 0.05 * (state.to - state.from), state.time + 0.95 * (state.to - state.from));
  } else drawPlayhead();
}

export function startZoom() {
  $("zoom-in").addEventListener("click", () => zoom(2));
  $("zoom-out").addEventListener("click", () => zoom(0.5));
  $("zoom-all").addEventListener("click", showAll);
  $("pan").addEventListener("input", (event) => {
    const from = Number(event.target.value);
    setView(from, from + state.to - state.from);
  });
  $("lanes").addEventListener("wheel", onWheel, { passive: false });
  $("axis").addEventListener("pointerdown", dragAxis);
  on("video", showAll);
  on("view", drawView);
  on("time", keepUp);
  new ResizeObserver(() => { if (state.video >= 0) tell("view"); }).observe($("axis"));
}
