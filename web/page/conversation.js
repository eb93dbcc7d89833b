// A session's messages as the page shows them: received ones, and sent ones with their status. As text, never as markup.

import { $, element, isAtEnd, toEnd } from "./dom.js";

// Older messages are removed.
const MAX_MESSAGES = 1_000;
// Within this time, a further message from the same sender stands under the same name.
const GROUP_MS = 3 * 60_000;

// The client's own errors in words for users. Errors of the hub are shown with its text.
const NOT_SENT = {
  message_too_large: "it is too large",
  queue_full: "too much is waiting already",
  timeout: "there was no connection for too long",
  token_too_large: "the token is too large",
  signed_out: "the hub needs a new token",
  cannot_connect: "there is no connection",
};

const listed = new Intl.ListFormat("en", { type: "conjunction" });
const clock = { hour: "2-digit", minute: "2-digit" };
const day = { day: "numeric", month: "short" };

const EARLIER = "Earlier";
const NEW = "New";

let shownDay;
let shown; // The conversation in view.

/** Each name has a colour. */
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

/** A name within a sentence: in quotation marks if its characters could be read as punctuation. */
export function quoted(name) {
  return /^\w([\w.~:@+|-]*\w)?$/.test(name) ? name : `“${name}”`;
}

/** The time, with the date if it is not today. */
function timeOf(at) {
  const now = new Date();
  if (at.toDateString() === now.toDateString()) return at.toLocaleTimeString(undefined, clock);
  const year = at.getFullYear() === now.getFullYear() ? {} : { year: "numeric" };
  return at.toLocaleString(undefined, { ...clock, ...day, ...year });
}

// At a new day, all times need a date. Timers may be late after sleep.
setInterval(() => {
  const today = new Date().toDateString();
  if (today === shownDay) return;
  shownDay = today;
  for (const time of document.querySelectorAll(".log time")) time.textContent = timeOf(new Date(time.dateTime));
}, 30_000);

/** A line above a group of messages. Of missed messages, screen readers announce this line alone. */
function divider(name) {
  const isQuiet = [EARLIER, NEW].includes(name);
  return element("li", { className: "divider", ariaLive: isQuiet ? "off" : "polite" }, name);
}

function bubble(direction, who, at, head, message, list) {
  const text = typeof message === "string" ? message : JSON.stringify(message, null, 2);
  const body = element(typeof message === "string" ? "p" : "pre", { className: "bubble", dir: "auto" }, text);
  const time = element("time", { dateTime: at.toISOString(), title: at.toLocaleString() }, timeOf(at));
  const item = element("li", { className: direction }, element("p", { className: "head" }, ...head, " ", time), body);
  const before = list.lastElementChild;
  if (before?.dataset.who === `${direction} ${who}` && at - before.dataset.at < GROUP_MS) item.classList.add("more");
  item.dataset.who = `${direction} ${who}`;
  item.dataset.at = Number(at);
  return item;
}

export class Conversation {
  #isRoom;
  #answer;
  #list = element("ol");
  #log;
  #part = { name: NEW }; // The group at the end.
  #isFollowing = true; // The end stays in view.
  #hasNewer = false;
  #top = 0; // How far it is scrolled.

