// The page: joins a hub as one session, and shows what comes, what goes and how it fared. As text, never as markup.

import { HubClient } from "./hub-client.js";

// What the page keeps on show; older ones go.
const MAX_MESSAGES = 1_000;
const MAX_FRAMES = 200;
// Within this time, a further message from the same sender stands under the same name.
const GROUP_MS = 3 * 60_000;

const $ = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
});
const listed = new Intl.ListFormat("en", { type: "conjunction" });

let hub = null;
let wasOpen = false;
let tokenEnded = false;
let unread = 0;
let countdown;
/** Ids of what this tab has sent: where it names its own session, it comes back too. */
let mine = new Set();

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

/** A name within a sentence: in quotation marks where its own characters could be taken for the sentence's. */
function quoted(name) {
  return /^\w([\w.~:@+|-]*\w)?$/.test(name) ? name : `“${name}”`;
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}

function face(node, name) {
  node.textContent = [...name][0].toUpperCase();
  tint(node, name);
  return node;
}

// Joining and leaving

function show(view) {
  for (const id of ["unserved", "join", "chat"]) $(id).hidden = id !== view;
}

function address(parameters) {
  const page = new URL(location.pathname, location.href);
  for (const [name, value] of Object.entries(parameters)) if (value) page.searchParams.set(name, value);
  return page.href;
}

function join(url, session, token, to) {
  // An address that was copied from a program may hold what belongs into no address bar.
  if (URL.canParse(url)) {
    const bare = new URL(url);
    token ||= bare.searchParams.get("token") ?? "";
    for (const name of ["token", "session_id"]) bare.searchParams.delete(name);
    url = bare.href;
  }
  token = token.trim();
  try {
    // Copied over several lines, say.
    if (/[^!-~]/.test(token)) throw new TypeError("token must be one line of visible ASCII characters: copy it whole");
    hub = new HubClient(url, { session, token });
  } catch ({ message }) {
    offer(url, session, token);
    $("join-error").textContent = sentence(message);
    $(["session", "token"].find((id) => message.startsWith(id)) ?? "url").focus();
    return;
  }
  $("token").value = "";
  const host = new URL(url).host;
  face($("me-face"), session);
  $("me").textContent = session;
  $("host").textContent = host;
  $("to").value = to;
  for (const id of ["another", "another-too"]) $(id).href = address({ url, to: session });
  $("log").replaceChildren();
  $("frame-list").replaceChildren();
  $("empty").hidden = false;
  mine = new Set();
  wasOpen = tokenEnded = false;
  unread = 0;
  title();
  remember();
  show("chat");
  $(to ? "text" : "to").focus();

  hub.addEventListener("open", () => {
    tokenEnded = false;
    state("open", "Connected");
  });
  hub.addEventListener("reconnecting", ({ delay, reason }) => {
    state("reconnecting", "Reconnecting");
    trouble(host, delay, reason);
  });
  hub.addEventListener("refused", ({ refused }) => {
    $("trouble-what").textContent = `The hub has turned this token away ${refused} times:`;
    $("trouble-why").textContent = "it may have expired, or not cover this session. Or the hub is out of reach.";
    offerToken(true);
  });
  hub.addEventListener("failed", ({ error }) => {
    const what = error.code === "signed_out" ? "Signed out" : "Token too large";
    state("failed", what);
    $("trouble-what").textContent = `${what}.`;
    $("trouble-why").textContent = sentence(error.message);
    $("trouble-when").textContent = "";
  });
  hub.addEventListener("message", received);
  hub.addEventListener("error", ({ error }) => {
    // These come with `reconnecting`, which says more.
    if (!["connect_failed", "token_failed"].includes(error.code))
      add(element("li", { className: "notice" }, error.message));
  });
  hub.addEventListener("frame", frame);
  state("connecting", "Connecting");
}

function leave() {
  const [url, { session }] = [new URL(location).searchParams.get("url"), hub];
  hub.close();
  hub = null;
  clearInterval(countdown);
  history.replaceState(null, "", address({ url }));
  document.title = "Hub";
  offer(url, session);
}

function offer(url, session, token = "") {
  $("url").value = url ?? "";
  $("session").value = session ?? "";
  $("token").value = token;
  $("join-error").textContent = "";
  show("join");
  $(url ? "session" : "url").focus();
}

