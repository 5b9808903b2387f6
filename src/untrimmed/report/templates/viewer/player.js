// The video and the playhead: one follows the other.
import { $, clamp, clock } from "./dom.js";
import { state, tell, on, video } from "./state.js";

export const player = $("player");
const failed = new Set();
let pending = 0; // the one animation frame that is asked for while the video plays

export const hasVideo = () => Boolean(video().source) && !failed.has(state.video);

function loadVideo() {
  player.pause();
  if (hasVideo()) player.src = video().source;
  else player.removeAttribute("src");
  showScreen();
  state.time = 0;
  tell("time");
}

// The name of the file behind a URL; empty if its content is inside the page.
export function fileOf(source) {
  if (source.startsWith("data:")) return "";
  const name = source.slice(source.lastIndexOf("/") + 1);
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // bytes that are no UTF-8 text
  }
}

function showScreen() {
  player.hidden = !hasVideo();
  $("no-video").hidden = hasVideo();
  $("no-video").textContent = failed.has(state.video)
    ? `The video cannot be loaded or played: ${fileOf(video().source) || "the one in this page"}. Is it still there? If so, convert it to mp4 (H.264).`
    : "No video file is linked. The times below hold all the same.";
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

// Several events of the player call this besides the frame itself; none may begin a second run of frames.
function tick() {
  if (hasVideo() && player.readyState > 0) {
    state.time = player.currentTime;
    tell("time");
  }
  cancelAnimationFrame(pending);
  pending = player.paused ? 0 : requestAnimationFrame(tick);
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
