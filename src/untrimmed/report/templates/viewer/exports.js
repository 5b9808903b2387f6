// Corrections leave the page: as an annotation file, as an ELAN file, or through the server that gave out the page.
import { annotations, index } from "./data.js";
import { discard, edited, editsOf, isExported, isKept, markExported, table, truthOf } from "./corrections.js";
import { $, announce, counted, element } from "./dom.js";
import { fileOf } from "./player.js";
import { on, state, video } from "./state.js";

// The page knows times to the millisecond.
const same = (exact, rounded) => Math.abs(exact - rounded) < 0.00051;

// An entry of the file with a correction in it; null if it is deleted.
function mended(old, correction) {
  if (!correction) return null;
  const { label, start, end } = correction;
  const [first, last] = old.segment ?? [NaN, NaN];
  return { ...old, label, segment: [same(first, start) ? first : start, same(last, end) ? last : end] };
}

// The whole annotation file with the corrections in it. What was not touched keeps its exact numbers and further keys.
export function correctedAnnotations() {
  const content = annotations();
  content.database = table(content.database);
  for (const one of index.videos) {
    if (!(one.id in content.database) && (index.annotate || editsOf(one.id))) {
      content.database[one.id] = { subset: one.subset, ...(one.sure ? { duration: one.duration } : {}), annotations: [] };
    }
  }
  for (const id of edited()) {
    const entry = (content.database[id] ??= { annotations: [] });
    const changes = editsOf(id);
    const rows = (entry.annotations ?? []).map((old, row) => (row in changes ? mended(old, changes[row]) : old));
    const added = Object.keys(changes).filter((one) => one < 0).map((one) => mended({}, changes[one]));
    entry.annotations = [...rows, ...added].filter(Boolean).sort((a, b) => a.segment[0] - b.segment[0]);
  }
  return content;
}

const escapes = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const xml = (text) =>
  String(text).replace(/[^\t\n\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "").replace(/[&<>"]/g, (one) => escapes[one]);

// ELAN allows no overlap within a tier: overlapping instances are spread over several.
export function elanDocument(one, truth) {
  const tiers = [];
  for (const each of [...truth].sort((a, b) => a.start - b.start || a.end - b.end)) {
    let tier = tiers.find((other) => other.free <= Math.round(1000 * each.start));
    if (!tier) tiers.push((tier = { free: 0, rows: [] }));
    tier.rows.push(each);
    tier.free = Math.round(1000 * each.end);
  }
  const slots = [];
  const body = tiers.map((tier, number) => {
    const rows = tier.rows.map((each) => {
      const at = slots.length / 2 + 1;
      slots.push([Math.round(1000 * each.start), `ts${2 * at - 1}`], [Math.round(1000 * each.end), `ts${2 * at}`]);
      return `  <ANNOTATION>\n   <ALIGNABLE_ANNOTATION ANNOTATION_ID="a${at}" TIME_SLOT_REF1="ts${2 * at - 1}" TIME_SLOT_REF2="ts${2 * at}">\n`
        + `    <ANNOTATION_VALUE>${xml(each.label)}</ANNOTATION_VALUE>\n   </ALIGNABLE_ANNOTATION>\n  </ANNOTATION>\n`;
    });
    return ` <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="actions${number ? ` ${number + 1}` : ""}">\n${rows.join("")} </TIER>\n`;
  });
  slots.sort((a, b) => a[0] - b[0]);
  const order = slots.map(([time, slot]) => `  <TIME_SLOT TIME_SLOT_ID="${slot}" TIME_VALUE="${time}" />\n`).join("");
  // ELAN looks for the file beside the .eaf. Where its name does not say which video it is, a property does.
  const file = fileOf(one.source ?? "") || `${one.id}.mp4`;
  const kind = /\.(mp4|m4v)$/i.test(file) ? "video/mp4" : "video/*";
  const property = (name, value) => `  <PROPERTY NAME="untrimmed:${name}">${xml(value)}</PROPERTY>\n`;
  return '<?xml version="1.0" encoding="UTF-8"?>\n<ANNOTATION_DOCUMENT AUTHOR="" DATE="1970-01-01T00:00:00Z" FORMAT="3.0" VERSION="3.0">\n'
    + ' <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">\n'
    + `  <MEDIA_DESCRIPTOR MEDIA_URL="./${encodeURIComponent(file)}" MIME_TYPE="${kind}" />\n`
    + (file.replace(/\.[^.]*$/, "") !== one.id ? property("video", one.id) : "")
    + (one.subset ? property("subset", one.subset) : "") + (one.sure ? property("duration", one.duration) : "")
    + ` </HEADER>\n <TIME_ORDER>\n${order} </TIME_ORDER>\n${body.join("")}`
    + ' <LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true" />\n</ANNOTATION_DOCUMENT>\n';
}

function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const anchor = element("a", { href: url, download: name });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function exportJson() {
  download("corrected.json", `${JSON.stringify(correctedAnnotations())}\n`, "application/json");
  markExported();
  announce("Exported as corrected.json.");
}

function exportElan() {
  const name = `${video().id.replace(/[^\w.-]+/g, "_")}.eaf`;
  download(name, elanDocument(video(), truthOf(state.video)), "application/xml");
  announce(`This video is exported as ${name}.`);
}

async function saveToServer() {
  try {
    const answer = await fetch("/save", {
      method: "POST",
      headers: { "Content-Type": "application/json", "Untrimmed-Key": index.key },
      body: JSON.stringify(correctedAnnotations()),
    });
    const { file, error } = await answer.json();
    if (error) throw new Error(error);
    markExported();
    announce(`Saved to ${file}.`);
  } catch (problem) {
    announce(`Not saved: ${problem.message}`);
  }
}

function showWork() {
  const videos = edited().length;
  const where = isKept() ? "kept in this browser" : "NOT kept by this browser: export it before you close the page";
  $("work").textContent = !videos ? "No corrections yet."
    : `${counted(videos, "video")} corrected; ${isExported() ? "exported" : `not exported yet, ${where}`}.`;
  $("discard").disabled = !videos;
}

export function startExports() {
  $("export-json").addEventListener("click", exportJson);
  $("export-elan").addEventListener("click", exportElan);
  $("save")?.addEventListener("click", saveToServer);
  $("discard").addEventListener("click", () => {
    if (window.confirm("Discard all corrections in this browser? This cannot be undone.")) discard();
  });
  on("edit", showWork);
  showWork();
}
