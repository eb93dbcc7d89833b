// What can go wrong, as errors.

const RETRYABLE = /^(internal|not_connected|timeout|gateway)$|_(lost|full|failed)$/;

/** Why a send failed, or what went wrong meanwhile. `code` is the hub's, or the client's own. */
export class HubError extends Error {
  name = "HubError";

  constructor(code, message, details) {
    super(message);
    Object.assign(this, { code, retryable: RETRYABLE.test(code), mayHaveArrived: false, ...details });
  }
}

/** Thrown by `token()`, it ends the client: there will be no further token. */
export class SignedOut extends Error {
  name = "SignedOut";
}

const UNKNOWN = "the runtime does not say why";

/** The reason, and the error behind it; but neither if they name the address with the token, as in some runtimes. */
export function explain(error, reason) {
  const text = String(reason || error?.message || UNKNOWN);
  return /[?&]token=/.test(text + error?.message) ? [UNKNOWN] : [text, error];
}
