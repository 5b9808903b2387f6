"use strict";
// One video at a time: a lane per class, the truth above the detections, a playhead that follows the video.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const player = $("player");
const state = { video: 0, threshold: data.threshold, hidden: new Set(), time: 0, buttons: [] };

const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8f6bc9", "#7a9a01"];
const colour = (label) =>
  label < PALETTE.length ? PALETTE[label] : `hsl(${(label * 137.508) % 360} 60% ${label % 2 ? 42 : 56}%)`;

function clock(seconds) {
  const whole = Math.floor(seconds / 60);
  const rest = (seconds - 60 * whole).toFixed(1).padStart(4, "0");
  return `${whole}:${rest}`;
}

function element(kind, properties = {}, ...children) {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(...children);
  return made;
}

function buildControls() {
  data.videos.forEach((video, index) => $("video-choice").append(element("option", { value: index, textContent: video.id })));
  $("video-choice").addEventListener("change", (event) => show(Number(event.target.value)));
  $("previous").addEventListener("click", () => show((state.video + data.videos.length - 1) % data.videos.length));
  $("next").addEventListener("click", () => show((state.video + 1) % data.videos.length));
  $("threshold").value = state.threshold;
  $("threshold").addEventListener("input", (event) => { state.threshold = Number(event.target.value); drawLanes(); });
  data.labels.forEach((name, label) => {
    const box = element("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      if (box.checked) state.hidden.delete(label); else state.hidden.add(label);
      drawLanes();
    });
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = colour(label);
    $("classes").append(element("label", {}, box, swatch, name));
  });
}

function show(index) {
  state.video = index;
  const video = data.videos[index];
  $("video-choice").value = index;
  player.hidden = !video.source;
  $("no-video").hidden = Boolean(video.source);
  if (video.source) player.src = video.source; else player.removeAttribute("src");
  state.time = 0;
  drawAxis();
  drawLanes();
}

// Detections that overlap in time are put below each other, as many as there is room for.
function stack(found) {
  const ends = [];
  return found.map((item) => {
    let level = ends.findIndex((end) => end <= item[1]);
    if (level < 0) level = ends.length < 4 ? ends.push(0) - 1 : 3;
    ends[level] = Math.max(ends[level], item[2]);
    return level;
  });
}

function bar(video, kind, [label, start, end, score], top) {
  const says = `${data.labels[label]}, ${clock(start)} to ${clock(end)}` + (score === undefined ? ", truth" : `, score ${score.toFixed(3)}`);
  const button = element("button", { type: "button", className: kind, title: says });
  button.setAttribute("aria-label", says);
  button.style.left = `${(100 * start) / video.duration}%`;
  button.style.width = `${(100 * Math.max(end - start, 0)) / video.duration}%`;
  button.style.top = `${top}px`;
  button.style.setProperty("--color", colour(label));
  if (score !== undefined) button.style.setProperty("--fill", `${Math.round(15 + 85 * Math.min(Math.max(score, 0), 1))}%`);
  button.addEventListener("click", (event) => { event.stopPropagation(); seek(start); });
  state.buttons.push([button, start, end]);
  return button;
}

function drawLanes() {
  const video = data.videos[state.video];
  const kept = video.detections.filter((item) => item[3] >= state.threshold);
  $("threshold-value").textContent = state.threshold.toFixed(2);
  state.buttons = [];
  const rows = [];
  data.labels.forEach((name, label) => {
    const truth = video.truth.filter((item) => item[0] === label);
    const found = kept.filter((item) => item[0] === label).sort((a, b) => a[1] - b[1]);
    if (state.hidden.has(label) || truth.length + found.length === 0) return;
    const levels = stack(found);
    const track = element("div", { className: "track" });
    const first = data.has_truth ? 17 : 4;
    track.style.height = `${first + 14 * (1 + Math.max(0, ...levels))}px`;
    truth.forEach((item) => track.append(bar(video, "truth", item, 4)));
    found.forEach((item, index) => track.append(bar(video, "found", item, first + 14 * levels[index])));
    track.addEventListener("click", (event) => {
      const box = track.getBoundingClientRect();
      seek(((event.clientX - box.left) / box.width) * video.duration);
    });
    rows.push(element("div", { className: "row" }, element("div", { className: "name", textContent: name }), track));
  });
  if (!rows.length) rows.push(element("p", { className: "hint", textContent: "Nothing to show here: lower the score, or choose more classes." }));
  $("rows").replaceChildren(...rows);
  follow();
}

function drawAxis() {
  const video = data.videos[state.video];
  const wish = video.duration / Math.max(1, Math.floor($("axis").offsetWidth / 64));
  const step = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200].find((s) => s >= wish) || wish;
  const marks = [];
  for (let time = 0; time <= video.duration; time += step) marks.push(time);
  $("axis").replaceChildren(...marks.map((time) => {
    const mark = element("span", { textContent: step < 1 ? clock(time) : clock(time).slice(0, -2) });
    mark.style.left = `${(100 * time) / video.duration}%`;
    return mark;
  }));
}

function seek(time) {
  state.time = time;
  if (data.videos[state.video].source) player.currentTime = time;
  follow();
}

function follow() {
  const video = data.videos[state.video];
  const axis = $("axis");
  $("playhead").style.left = `${axis.offsetLeft + (axis.offsetWidth * Math.min(state.time, video.duration)) / video.duration}px`;
  $("now").textContent = `${clock(state.time)} of ${clock(video.duration)}`;
  for (const [button, start, end] of state.buttons) button.classList.toggle("here", start <= state.time && state.time < end);
}

function tick() {
  if (!player.hidden && player.readyState > 0) { state.time = player.currentTime; follow(); }
  if (!player.paused) requestAnimationFrame(tick);
}
["play", "seeked", "timeupdate"].forEach((event) => player.addEventListener(event, tick));
player.addEventListener("error", () => {
  if (!data.videos[state.video].source) return;
  player.hidden = true;
  $("no-video").hidden = false;
});
window.addEventListener("resize", () => { drawAxis(); follow(); });

buildControls();
if (data.videos.length) show(0);