/** Keeps the address bar such that it can be shared or reloaded. The token is never part of it. */
function remember() {
  const url = new URL($("another").href).searchParams.get("url");
  history.replaceState(null, "", address({ url, session: hub.session, to: recipients().join(" ") }));
}

// Connection

function state(name, text) {
  $("state").dataset.state = name;
  $("state-text").textContent = text;
  $("trouble").hidden = !["reconnecting", "failed"].includes(name);
  $("retry-now").hidden = name === "failed";
  offerToken(name === "failed");
  wasOpen ||= name === "open";
  clearInterval(countdown);
  for (const waiting of document.querySelectorAll(".status[data-state=sending]")) waiting.textContent = sending();
}

function offerToken(offered) {
  $("join-again").hidden = !offered;
}

function trouble(host, delay, reason) {
  // The only one that this page had: what comes after it is refused.
  tokenEnded ||= reason === "the token has ended";
  offerToken(tokenEnded || !wasOpen);
  if (tokenEnded) {
    $("trouble-what").textContent = "The token has ended.";
    $("trouble-why").textContent = "Join again with a new one.";
  } else if (wasOpen) {
    $("trouble-what").textContent = "The connection is lost.";
    $("trouble-why").textContent = "What you write now is sent when it is back.";
  } else {
    $("trouble-what").textContent = `${host} does not let us in, or cannot be reached.`;
    $("trouble-why").textContent = `Does the hub ask for a token, and is the address right? (${reason})`;
  }
  const next = Date.now() + delay;
  const tell = () => {
    const seconds = Math.ceil((next - Date.now()) / 1000);
    $("trouble-when").textContent = seconds > 0 ? `Next try in ${seconds} s.` : "Trying…";
  };
  tell();
  countdown = setInterval(tell, 250);
}

// Messages

function add(item) {
  const scroller = $("scroller");
  const following = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
  const log = $("log");
  log.append(item);
  if (log.childElementCount > MAX_MESSAGES) log.firstElementChild.remove();
  $("empty").hidden = true;
  if (following || item.classList.contains("out")) scroller.scrollTop = scroller.scrollHeight;
  else $("newer").hidden = false;
  return item;
}

function bubble(direction, who, at, head, message) {
  const text = typeof message === "string" ? message : JSON.stringify(message, null, 2);
  const body = element(typeof message === "string" ? "p" : "pre", { className: "bubble", dir: "auto" }, text);
  const time = element("time", { dateTime: at.toISOString(), title: at.toLocaleString() }, clock.format(at));
  const item = element("li", { className: direction }, element("p", { className: "head" }, head, " ", time), body);
  const before = $("log").lastElementChild;
  if (before?.dataset.who === `${direction} ${who}` && at - before.dataset.at < GROUP_MS) item.classList.add("more");
  item.dataset.who = `${direction} ${who}`;
  item.dataset.at = Number(at);
  return item;
}

function received({ id, from, message, sentAt }) {
  if (mine.has(id) && from === hub.session) return;
  const name = from ?? "backend";
  let head = element("strong", {}, name);
  if (from) {
    head = element("button", { type: "button", className: "name", title: `Write to ${from}` }, from);
    head.onclick = () => {
      $("to").value = from;
      remember();
      $("text").focus();
    };
  }
  tint(head, name);
  // A session may be named backend, but not with nothing.
  const item = bubble("in", from ?? "", sentAt, head, message);
  item.prepend(face(element("span", { className: "face", ariaHidden: "true" }), name));
  add(item);
  if (from && !$("to").value) {
    $("to").value = from;
    // Whoever was about to type a name types over this one.
    if (document.activeElement === $("to")) $("to").select();
    remember();
  }
  if (document.hidden) {
    unread++;
    title();
  }
}

function title() {
  document.title = `${unread ? `(${unread}) ` : ""}${hub.session} · Hub`;
}

function recipients() {
  return $("to").value.split(/\s+/).filter(Boolean);
}

function compose() {
  const to = $("to");
  const text = $("text");
  const problem = !to.value.trim()
    ? "Say whom to write to: one or more sessions."
    : to.validity.patternMismatch
      ? 'A session is named with up to 128 visible ASCII characters, without * " and \\. Separate several by spaces.'
      : "";
  $("to-error").textContent = problem;
  to.setAttribute("aria-invalid", String(Boolean(problem)));
  if (problem) {
    to.focus();
    return;
  }
  if (!text.value.trim()) return;
  send(recipients(), text.value);
  text.value = "";
  text.focus();
  remember();
}

