// The list of videos: sorted by how badly they went, searched, and opened one by one. Rows are made as they are needed.
import { index } from "./data.js";
import { isEdited } from "./corrections.js";
import { $, announce, clock, counted, element } from "./dom.js";
import { on, state, tell } from "./state.js";

const CHUNK = 100;
let order = [];
let made = 0;

const ap = (one, set = 0) => one.sets[set]?.[0] ?? 2;
const gap = (one) => (one.sets.length > 1 && one.sets[0] && one.sets[1] ? Math.abs(ap(one, 0) - ap(one, 1)) : -1);
const SORTS = {
  worst: (a, b) => ap(a) - ap(b),
  missed: (a, b) => (b.sets[0]?.[1] ?? -1) - (a.sets[0]?.[1] ?? -1),
  false: (a, b) => (b.sets[0]?.[2] ?? -1) - (a.sets[0]?.[2] ?? -1),
  differ: (a, b) => gap(b) - gap(a),
  teach: (a, b) => b.teach - a.teach,
  name: (a, b) => a.id.localeCompare(b.id, undefined, { numeric: true }),
  file: () => 0,
};

function sortVideos() {
  const wanted = $("search").value.trim().toLowerCase();
  const compare = SORTS[$("sort").value];
  order = index.videos
    .map((_, number) => number)
    .filter((number) => index.videos[number].id.toLowerCase().includes(wanted))
    .sort((a, b) => compare(index.videos[a], index.videos[b]) || a - b);
  made = 0;
  $("list").replaceChildren();
  $("count").textContent = wanted ? `${order.length} of ${index.videos.length}` : counted(order.length, "video");
  addRows();
}

function addRows(upTo = made + CHUNK) {
  const rows = order.slice(made, upTo).map(rowOf);
  made += rows.length;
  $("list").append(...rows);
  $("more").hidden = made >= order.length;
  markRow();
}

function rowOf(number) {
  const one = index.videos[number];
  const went = one.sets.map((each, set) => {
    if (!each) return "";
    const letter = one.sets.length > 1 ? `${"AB"[set]} ` : "";
    return `${letter}AP ${each[0] === null ? "-" : each[0].toFixed(2)}, ${each[1]} missed, ${each[2]} false`;
  });
  const facts = [clock(one.duration).slice(0, -2), one.training ? "trained on" : "", ...went].filter(Boolean);
  const button = element("button", { type: "button", className: "video" },
    element("span", { className: "id", textContent: one.id }),
    ...facts.map((textContent) => element("span", { className: "facts", textContent })),
    element("span", { className: "mended", textContent: "" }));
  button.dataset.number = number;
  return element("li", {}, button);
}

function markRow() {
  for (const button of $("list").querySelectorAll("button")) {
    const number = Number(button.dataset.number);
    if (number === state.video) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    button.querySelector(".mended").textContent = isEdited(number) ? "corrected" : "";
  }
}

export function openVideo(number) {
  state.video = number;
  $("video-name").textContent = index.videos[number].id;
  $("video-name").title = index.videos[number].subset;
  tell("video");
  const at = order.indexOf(number);
  if (at >= made) addRows(at + CHUNK);
  markRow();
  const row = $("list").querySelector(`[data-number="${number}"]`)?.closest("li");
  // Only the list scrolls, not the page, which stays where the reader looks.
  if (row) $("list").scrollTop = Math.max(0, row.offsetTop - $("list").clientHeight / 2);
}

// The video after (1) or before (-1) the open one in the order of the list; false at its end.
export function stepVideo(step) {
  const next = order[order.indexOf(state.video) + step];
  if (next === undefined) {
    announce(step > 0 ? "This is the last video of the list." : "This is the first video of the list.");
    return false;
  }
  openVideo(next);
  return true;
}

export function startList() {
  $("search").addEventListener("input", sortVideos);
  $("sort").addEventListener("change", sortVideos);
  $("list").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) openVideo(Number(button.dataset.number));
  });
  $("more").addEventListener("click", () => addRows());
  const list = $("list");
  list.addEventListener("scroll", () => {
    if (made < order.length && list.scrollTop + 2 * list.clientHeight > list.scrollHeight) addRows();
  });
  $("previous").addEventListener("click", () => stepVideo(-1));
  $("next").addEventListener("click", () => stepVideo(1));
  on("edit", markRow);
  if (window.innerWidth < 900) $("videos").open = false;
  sortVideos();
  if (order.length) openVideo(order[0]);
}
