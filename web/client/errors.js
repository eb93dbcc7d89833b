// What can go wrong, as errors.

const RETRYABLE = /^(internal|not_connected|timeout|connection_lost|queue_full|connect_failed|token_failed|gateway)$/;

/** Why a send failed, or what went wrong meanwhile. `code` is the hub's, or the client's own. */
export class HubError extends Error {
  constructor(code, message, { id, cause, retryable = RETRYABLE.test(code), mayHaveArrived = false } = {}) {
    super(message);
    this.name = "HubError";
    this.code = code;
    this.retryable = retryable;
    this.mayHaveArrived = mayHaveArrived;
    if (id !== undefined) this.id = id;
    if (cause !== undefined) this.cause = cause;
  }
}

/** Thrown by `token()`, it ends the client: there will be no further token. */
export class SignedOut extends Error {
  constructor(message = "the user has signed out") {
    super(message);
    this.name = "SignedOut";
  }
}
