// The video and the playhead: one follows the other.
import { $, clamp, clock } from "./dom.js";
import { state, tell, on, video } from "./state.js";

export const player = $("player");
const failed = new Set();

export const hasVideo = () => Boolean(video().source) && !failed.has(state.video);

function loadVideo() {
  player.pause();
  if (hasVideo()) player.src = video().source;
  else player.removeAttribute("src");
  showScreen();
  state.time = 0;
  tell("time");
}

function showScreen() {
  player.hidden = !hasVideo();
  $("no-video").hidden = hasVideo();
  $("play").disabled = !hasVideo();
}

export function seek(time) {
  state.time = clamp(time, 0, video().duration);
  if (hasVideo()) player.currentTime = state.time;
  tell("time");
}

export function playOrPause() {
  if (!hasVideo()) return;
  if (player.paused) player.play().catch(() => {});
  else player.pause();
}

function tick() {
  if (hasVideo() && player.readyState > 0) {
    state.time = player.currentTime;
    tell("time");
  }
  if (!player.paused) requestAnimationFrame(tick);
}

function showButton() {
  $("play").textContent = player.paused ? "Play" : "Pause";
}

export function startPlayer() {
  for (const event of ["play", "seeked", "timeupdate"]) player.addEventListener(event, tick);
  for (const event of ["play", "pause", "ended", "emptied"]) player.addEventListener(event, showButton);
  player.addEventListener("error", () => {
    if (!player.getAttribute("src")) return;
    failed.add(state.video);
    showScreen();
  });
  $("play").addEventListener("click", playOrPause);
  $("speed").addEventListener("change", (event) => { player.playbackRate = Number(event.target.value); });
  player.addEventListener("loadeddata", () => { player.playbackRate = Number($("speed").value); });
  on("video", loadVideo);
  on("time", () => { $("now").textContent = `${clock(state.time)} of ${clock(video().duration)}`; });
}
