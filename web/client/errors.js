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

/** What an error says, and the error; but neither if it names the address with the token, as those of some runtimes do. */
export function tell(error, text) {
  text ||= error?.message;
  return /[?&]token=/.test(`${text} ${error?.message}`) ? ["the handshake has failed"] : [text, error];
}
