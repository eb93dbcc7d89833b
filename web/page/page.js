// The page: joins a hub as one session, and shows the state of the connection.

import { connect } from "../client/hub.js";
import { Composer } from "./compose.js";
import { face } from "./conversation.js";
import { $, namesIn, tell } from "./dom.js";
import * as frames from "./frames.js";
import { restore } from "./history.js";
import { Rooms } from "./rooms.js";

// How long a send may wait for a connection: as long as recipients drop repetitions.
const SEND_TTL = 10 * 60_000;
// After this many failed attempts, the page offers a field for a token.
const ATTEMPTS = 2;

const PROBLEMS = {
  url: "The hub’s address must look like wss://host/stage, or ws:// for one on this machine.",
  session: 'Session must be 1 to 128 visible ASCII characters, without * " and \\.',
  token: "Token must be one line, as a JWT is: copy it whole.",
};
const FAILED = {
  signed_out: ["Signed out", "The hub needs a new token."],
  token_too_large: ["Token too large", "It would not get through to the hub. Get one with fewer claims."],
  cannot_connect: [
    "Cannot connect",
    "The browser refuses this address. From a page served by https, only wss:// works.",
  ],
};

let hub = null;
let place = { url: "", session: "" }; // The url and the session that were joined.
let token = "";
let isForgotten = false; // The page had joined with a token, which the reload has lost.
let wasOpen = false;
let hasTokenEnded = false;
let turnedAway = 0; // Handshakes with this token, in a row.
let asksForToken = false;
let countdown;

const rooms = new Rooms({
  changed() {
    if (!hub) return;
    title();
    remember();
  },
  answer(from) {
    $("to").value = from;
    remember();
    $("text").focus();
  },
});
const composer = new Composer(rooms, remember);

// Joining and leaving

function show(view) {
  document.documentElement.dataset.view = view;
}

function address(parameters) {
  const page = new URL(location.pathname, location.href);
  for (const [name, value] of Object.entries(parameters)) if (value) page.searchParams.set(name, value);
  return page.href;
}

/** These parameters of the page's address. */
function asked(...names) {
  const { searchParams } = new URL(location);
  return names.map((name) => searchParams.get(name) ?? "");
}

/** Splits a hub's address, which may have been copied from a program, into one without the token, and the token. */
function withoutToken(url) {
  const [base, query] = url.split(/\?(.*)/s);
  const parameters = new URLSearchParams(query);
  const hidden = parameters.get("token") ?? "";
  for (const name of ["token", "session_id"]) parameters.delete(name);
  return [`${parameters}` ? `${base}?${parameters}` : base, hidden];
}

function join(url, session, givenToken) {
  const [bare, hidden] = withoutToken(url);
  place = { url: bare, session };
  token = (givenToken || hidden).trim();
  isForgotten = Boolean(history.state?.hadToken && !token);
  wasOpen = hasTokenEnded = asksForToken = false;
  turnedAway = 0;
  fill(token);
  const wrong = Object.keys(PROBLEMS).find((id) => !$(id).validity.valid);
  if (wrong) {
    offer(token);
    blame(wrong);
    return;
  }
  let host;
  try {
    ({ host } = new URL(bare));
    rooms.begin(place, ...asked("rooms", "to"));
    start({ autoConnect: !isForgotten });
  } catch {
    offer(token);
    blame("url");
    return;
  }
  $("token").value = "";
  face($("me-face"), session);
  $("me").textContent = session;
  $("host").textContent = host;
  frames.clear();
  rooms.changed();
  show("chat");
  $($("to").value ? "text" : "to").focus();
  render(hub.state);
}

function start({ autoConnect = true } = {}) {
  const positions = restore(place);
  // If the browser stores nothing, the previous client still knows its positions.
  for (const name of [place.session, ...rooms.names]) positions[name] = hub?.position(name) ?? positions[name];
  const client = connect({ ...place, token: () => token, ttl: SEND_TTL, autoConnect, positions });
  hub = client;
  rooms.use(client, positions);
  composer.use(client);
  // Events of a client that was left or replaced are ignored.
  client.on("state", (now, before) => client === hub && render(now, before));
  client.on("refused", ({ refused }) => {
    turnedAway = refused;
    render(client.state);
  });
  client.on("error", ({ code, message, session }) => {
    // These errors change the state of the connection or of a room, which is shown in more detail.
    const isShown = session || ["connect_failed", "token_failed"].includes(code);
    if (client === hub && !isShown) rooms.shown.conversation.showNotice(message);
  });
  client.on("frame", (frame) => {
    frames.showFrame(frame);
    queueMicrotask(() => frames.showStats(client.stats));
  });
}

function leave(kept) {
  const left = hub;
  hub = null;
  left.close();
  clearInterval(countdown);
  history.replaceState(null, "", address({ url: place.url, ...kept }));
  document.title = "Hub";
  offer();
}

function fill(typed) {
  $("url").value = place.url;
  $("session").value = place.session;
  $("token").value = typed;
}

function offer(typed = "") {
  fill(typed);
  show("join");
  blame();
  $(asksForToken ? "token" : place.url ? "session" : "url").focus();
}

/** Marks this field of the form as wrong, and no other. */
function blame(wrong) {
  $("join-error").textContent = PROBLEMS[wrong] ?? "";
  for (const id of ["url", "session", "token"]) {
    $(id).setAttribute("aria-invalid", String(id === wrong));
    if (id === wrong) $(id).setAttribute("aria-describedby", "join-error");
    else $(id).removeAttribute("aria-describedby");
  }
  if (wrong) $(wrong).focus();
}