function send(sessions, text) {
  const id = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");
  mine.add(id);
  const head = element("span", {}, `to ${listed.format(sessions.map(quoted))}`);
  const item = bubble("out", sessions.join(" "), new Date(), head, text);
  const status = element("p", { className: "status" });
  item.append(status);

  const attempt = async () => {
    status.dataset.state = "sending";
    status.textContent = sending();
    try {
      const receipt = await hub.send(sessions, text, { id });
      status.dataset.state = receipt.delivered && !receipt.failed ? "delivered" : "nobody";
      status.textContent = outcome(receipt);
    } catch (error) {
      status.dataset.state = "failed";
      const again = element("button", { type: "button" }, "Send again");
      // The same id: whoever did get it drops the repetition.
      again.onclick = () => void attempt();
      status.replaceChildren(
        error.code === "timeout" ? "No answer; it may have arrived. " : `Not sent: ${error.message}. `,
        again,
      );
    }
  };
  void attempt();
  add(item);
}

function sending() {
  return hub.state === "open" ? "Sending…" : "Waits for the connection";
}

/** A receipt in words: "Delivered to bob and carol (2). Nobody is there as dave. 1 failed." */
function outcome({ sessions, failed }) {
  const reached = sessions.filter(({ delivered }) => delivered);
  const empty = sessions.filter(({ delivered, failed }) => !delivered && !failed);
  const name = ({ session, delivered }) => quoted(session) + (delivered > 1 ? ` (${delivered})` : "");
  const names = (list) => listed.format(list.map(name));
  return [
    reached.length && `Delivered to ${names(reached)}`,
    empty.length && `Nobody is there as ${names(empty)}`,
    failed && `${failed} failed`,
  ]
    .filter(Boolean)
    .join(". ");
}

function frame({ direction, connection, data }) {
  const now = new Date();
  const time = now.toTimeString().slice(0, 8);
  const arrow = element("strong", {}, direction === "in" ? "← in" : "→ out");
  const list = $("frame-list");
  const following = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(
    element("li", {}, element("p", {}, arrow, ` ${time} · connection ${connection}`), element("code", {}, data)),
  );
  if (list.childElementCount > MAX_FRAMES) list.firstElementChild.remove();
  if (following) list.scrollTop = list.scrollHeight;
}

// Wiring

$("join-form").onsubmit = (event) => {
  event.preventDefault();
  const to = new URL(location).searchParams.get("to") ?? "";
  join($("url").value.trim(), $("session").value.trim(), $("token").value, to);
};
$("compose").onsubmit = (event) => {
  event.preventDefault();
  compose();
};
$("text").onkeydown = (event) => {
  // A keypress that ends the composition of a character sends nothing.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  compose();
};
$("to").onchange = remember;
$("leave").onclick = $("join-again").onclick = leave;
$("retry-now").onclick = () => hub.check();
$("newer").onclick = () => ($("scroller").scrollTop = $("scroller").scrollHeight);
$("scroller").onscroll = () => {
  const { scrollHeight, scrollTop, clientHeight } = $("scroller");
  if (scrollHeight - scrollTop - clientHeight < 80) $("newer").hidden = true;
};
$("show-frames").onclick = () => {
  const open = $("frames").hidden;
  $("frames").hidden = !open;
  $("show-frames").setAttribute("aria-expanded", String(open));
};
$("clear-frames").onclick = () => $("frame-list").replaceChildren();
// Browsers let a page write to the clipboard only if it was served by https or from this machine.
$("invite").hidden = !navigator.clipboard;
$("invite").onclick = async () => {
  await navigator.clipboard.writeText($("another").href);
  $("invite").textContent = "Copied";
  setTimeout(() => ($("invite").textContent = "Copy invitation"), 2_000);
};
document.addEventListener("visibilitychange", () => {
  if (document.hidden || !hub) return;
  unread = 0;
  title();
});

const given = new URL(location).searchParams;
if (given.get("url") && given.get("session")) join(given.get("url"), given.get("session"), "", given.get("to") ?? "");
else offer(given.get("url"), given.get("session"));
