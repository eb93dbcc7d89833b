// The conversation as the page shows it: what has come, what has gone and how it fared. As text, never as markup.

// What stays on show; older ones go.
const MAX_MESSAGES = 1_000;
const MAX_FRAMES = 200;
// Within this time, a further message from the same sender stands under the same name.
const GROUP_MS = 3 * 60_000;

// What the client says is for programmers. What the hub says is not in this list.
const NOT_SENT = {
  message_too_large: "it is too large",
  queue_full: "too much is waiting already",
  timeout: "there was no connection for too long",
  token_too_large: "the token is too large",
  signed_out: "the hub needs a new token",
  cannot_connect: "there is no connection",
};

const $ = (id) => document.getElementById(id);
const listed = new Intl.ListFormat("en", { type: "conjunction" });
const clock = { hour: "2-digit", minute: "2-digit" };
const day = { day: "numeric", month: "short" };

const EARLIER = "Earlier";
const NEW = "New";

let shownDay;
let part = { name: NEW }; // What the end of the conversation belongs to.
let isFollowing = true; // The end of the conversation is in view, and stays so.

function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** A colour of its own for each name. */
function tint(node, name) {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) % 360;
  node.style.setProperty("--hue", hash);
}

export function face(node, name) {
  node.textContent = [...name][0].toUpperCase();
  tint(node, name);
  return node;
}

/** A name within a sentence: in quotation marks where its own characters could be taken for the sentence's. */
function quoted(name) {
  return /^\w([\w.~:@+|-]*\w)?$/.test(name) ? name : `“${name}”`;
}

/** The time, with the date if that is another than today. */
function timeOf(at) {
  const now = new Date();
  if (at.toDateString() === now.toDateString()) return at.toLocaleTimeString(undefined, clock);
  const year = at.getFullYear() === now.getFullYear() ? {} : { year: "numeric" };
  return at.toLocaleString(undefined, { ...clock, ...day, ...year });
}

// A new day, by a clock that may have slept.
setInterval(() => {
  const today = new Date().toDateString();
  if (today === shownDay) return;
  shownDay = today;
  for (const time of $("log").querySelectorAll("time")) time.textContent = timeOf(new Date(time.dateTime));
}, 30_000);

function isAtEnd(list) {
  return list.scrollHeight - list.scrollTop - list.clientHeight < 80;
}

function toEnd(list) {
  list.scrollTop = list.scrollHeight;
}

function add(item) {
  const log = $("log");
  log.append(item);
  while (log.childElementCount > MAX_MESSAGES) log.firstElementChild.remove();
  $("empty").hidden = true;
  if (isFollowing || item.classList.contains("out")) keepUp();
  else $("newer").hidden = false;
}

/** To the end, but not past the beginning of what was missed. */
function keepUp() {
  const scroller = $("scroller");
  toEnd(scroller);
  if (!part.isMissed || part.line.getBoundingClientRect().top >= scroller.getBoundingClientRect().top) return;
  part.line.scrollIntoView();
  isFollowing = isAtEnd(scroller);
}

/** A line above what belongs together. A screen reader is told only of what was missed, and by this line alone. */
function divider(name) {
  const isQuiet = [EARLIER, NEW].includes(name);
  return element("li", { className: "divider", ariaLive: isQuiet ? "off" : "polite" }, name);
}

function begin(name) {
  if (name === part.name) return;
  part = { name, isMissed: name !== NEW, line: divider(name), count: 0 };
  add(part.line);
}

function bubble(direction, who, at, head, message, list = $("log")) {
  const text = typeof message === "string" ? message : JSON.stringify(message, null, 2);
  const body = element(typeof message === "string" ? "p" : "pre", { className: "bubble", dir: "auto" }, text);
  const time = element("time", { dateTime: at.toISOString(), title: at.toLocaleString() }, timeOf(at));
  const item = element("li", { className: direction }, element("p", { className: "head" }, head, " ", time), body);
  const before = list.lastElementChild;
  if (before?.dataset.who === `${direction} ${who}` && at - before.dataset.at < GROUP_MS) item.classList.add("more");
  item.dataset.who = `${direction} ${who}`;
  item.dataset.at = Number(at);
  return item;
}

