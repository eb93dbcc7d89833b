// The panel of raw frames, for debugging.

import { $, element, isAtEnd, toEnd } from "./dom.js";

const MAX_FRAMES = 200;

export function showFrame({ direction, connection, data }) {
  const time = new Date().toTimeString().slice(0, 8);
  const arrow = element("strong", {}, direction === "in" ? "← in" : "→ out");
  const list = $("frame-list");
  const following = isAtEnd(list);
  list.append(
    element("li", {}, element("p", {}, arrow, ` ${time} · connection ${connection}`), element("code", {}, data)),
  );
  if (list.childElementCount > MAX_FRAMES) list.firstElementChild.remove();
  if (following) toEnd(list);
}

export function showStats({ rtt, resent, duplicates }) {
  const facts = [
    rtt !== null && `ping ${Math.ceil(rtt)} ms`,
    resent && `${resent} sent again`,
    duplicates && `${duplicates} came twice`,
  ];
  $("stats").textContent = facts.filter(Boolean).join(" · ");
}

export function clear() {
  for (const id of ["frame-list", "stats"]) $(id).replaceChildren();
}

$("show-frames").onclick = () => {
  const open = $("frames").hidden;
  $("frames").hidden = !open;
  $("show-frames").setAttribute("aria-expanded", String(open));
  toEnd($("frame-list"));
};
$("clear-frames").onclick = () => $("frame-list").replaceChildren();
