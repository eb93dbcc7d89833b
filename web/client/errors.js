// The errors that programs see.

const RETRYABLE = /^(internal|not_connected|timeout|gateway)$|_(lost|full|failed)$/;

/** Why a send failed, or what an `error` event is about. `code` is the hub's or the client's own. */
export class HubError extends Error {
  name = "HubError";

  constructor(code, message, details) {
    super(message);
    Object.assign(this, { code, retryable: RETRYABLE.test(code), mayHaveArrived: false, ...details });
  }
}

/** Thrown by `token()` if there will be no further token. It ends the client. */
export class SignedOut extends Error {
  name = "SignedOut";
}

const UNKNOWN = "the runtime gives no reason";

/** The reason, and the error behind it. In some runtimes they hold the address with the token: then neither is shown. */
export function explain(error, reason) {
  const text = String(reason || error?.message || UNKNOWN);
  return /[?&]token=/.test(text + error?.message) ? [UNKNOWN] : [text, error];
}
