// The tab's own session, and rooms: the sessions that it is subscribed to. Each has a conversation, and a button to show it.

import { Conversation, quoted } from "./conversation.js";
import { $, element, isWrong, namesIn, tell } from "./dom.js";
import { follow } from "./history.js";

// How many of this tab's own messages are recognised when the hub delivers them back.
const MAX_MINE = 1_000;

const REFUSED = {
  forbidden: "your token does not allow it.",
  too_many_subscriptions: "the hub allows 100 rooms at most. Leave one, and try again.",
  unknown_action: "this hub has no rooms, as its subscriptions are switched off.",
};

class Room {
  unread = 0;
  hasBegun = false; // Earlier messages are shown or requested.
  #rooms;
  #session;
  #stop;
  #to; // The recipients, while it is not in view.
  #mine = new Set(); // Ids of messages sent from here, which the hub delivers back.
  #words = element("span", { className: "muted" });
  #count = element("span", { className: "count" });

  constructor(name, isOwn, rooms) {
    this.name = name;
    this.isOwn = isOwn;
    this.label = isOwn ? "Direct" : name;
    this.#to = isOwn ? "" : name;
    this.#rooms = rooms;
    this.conversation = new Conversation(isOwn ? "Conversation" : name, !isOwn, rooms.answer);
    const dot = element("span", { className: "dot", ariaHidden: "true" });
    const text = element("span", { className: "label" }, this.label);
    const onclick = () => rooms.show(this);
    this.button = element("button", { type: "button", title: name, onclick }, dot, text, this.#words, this.#count);
    this.chip = element("li", {}, this.button);
    const leave = {
      type: "button",
      title: `Leave ${name}`,
      ariaLabel: `Leave ${name}`,
      onclick: () => rooms.leave(this),
    };
    if (!isOwn) this.chip.append(element("button", leave, "×"));
  }

  get isShown() {
    return this === this.#rooms.shown;
  }

  /** The recipients of a message from this room. */
  get to() {
    return this.isShown ? $("to").value : this.#to;
  }

  set to(names) {
    this.#to = names;
    if (this.isShown) $("to").value = names;
  }

  /** From now on this client has its messages, those after `position`. */
  use(client, place, position) {
    this.#stop?.();
    this.#session = client.session(this.name);
    const ends = [follow(client, place, this, position), this.#session.on("change", () => this.render())];
    this.#stop = () => ends.forEach((end) => end());
    this.render();
  }

  end() {
    this.#stop?.();
    this.conversation.remove();
    this.chip.remove();
  }

  show() {
    $("to").value = this.#to;
    this.conversation.show();
    this.seen();
    this.chip.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  hide() {
    this.#to = $("to").value;
  }

  seen() {
    this.unread = 0;
    this.render();
  }

  /** Requests the subscription again. The outcome is a change event. */
  retry() {
    this.#session.ready().catch(() => {});
  }

  sent(id, sessions, text) {
    this.#mine.add(id);
    if (this.#mine.size > MAX_MINE) this.#mine.delete(this.#mine.values().next().value);
    return this.conversation.showSent(sessions, text);
  }

  isMine({ id, from }) {
    return from === this.#rooms.own.name && this.#mine.has(id);
  }

  received(message, missed) {
    const { from } = message;
    this.conversation.showReceived(message, missed);
    if (from && this.isOwn && !this.to) {
      this.to = from;
      // Selected, so that a name that is being typed replaces it.
      if (document.activeElement === $("to") && this.isShown) $("to").select();
    }
    const isKnown = (this.isShown && !document.hidden) || (!this.isOwn && from === this.#rooms.own.name);
    if (!isKnown) this.unread++;
    this.render();
    this.#rooms.changed();
  }

  render() {
    if (!this.#session) return;
    const { isReady, error } = this.#session;
    const state = isReady ? "joined" : error ? "refused" : "joining";
    this.chip.dataset.state = state;
    this.button.setAttribute("aria-current", String(this.isShown));
    const words = [this.label, !this.isOwn && state, this.unread && `${this.unread} unread`];
    this.button.ariaLabel = words.filter(Boolean).join(", ");
    this.#words.textContent = isReady ? "" : state;
    this.#count.textContent = this.unread || "";
    if (!this.isShown) return;
    const name = quoted(this.name);
    const why = error && `You are not in ${name}: ${REFUSED[error.code] ?? error.message}`;
    tell("room-text", this.isOwn ? "" : (why ?? `${isReady ? "Joined" : "Joining"} ${name}`));
    $("room-state").dataset.state = state;
    $("room-again").hidden = !error;
  }
}

export class Rooms {
  shown;
  #all = new Map(); // By name, the tab's own session first.
  #client;
  #place;
  #positions; // Where to continue in the rooms that this client does not follow yet.

  /** `changed()` is called when rooms are joined or left, another one is shown, or the unread count changes. */
  constructor({ changed, answer }) {
    this.changed = changed;
    this.answer = answer;
    $("room-form").onsubmit = (event) => {
      event.preventDefault();
      if (isWrong("room", "Say which room: the name of any session.")) return;
      this.join();
      $("text").focus();
    };
    $("room-again").onclick = () => this.shown.retry();
  }

  get own() {
    return this.#all.get(this.#place.session);
  }

  get names() {
    return [...this.#all.keys()].slice(1);
  }

  get unread() {
    return [...this.#all.values()].reduce((sum, { unread }) => sum + unread, 0);
  }

  /** Starts with the rooms of an address, and shows the one that `to` names. */
  begin(place, names, to) {
    for (const room of this.#all.values()) room.end();
    this.#all.clear();
    this.#client = this.shown = null;
    this.#place = place;
    this.#add(place.session);
    $("room").value = names;
    if (!isWrong("room", "")) this.join();
    if (to && !this.names.includes(to)) {
      this.own.to = to;
      this.show(this.own);
    } else this.show(this.#all.get(to) ?? this.shown ?? this.own);
  }

  /** From now on, messages come from this client, beginning after `positions`. */
  use(client, positions) {
    this.#client = client;
    this.#positions = positions;
    for (const room of this.#all.values()) this.#follow(room);
  }

  /** Joins the rooms that the field names. */
  join() {
    const names = namesIn("room");
    for (const name of names) if (!this.#all.has(name)) this.#follow(this.#add(name));
    $("room").value = "";
    if (names.length) this.show(this.#all.get(names[0]));
  }

  leave(room) {
    room.end();
    this.#all.delete(room.name);
    if (room.isShown) this.show(this.own);
    else this.changed();
    this.shown.button.focus();
  }

  show(room) {
    if (room === this.shown) return;
    const before = this.shown;
    before?.hide();
    this.shown = room;
    room.show();
    before?.render();
    this.changed();
  }

  /** Shows the room that a message to these sessions belongs to, and returns it. */
  turnTo(sessions) {
    const { shown, own } = this;
    if (sessions.includes(shown.name)) return shown;
    const room = sessions.map((name) => this.#all.get(name)).find(Boolean) ?? own;
    if (room === shown) return room;
    room.to = shown.to;
    shown.to = shown.isOwn ? "" : shown.name;
    this.show(room);
    return room;
  }

  #add(name) {
    const room = new Room(name, name === this.#place.session, this);
    this.#all.set(name, room);
    $("room-list").append(room.chip);
    return room;
  }

  #follow(room) {
    if (!this.#client) return;
    room.use(this.#client, this.#place, this.#positions[room.name]);
    // In a room that is joined again, the client begins with new messages.
    delete this.#positions[room.name];
  }
}
