// Small helpers. Names out of files only ever become text, never markup.
export const $ = (id) => document.getElementById(id);

export function element(kind, properties = {}, ...children) {
  const made = Object.assign(document.createElement(kind), properties);
  made.append(...children);
  return made;
}

export function clock(seconds) {
  const tenths = Math.round(10 * Math.max(seconds, 0));
  const minutes = Math.floor(tenths / 600);
  const rest = ((tenths - 600 * minutes) / 10).toFixed(1).padStart(4, "0");
  if (minutes < 60) return `${minutes}:${rest}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
export const round = (seconds) => Math.round(1000 * seconds) / 1000;
export const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : noun.endsWith("s") ? "es" : "s"}`;

// Something to be heard by a screen reader and read at the foot of the lanes.
export function announce(text) {
  $("said").textContent = text;
}