function incoming({ from, message, sentAt }, answer, list) {
  const name = from ?? "backend";
  const onclick = () => answer(from);
  const head = from
    ? element("button", { type: "button", className: "name", title: `Write to ${from}`, onclick }, from)
    : element("strong", {}, name);
  tint(head, name);
  // A session may be named backend, but not with nothing.
  const item = bubble("in", from ?? "", sentAt, head, message, list);
  item.prepend(face(element("span", { className: "face", ariaHidden: "true" }), name));
  return item;
}

/** `answer` is called with the sender's name when that is clicked. `missed` says when that was, if the message was missed. */
export function showReceived(message, answer, missed = NEW) {
  begin(missed);
  const item = incoming(message, answer);
  if (part.isMissed) {
    item.ariaLive = "off";
    part.line.textContent = `${missed} · ${++part.count === 1 ? "1 message" : `${part.count} messages`}`;
  }
  add(item);
}

/** What came before everything else that is shown. */
export function showEarlier(messages, answer) {
  if (!messages.length) return;
  const list = new DocumentFragment();
  list.append(divider(EARLIER));
  for (const message of messages) {
    const item = incoming(message, answer, list);
    item.ariaLive = "off";
    list.append(item);
  }
  if ($("log").hasChildNodes()) list.append(divider(NEW));
  else part = { name: EARLIER };
  $("log").prepend(list);
  $("empty").hidden = true;
  if (isFollowing) toEnd($("scroller"));
}

/** Returns the line below the message, which says how it fares. */
export function showSent(sessions, text) {
  begin(NEW);
  const head = element("span", {}, `to ${listed.format(sessions.map(quoted))}`);
  const item = bubble("out", sessions.join(" "), new Date(), head, text);
  const status = element("p", { className: "status" });
  item.append(status);
  add(item);
  return status;
}

export function showReceipt(status, receipt) {
  status.dataset.state = receipt.reachedAll ? "all" : receipt.delivered ? "some" : "none";
  status.textContent = inWords(receipt);
}

export function showFailure(status, error, repeat) {
  status.dataset.state = "failed";
  const why = NOT_SENT[error.code] ?? error.message;
  const what = error.mayHaveArrived ? "No answer; it may have arrived." : `Not sent: ${why}.`;
  status.replaceChildren(`${what} `, element("button", { type: "button", onclick: repeat }, "Send again"));
}

/** "Delivered to bob and carol (2). Not reached: carol (1). Nobody is there as dave." */
function inWords({ sessions }) {
  const isWhole = ({ failed, complete }) => !failed && complete !== false;
  const name = (session, count) => quoted(session) + (count ? ` (${count})` : "");
  const phrase = (words, chosen, count = () => 0) => {
    const names = sessions.filter(chosen).map((session) => name(session.session, count(session)));
    return names.length ? [`${words} ${listed.format(names)}`] : [];
  };
  return [
    ...phrase(
      "Delivered to",
      ({ delivered }) => delivered,
      ({ delivered }) => delivered > 1 && delivered,
    ),
    ...phrase(
      "Not reached:",
      ({ failed }) => failed,
      ({ failed }) => failed,
    ),
    ...phrase("Perhaps not everybody was reached as", ({ failed, complete }) => !failed && complete === false),
    ...phrase("Nobody is there as", (session) => !session.delivered && isWhole(session)),
  ].join(". ");
}

export function showNotice(text, missed) {
  if (missed) begin(missed);
  add(element("li", { className: "notice" }, text));
}

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
  for (const id of ["log", "frame-list", "stats"]) $(id).replaceChildren();
  part = { name: NEW };
  $("empty").hidden = false;
  $("newer").hidden = true;
}

$("newer").onclick = () => toEnd($("scroller"));
$("scroller").onscroll = () => {
  isFollowing = isAtEnd($("scroller"));
  if (isFollowing) $("newer").hidden = true;
};
// A keyboard comes up, a line of trouble, or a receipt.
const sizes = new ResizeObserver(() => isFollowing && toEnd($("scroller")));
for (const id of ["scroller", "log"]) sizes.observe($(id));
$("show-frames").onclick = () => {
  const open = $("frames").hidden;
  $("frames").hidden = !open;
  $("show-frames").setAttribute("aria-expanded", String(open));
  toEnd($("frame-list"));
};
$("clear-frames").onclick = () => $("frame-list").replaceChildren();
