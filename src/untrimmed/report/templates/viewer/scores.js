// The threshold slider, and precision and recall as it moves: of all videos, and of the open one.
import { fileTruth } from "./corrections.js";
import { index } from "./data.js";
import { $, element } from "./dom.js";
import { items, left, passes } from "./lanes.js";
import { on, placeOf, reaches, state, tell } from "./state.js";

const cuts = index.cuts;
// Videos that the model was trained on say nothing of how good it is.
const all = index.apart ? "All but training videos" : "All videos";
const share = (right, of) => (of ? (right / of).toFixed(3) : "-");

// True positives, false positives and instances of all videos, over the classes that are shown.
function overall(set) {
  const sweep = index.sweeps[set];
  const place = placeOf(state.threshold);
  const sum = { right: 0, wrong: 0, instances: 0 };
  sweep.labels.forEach((label, row) => {
    if (state.hiddenLabels.has(index.labels[label])) return;
    sum.right += sweep.right[row][place];
    sum.wrong += sweep.wrong[row][place];
    sum.instances += sweep.instances[row];
  });
  return sum;
}

// The same of the open video. Right is whatever found an instance, so that it counts even where it is not drawn.
function here(set) {
  const seen = (one) => !state.hiddenLabels.has(one.label);
  const wanted = fileTruth(state.video).filter((one) => one.finders.length && seen(one));
  const wrong = items().found.filter((one) => one.set === set && one.kind > 0 && reaches(one.score) && seen(one)).length;
  const more = left(set).filter((one) => one.kind > 0 && seen(one)).reduce((sum, one) => sum + one.count, 0);
  return { right: wanted.filter((one) => reaches(one.finders[set])).length, wrong: wrong + more, instances: wanted.length };
}

function row(title, { right, wrong, instances }) {
  const cells = [share(right, right + wrong), share(right, instances), wrong, instances - right];
  return element("tr", {}, element("th", { scope: "row", textContent: title }), ...cells.map((textContent) => element("td", { textContent })));
}

function showScores() {
  $("threshold-value").textContent = String(Number(state.threshold.toPrecision(3)));
  const { truth, found } = items();
  const visible = [...truth, ...found].filter(passes);
  const seen = visible.filter((one) => one.what === "found").length;
  const more = index.sets.flatMap((_, set) => left(set)).reduce((sum, one) => sum + one.count, 0);
  $("seen").textContent = !index.sets.length ? ""
    : `${seen} of ${found.length} detections shown${more ? `, ${more} more only counted` : ""}`;
  if (!index.scored) return;
  const rows = index.sets.flatMap((set, place) => {
    const letter = index.sets.length > 1 ? ` ${"AB"[place]}` : "";
    return [row(`This video${letter}`, here(place)), row(`${all}${letter}`, overall(place))];
  });
  $("live").replaceChildren(...rows);
}

export function startScores() {
  const slider = $("threshold");
  [slider.min, slider.max, slider.step] = [cuts[0], cuts[cuts.length - 1], cuts[1] - cuts[0]];
  state.threshold = cuts[placeOf(state.threshold)];
  slider.value = state.threshold;
  slider.addEventListener("input", () => {
    state.threshold = cuts[placeOf(Number(slider.value))];
    tell("threshold");
  });
  on("video threshold filter edit", showScores);
}
