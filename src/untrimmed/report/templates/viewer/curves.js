// The model's own curves under the lanes, on the same stretch of time.
import { block, index, labelColour } from "./data.js";
import { $, element } from "./dom.js";
import { on, state } from "./state.js";
import { trackBox } from "./zoom.js";

const NAMED = new Map([["start", "#009e73"], ["end", "#d55e00"], ["action", "#0072b2"], ["attention", "#cc79a7"]]);
const OTHERS = 4; // class curves drawn at first, of the classes that occur in the video
const chosen = new Map(); // name -> whether it is drawn, as far as the reader has decided
let drawn = [];

const colourOf = (name) => NAMED.get(name) ?? labelColour(name);

function gather() {
  const sets = block(state.video).curves;
  drawn = sets.flatMap((one, set) =>
    one ? Object.entries(one.curves).map(([name, values]) => ({ name, values, set, start: one.start, step: one.step })) : []);
  const names = [...new Set(drawn.map((one) => one.name))];
  let classes = 0;
  const boxes = names.map((name) => {
    const first = NAMED.has(name) || !index.labels.includes(name) || (classes += 1) <= OTHERS;
    const input = element("input", { type: "checkbox", checked: chosen.get(name) ?? first });
    input.dataset.curve = name;
    input.addEventListener("change", () => { chosen.set(name, input.checked); draw(); });
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = colourOf(name);
    return element("label", {}, input, swatch, element("span", { textContent: name }));
  });
  $("curve-names").replaceChildren(...boxes);
  $("curves").hidden = $("curve-names").hidden = !drawn.length;
  draw();
}

function draw() {
  if (!drawn.length) return;
  const canvas = $("curve-canvas");
  const { width } = trackBox();
  const height = canvas.clientHeight;
  const dense = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(width * dense), Math.round(height * dense)];
  const pen = canvas.getContext("2d");
  pen.scale(dense, dense);
  const checked = new Set([...document.querySelectorAll("#curve-names input:checked")].map((one) => one.dataset.curve));
  const scale = width / (state.to - state.from);
  for (const curve of drawn) if (checked.has(curve.name) && !state.hiddenSets.has(curve.set)) trace(pen, curve, scale, width, height);
}

// Of the values that fall on one pixel the highest is drawn; value i stands at start + (i + 1/2) step.
function trace(pen, { values, start, step, name, set }, scale, width, height) {
  const first = Math.max(0, Math.floor((state.from - start) / step - 1));
  const last = Math.min(values.length - 1, Math.ceil((state.to - start) / step + 1));
  pen.beginPath();
  pen.strokeStyle = colourOf(name);
  pen.lineWidth = 1.5;
  pen.setLineDash(set ? [5, 3] : []);
  let column = -Infinity;
  let highest = 0;
  for (let at = first; at <= last; at += 1) {
    const x = (start + (at + 0.5) * step - state.from) * scale;
    highest = Math.floor(x) === column ? Math.max(highest, values[at]) : values[at];
    column = Math.floor(x);
    if (x >= -width && x <= 2 * width) pen.lineTo(x, 2 + (height - 4) * (1 - highest / 1000));
  }
  pen.stroke();
}

export function startCurves() {
  on("video", gather);
  on("view filter", () => { if (state.video >= 0) draw(); });
}
