// The parts, in the order in which they hear of a change: what lies in time first, then what is drawn on it.
import { startCurves } from "./curves.js";
import { index } from "./data.js";
import { $ } from "./dom.js";
import { startDrag } from "./drag.js";
import { startExports } from "./exports.js";
import { startFilters } from "./filters.js";
import { startInspector } from "./inspector.js";
import { startKeys } from "./keys.js";
import { startLanes } from "./lanes.js";
import { startList } from "./list.js";
import { startPlayer } from "./player.js";
import { startScores } from "./scores.js";
import { startZoom } from "./zoom.js";

if (index.videos.length) {
  startPlayer();
  startZoom();
  startScores();
  startLanes();
  startCurves();
  startFilters();
  startInspector();
  startDrag();
  startExports();
  startKeys();
  startList();
} else {
  $("bench").hidden = true;
  $("nothing").hidden = false;
}
document.documentElement.dataset.ready = "true";
