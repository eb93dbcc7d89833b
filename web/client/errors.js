// What can go wrong, as errors.

const RETRYABLE = /^(internal|not_connected|timeout|connection_lost|queue_full|connect_failed|token_failed|gateway)$/;

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
