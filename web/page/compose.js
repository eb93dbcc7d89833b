// The form that sends a message, and each send until its receipt.

import { showFailure, showReceipt } from "./conversation.js";
import { $, isWrong, namesIn } from "./dom.js";

export class Composer {
  #hub;
  #rooms;
  #changed;

  /** Calls `changed` when the field To may have changed. */
  constructor(rooms, changed) {
    this.#rooms = rooms;
    this.#changed = changed;
    $("compose").onsubmit = (event) => {
      event.preventDefault();
      this.#compose();
    };
    $("text").onkeydown = (event) => {
      // The Enter that ends the composition of a character does not send. Safari marks it by the key code.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#compose();
    };
    $("text").oninput = grow;
    $("to").onchange = changed;
    addEventListener("resize", grow);
  }

  use(hub) {
    this.#hub = hub;
  }

  showSending() {
    for (const status of document.querySelectorAll(".status[data-state=sending]")) status.textContent = this.#sending;
  }

  #compose() {
    const text = $("text");
    if (isWrong("to", "Say whom to write to: one or more sessions.")) return;
    text.focus();
    if (!text.value.trim()) return;
    this.#send(namesIn("to"), text.value);
    text.value = "";
    grow();
    this.#changed();
  }

  #send(sessions, text) {
    const id = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");
    const status = this.#rooms.turnTo(sessions).sent(id, sessions, text);
    const attempt = async () => {
      status.dataset.state = "sending";
      status.textContent = this.#sending;
      try {
        showReceipt(status, await this.#hub.send(sessions, text, { id }));
      } catch (error) {
        // With the same id, recipients that have received it drop the repetition.
        showFailure(status, error, attempt);
      }
    };
    void attempt();
  }

  get #sending() {
    return this.#hub.state.name === "open" ? "Sending…" : "Waits for the connection";
  }
}

/** Lets the field grow with its text. Firefox has no style for this. */
function grow() {
  const text = $("text");
  text.style.height = "auto";
  if (text.scrollHeight) text.style.height = `${text.scrollHeight}px`;
}