  /** `answer` is called with a sender's name when that is clicked. */
  constructor(label, isRoom, answer) {
    this.#isRoom = isRoom;
    this.#answer = answer;
    this.#log = element("div", { className: "log", role: "log", ariaLabel: label, hidden: true }, this.#list);
    $("scroller").append(this.#log);
    sizes.observe(this.#log);
  }

  /** Replaces the conversation in view. */
  show() {
    if (shown) shown.#log.hidden = true;
    shown = this;
    this.#log.hidden = false;
    $("empty").hidden = this.#list.hasChildNodes();
    this.#say(this.#hasNewer);
    if (this.#isFollowing) this.#keepUp();
    else $("scroller").scrollTop = this.#top;
  }

  remove() {
    sizes.unobserve(this.#log);
    this.#log.remove();
  }

  /** `missed` is the heading for messages that were missed. */
  showReceived(message, missed = NEW) {
    this.#begin(missed);
    const item = this.#incoming(message, this.#list);
    const part = this.#part;
    if (part.isMissed) {
      item.ariaLive = "off";
      part.line.textContent = `${missed} · ${++part.count === 1 ? "1 message" : `${part.count} messages`}`;
    }
    this.#add(item);
  }

  /** Shows messages above all others. */
  showEarlier(messages) {
    if (!messages.length) return;
    const list = new DocumentFragment();
    list.append(divider(EARLIER));
    for (const message of messages) {
      const item = this.#incoming(message, list);
      item.ariaLive = "off";
      list.append(item);
    }
    if (this.#list.hasChildNodes()) list.append(divider(NEW));
    else this.#part = { name: EARLIER };
    this.#list.prepend(list);
    if (this !== shown) return;
    $("empty").hidden = true;
    if (this.#isFollowing) toEnd($("scroller"));
  }

  /** Returns the line below the message, for its status. */
  showSent(sessions, text) {
    this.#begin(NEW);
    const head = `to ${listed.format(sessions.map(quoted))}`;
    const item = bubble("out", sessions.join(" "), new Date(), [head], text, this.#list);
    const status = element("p", { className: "status" });
    item.append(status);
    this.#add(item);
    return status;
  }

  showNotice(text, missed) {
    if (missed) this.#begin(missed);
    this.#add(element("li", { className: "notice" }, text));
  }

  scrolled() {
    this.#top = $("scroller").scrollTop;
    this.#isFollowing = isAtEnd($("scroller"));
    if (this.#isFollowing) this.#say(false);
  }

  resized() {
    if (this.#isFollowing) toEnd($("scroller"));
  }

  #incoming({ from, session, message, sentAt }, list) {
    const name = from ?? "backend";
    const onclick = () => this.#answer(from);
    const who = from
      ? element("button", { type: "button", className: "name", title: `Write to ${from}`, onclick }, from)
      : element("strong", {}, name);
    tint(who, name);
    const head = this.#isRoom ? [who, ` to ${quoted(session)}`] : [who];
    // A session may be named "backend", but its name is never empty.
    const item = bubble("in", from ?? "", sentAt, head, message, list);
    item.prepend(face(element("span", { className: "face", ariaHidden: "true" }), name));
    return item;
  }

  #begin(name) {
    if (name === this.#part.name) return;
    this.#part = { name, isMissed: name !== NEW, line: divider(name), count: 0 };
    this.#add(this.#part.line);
  }

  #add(item) {
    const list = this.#list;
    list.append(item);
    while (list.childElementCount > MAX_MESSAGES) list.firstElementChild.remove();
    const isOurs = item.classList.contains("out");
    if (this === shown) $("empty").hidden = true;
    if (this === shown && (this.#isFollowing || isOurs)) this.#keepUp();
    else if (!this.#isFollowing) this.#say(true);
  }

  /** Scrolls to the end, but not past the first missed message. */
  #keepUp() {
    const scroller = $("scroller");
    const { isMissed, line } = this.#part;
    toEnd(scroller);
    if (!isMissed || line.getBoundingClientRect().top >= scroller.getBoundingClientRect().top) return;
    line.scrollIntoView();
    this.#isFollowing = isAtEnd(scroller);
    this.#say(!this.#isFollowing);
  }

  #say(hasNewer) {
    this.#hasNewer = hasNewer;
    if (this === shown) $("newer").hidden = !hasNewer;
  }
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

/** "Delivered to bob and carol (2). Not reached: carol (1). No one is connected as dave." */
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
    ...phrase("Perhaps not every connection was reached as", ({ failed, complete }) => !failed && complete === false),
    ...phrase("No one is connected as", (session) => !session.delivered && isWhole(session)),
  ].join(". ");
}

$("newer").onclick = () => toEnd($("scroller"));
$("scroller").onscroll = () => shown?.scrolled();
// The view shrinks for a keyboard or a message about the connection; the log grows with each receipt.
const sizes = new ResizeObserver(() => shown?.resized());
sizes.observe($("scroller"));