/** Updates the address bar, to be shared or reloaded. The token is not part of it; the history state notes that there was one. */
function remember() {
  const hadToken = isForgotten || token !== "";
  const { url, session } = place;
  const shared = { url, rooms: rooms.names.join(" ") };
  for (const id of ["another", "another-too"]) $(id).href = address({ ...shared, to: rooms.shown.name });
  const href = address({ ...shared, session, to: namesIn("to").join(" ") });
  // Browsers limit how often a page may do this.
  if (href !== location.href || hadToken !== history.state?.hadToken) history.replaceState({ hadToken }, "", href);
}

// Connection

function render(now, before) {
  const { name, attempt, retryAt } = now;
  const isOpen = name === "open";
  if (isOpen) {
    wasOpen = true;
    hasTokenEnded = asksForToken = false;
    turnedAway = 0;
  } else {
    // The hub's clock may be a little ahead of this one.
    hasTokenEnded ||= before?.expiresAt && before.expiresAt - Date.now() < 1_000;
    const isShut = !wasOpen && attempt >= ATTEMPTS && navigator.onLine;
    const isAsking = isForgotten || hasTokenEnded || turnedAway || isShut || name === "failed";
    asksForToken ||= Boolean(isAsking);
  }

  const [brief, what = "", why = ""] = describe(now);
  $("state").dataset.state = name;
  tell("state-text", brief);
  tell("trouble-what", what);
  tell("trouble-why", why);
  $("retry-now").hidden = !what || ["failed", "closed", "paused"].includes(name);
  $("join-again").hidden = !what || (wasOpen && name !== "failed") || !asksForToken;
  const hadFocus = $("token-form").contains(document.activeElement);
  $("token-form").hidden = !what || !asksForToken;
  if ($("token-form").hidden) {
    if (hadFocus) $($("to").value ? "text" : "to").focus();
  } else if (!wasOpen && !document.activeElement.value) {
    $("new-token").focus();
  }

  clearInterval(countdown);
  const count = () => {
    const seconds = Math.ceil((retryAt - Date.now()) / 1000);
    tell("trouble-when", what && retryAt ? (seconds > 0 ? `Next attempt in ${seconds} s.` : "Trying…") : "");
  };
  count();
  if (retryAt) countdown = setInterval(count, 250);
  composer.showSending();
}

/** The state in a word or two, the problem, and what to do about it. */
function describe({ name, error, reason }) {
  const brief = wasOpen ? "Reconnecting" : "Connecting";
  if (name === "open") return ["Connected"];
  if (name === "closed") return ["Closed", "The connection is closed."];
  if (name === "failed") {
    const [short, why] = FAILED[error.code];
    return [short, `${short}.`, why];
  }
  if (isForgotten) {
    return [
      "Token needed",
      "Enter your token again.",
      "You had joined with one, and the page keeps none when it reloads.",
    ];
  }
  if (name === "paused") return ["Paused", "The connection is paused."];
  if (!navigator.onLine) return ["Offline", "There is no network.", "What you write now is sent when it is back."];
  if (!reason) return [brief];
  if (turnedAway) {
    const why = "it may have expired, or not cover this session. Or the hub is out of reach.";
    return [brief, `The hub has refused this token ${turnedAway} times:`, why];
  }
  if (hasTokenEnded) return [brief, "The token has expired.", "Enter a new one."];
  if (!asksForToken && wasOpen) {
    return [brief, "The connection is lost.", "What you write now is sent when it is back."];
  }
  const what = `${$("host").textContent} refuses the connection, or cannot be reached.`;
  const hint = asksForToken ? " If the hub asks for a token, enter one." : "";
  // For most failures, browsers report nothing but 1006.
  const cause = /^1006\b/.test(reason) ? "" : ` (${reason})`;
  return [brief, what, `Is the address right?${hint}${cause}`];
}

function useToken(given) {
  token = given;
  isForgotten = hasTokenEnded = false;
  turnedAway = 0;
  remember();
  if (hub.state.name === "failed") {
    start();
    render(hub.state);
  } else {
    // Unanswered sends go out over the next connection.
    hub.pause();
    hub.resume();
  }
}

// Title and invitation

function title() {
  document.title = `${rooms.unread ? `(${rooms.unread}) ` : ""}${place.session} · Hub`;
}

async function invite() {
  const button = $("invite");
  try {
    await navigator.clipboard.writeText($("another").href);
  } catch {
    rooms.shown.conversation.showNotice(
      "The browser does not let this page copy. Copy the address of the link “Another session” instead.",
    );
    return;
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy invitation"), 2_000);
}

// Wiring

$("join-form").onsubmit = (event) => {
  event.preventDefault();
  join($("url").value.trim(), $("session").value.trim(), $("token").value);
};
$("token-form").onsubmit = (event) => {
  event.preventDefault();
  const given = $("new-token").value.trim();
  $("new-token").value = "";
  useToken(given);
};
$("leave").onclick = () => leave();
$("join-again").onclick = () => leave({ rooms: rooms.names.join(" "), to: namesIn("to").join(" ") });
$("retry-now").onclick = () => hub.check();
// Browsers give a page the clipboard only if it was served by https or from this machine.
$("invite").hidden = !navigator.clipboard;
$("invite").onclick = invite;
document.addEventListener("visibilitychange", () => {
  if (document.hidden || !hub) return;
  rooms.shown.seen();
  title();
});
for (const type of ["online", "offline"]) addEventListener(type, () => hub && render(hub.state));

const [given, session, secret, names, to] = asked("url", "session", "token", "rooms", "to");
const [url, hidden] = withoutToken(given);
history.replaceState(history.state, "", address({ url, session, rooms: names, to }));
place = { url, session };
if (url && session) join(url, session, secret || hidden);
else offer(secret || hidden);
