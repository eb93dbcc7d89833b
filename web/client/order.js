// Puts each session's messages in order: early ones wait, missing ones are requested, repeated ones are dropped.

import { EARLY_LIMIT, GAP_AFTER, INDEX_LAG, MINUTE, SECOND, UNDER_WAY } from "./limits.js";
import { isPosition } from "./options.js";
import { newId } from "./outbox.js";
import { createTimers } from "./timers.js";

/**
 * `on` has `tell(frame, isMissed)`, which passes on the next message, `repeated(frame)`, `emit(type, details)`,
 * `isStopped()`, whether to pass on nothing more, `isSubscription(session)`, `isPending(session)`, and `link()`, the
 * open connection.
 */
export class Order {
  isOff; // The hub has no history, or the option is off: messages are passed on as they arrive.
  joined; // The client's own session, from the options or from the hub.
  #options;
  #on;
  #sequences = new Map(); // By session.
  #link = null;

  constructor(options, on) {
    const { history, session, positions } = options;
    this.isOff = !history;
    this.joined = session;
    this.#options = options;
    this.#on = on;
    // If only the token names the session, it may be one of those with a position.
    if (history) for (const name of session ? [session] : positions.keys()) this.#sequence(name);
  }

  /** The client's own session, as far as it is known. */
  get own() {
    const isOwn = ({ session, isRefused }) => !isRefused && !this.#on.isSubscription(session);
    return this.joined ?? [...this.#sequences.values()].find(isOwn)?.session;
  }

  join(session) {
    if (!session) return;
    this.joined = session;
    if (!this.isOff) this.#sequence(session);
  }

  position(session = this.own) {
    return this.#sequences.get(session)?.position;
  }

  /** From now on, requests go over this link, first those for missed messages. Without a link there are none. */
  use(link) {
    this.#link = link;
    for (const sequence of this.#sequences.values()) {
      // A listener to frames may have ended the link.
      if (this.#link !== link) return;
      const isSubscription = this.#on.isSubscription(sequence.session);
      // Until this connection is subscribed, the one that it replaces answers.
      if (!link || !isSubscription || !sequence.hasLink) sequence.use(link, !isSubscription);
    }
  }

  /** The hub has reported a session's newest offset, in an answer about something else. */
  stands(session, position, isSubscribed) {
    if (this.isOff || !isPosition(position)) return;
    if (session !== this.joined && !this.#on.isSubscription(session)) return;
    const sequence = this.#sequence(session);
    if (isSubscribed) sequence.use(this.#link, false);
    sequence.stands(position, isSubscribed);
  }

  /** No more messages of this session are passed on. */
  end(session) {
    this.#sequences.get(session)?.use(null);
    this.#sequences.delete(session);
  }

  message(frame) {
    const { session, epoch, offset } = frame;
    // A message that was under way when its session was unsubscribed has no place in an order.
    const isKnown = !this.joined || session === this.joined || this.#on.isSubscription(session);
    const isOrdered = !this.isOff && isKnown && isPosition({ epoch, offset });
    if (isOrdered) this.#sequence(session).message(frame);
    else this.#on.tell(frame);
  }

  /** Returns whether this is the answer to a request of a sequence. */
  answer(frame) {
    const found = this.#asking(frame.id);
    found?.answer(frame);
    return Boolean(found);
  }

  /**
   * The hub refuses this request, and will refuse it again over this link. If it is about a subscription, returns the
   * session.
   */
  refuse(id) {
    const sequence = this.#asking(id);
    if (!sequence) return;
    if (this.#on.isSubscription(sequence.session)) return sequence.session;
    sequence.refuse();
  }

  /** The hub will refuse requests about this session. */
  reject(session) {
    this.#sequences.get(session)?.refuse();
  }

  /** The hub has no history. */
  off() {
    this.isOff = true;
    for (const sequence of this.#sequences.values()) sequence.refuse();
    this.#sequences.clear();
  }

  #asking(id) {
    return [...this.#sequences.values()].find(({ question }) => question && question === id);
  }

  #sequence(session) {
    let sequence = this.#sequences.get(session);
    if (!sequence) {
      sequence = new Sequence(session, this.#options, this.#on);
      this.#options.positions.delete(session);
      this.#sequences.set(session, sequence);
      if (this.#link) sequence.use(this.#link, !this.#on.isSubscription(session));
    }
    return sequence;
  }
}

class Sequence {
  question = null; // The id of the pending request.
  isRefused = false; // This link brings no answers, so no message waits.
  #clock;
  #on;
  #timers;
  #link = null;
  #early = new Map(); // Messages that wait for earlier ones: by offset, in order of arrival, all of one epoch.
  #hubAt = 0; // The hub has messages up to this offset; Infinity: perhaps.
  #told; // The last offset that was passed on: messages between it and the position may still be under way.
  #lostTo = null; // Up to here, missing messages have been reported as lost.
  #asksFrom; // The position in the pending request.
  #askedAt; // When that was first sent.
  #answeredAt = -Infinity;
  #asked = 0; // Requests since an answer last moved the position.
  #helpedAt; // When an answer last moved the position.

  constructor(session, { positions, clock }, on) {
    this.session = session;
    this.position = positions.get(session); // All messages up to it have been passed on, or will not come.
    this.#told = this.position?.offset ?? 0;
    this.#clock = clock;
    this.#on = on;
    this.#timers = createTimers(clock);
  }

  /** Requests missed messages, unless the hub is about to report the newest offset, as it does for a subscription. */
  use(link, isToAsk) {
    this.#link = link;
    this.#timers.clearAll();
    if (!link) return;
    this.#helpedAt = this.#clock.uptime();
    this.#asked = 0;
    this.question = null;
    this.isRefused = false;
    if (isToAsk) {
      // A fan-out that read the index just before does not know this connection.
      this.#timers.set("again", INDEX_LAG, () => this.#catchUp());
      this.#catchUp();
    }
    this.#next();
  }

  /** Newer messages may be under way, but not if the connection has just subscribed: then they are requested. */
  stands({ epoch, offset }, isSubscribed) {
    const { position } = this;
    if (!position) return this.answer({ epoch, offset, messages: [] });
    const isSame = epoch === position.epoch;
    if (isSame && (offset === position.offset || !isSubscribed)) {
      this.#hubAt = offset;
      this.#next();
    } else this.#catchUp();
  }

  get hasLink() {
    return this.#link && !this.#link.ended;
  }

  refuse() {
    this.isRefused = true;
    this.question = null;
    this.#timers.clearAll();
    this.#next();
  }

  message(frame) {
    const { epoch, offset } = frame;
    if (this.position?.epoch === epoch && offset <= this.position.offset) {
      if (offset <= this.#told) return this.#on.repeated(frame);
      // It was under way when the hub reported the newest offset, or when it was reported as lost.
      this.position = { epoch, offset: offset - 1 };
      this.question = null;
    }
    if (this.#isOther(epoch)) {
      // Only the hub knows which of the two epochs is current.
      if (this.#early.size) this.#hubAt = Infinity;
      this.#early.clear();
      this.question = null;
    }
    if (this.#early.has(offset)) return this.#on.repeated(frame);
    // Messages beyond the limit are requested later.
    const hasRoom = this.#early.size < EARLY_LIMIT || offset === this.position?.offset + 1;
    if (hasRoom) this.#early.set(offset, { frame, at: this.#clock.uptime() });
    else this.#hubAt = Infinity;
    this.#next();
  }

  answer(answer) {
    const { epoch, offset, more, messages } = answer;
    const before = this.position;
    this.question = null;
    this.#answeredAt = this.#clock.uptime();
    if (this.#isOther(epoch)) this.#early.clear();
    if (!before) {
      this.position = { epoch, offset };
      this.#told = Math.max(0, offset - UNDER_WAY);
      // Messages from before this position that have already arrived move it back.
      this.#release(0);
    } else if (messages.length || !more) {
      this.#fill(answer);
    }
    const hasHelped = this.position !== before;
    if (hasHelped) {
      this.#helpedAt = this.#answeredAt;
      this.#asked = 0;
    }
    this.#hubAt = more ? Infinity : offset;
    if (more && this.#link) {
      if (hasHelped) this.#ask();
      // The message of the next offset may still be written.
      else this.#askIn(SECOND);
    }
    this.#next();
  }

  /** Takes the missing messages from an answer, and passes them on with those that waited for them. */
  #fill({ epoch, offset, more, complete, messages }) {
    const before = this.position;
    const isAnew = epoch !== before.epoch || (complete === false && offset < this.#asksFrom?.offset);
    if (isAnew) {
      this.position = { epoch, offset: 0 };
      this.#told = 0;
    }
    for (const frame of messages) {
      const isNews = frame.offset > this.position.offset && !this.#early.has(frame.offset);
      if (isNews) this.#early.set(frame.offset, { frame, isMissed: true, at: this.#answeredAt });
    }
    const to = { epoch, offset: more ? messages[messages.length - 1].offset : offset };
    const known = Math.max(before.offset, this.#lostTo?.epoch === epoch ? this.#lostTo.offset : 0);
    if (complete === false && (isAnew || to.offset > known)) {
      this.#lostTo = to;
      // The position moves past the loss, so that a client that continues from here does not report it again.
      const least = Math.min(to.offset, this.#first - 1);
      if (least > this.position.offset) this.position = { epoch, offset: least };
      this.#on.emit("lost", { session: this.session, from: before, to });
    }
    this.#release(to.offset);
  }

  get #first() {
    return Math.min(...this.#early.keys());
  }

  #isOther(epoch) {
    const [early] = this.#early.values();
    const known = early?.frame ?? this.position;
    return known && known.epoch !== epoch;
  }

  /** Passes on the next messages until one is missing; up to the offset `to`, whatever is missing. */
  #release(to) {
    for (;;) {
      const { epoch, offset } = this.position ?? { offset: 0 };
      const reached = Math.max(to, offset);
      const first = this.#first;
      if (first > reached + 1) {
        if (reached > offset) this.position = { epoch, offset: reached };
        return;
      }
      if (this.#on.isStopped()) return;
      const { frame, isMissed } = this.#early.get(first);
      this.#early.delete(first);
      this.#told = first;
      this.position = { epoch: frame.epoch, offset: first };
      this.#on.tell(frame, isMissed);
    }
  }

  /** Passes on the next messages, and sets the timers to request missing ones and to stop waiting for them. */
  #next() {
    if (this.isRefused) while (this.#early.size && !this.#on.isStopped()) this.#skip();
    if (!this.#isOther(this.position?.epoch)) this.#release(0);
    if (!this.#link || this.isRefused) return;
    const [early] = this.#early.values();
    if (!early) this.#timers.clear("gap");
    if (!early && !(this.#hubAt > (this.position?.offset ?? 0))) return this.#timers.clear("ask");
    if (early) {
      // A new gap. All clients of the session may see it, so each requests it after a random wait.
      if (!this.#timers.has("gap")) {
        this.#asked = 0;
        this.#timers.clear("ask");
      }
      const since = Math.max(early.at, this.#helpedAt);
      this.#timers.set("gap", since + GAP_AFTER - this.#clock.uptime(), () => this.#giveUp());
    }
    if (!this.#timers.has("ask")) this.#askIn(SECOND * (0.5 + Math.random()));
  }

  #giveUp() {
    const [early] = this.#early.values();
    const now = this.#clock.uptime();
    // Until the session is subscribed, the hub refuses requests.
    if (this.#on.isPending(this.session)) return this.#timers.set("gap", SECOND, () => this.#giveUp());
    const waited = this.question ? now - this.#askedAt : 0;
    // If timers were late, as in a page that was frozen, the hub has had no time to answer.
    if (this.#answeredAt <= early.at && waited < 2 * SECOND) {
      this.#timers.set("gap", 2 * SECOND - waited, () => this.#giveUp());
      if (!this.question) this.#ask();
      return;
    }
    this.question = null;
    this.#skip();
    this.#next();
  }

  /** Continues with the message that has waited longest, or with one before it, whatever is missing. */
  #skip() {
    const [{ frame }] = this.#early.values();
    const from = this.position ?? null;
    const to = { epoch: frame.epoch, offset: this.#first - 1 };
    this.position = to;
    const isHole = from ? from.epoch !== to.epoch || from.offset < to.offset : !this.isRefused;
    if (isHole) this.#on.emit("gap", { session: this.session, from, to });
    this.#release(0);
  }

  #catchUp() {
    this.#hubAt = Infinity;
    this.#ask();
  }

  #askIn(ms) {
    this.#timers.set("ask", ms, () => this.#ask());
  }

  #ask() {
    // The replaced link has ended before the new one was subscribed.
    if (!this.hasLink) this.#link = this.#on.link();
    const { epoch, offset: after } = this.position ?? {};
    if (!this.question) {
      this.question = newId();
      this.#asksFrom = this.position;
      this.#askedAt = this.#clock.uptime();
    }
    const wait = Math.min(SECOND * 2 ** this.#asked, MINUTE / 2);
    this.#askIn(this.#asked++ < 2 ? wait : wait * (1 + Math.random()));
    this.#link.ask(
      JSON.stringify({ action: "history", session: this.session, epoch, after, id: this.question }),
      "history",
    );
  }
}
