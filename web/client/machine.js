// What a browser tells of its machine: the network, sleep, the page cache. Other runtimes tell nothing.

/** Calls `wake`, `look`, `offline`, `hide` and `show` as the events come, until the function that it returns is called. */
export function watchMachine({ wake, look, offline, hide, show }) {
  const { document, navigator } = globalThis;
  const events = [
    [globalThis, "online", wake],
    [navigator?.connection, "change", wake],
    [document, "resume", wake],
    [document, "visibilitychange", () => document.visibilityState === "visible" && look()],
    [globalThis, "offline", offline],
    [globalThis, "pagehide", ({ persisted }) => persisted && hide()],
    [globalThis, "pageshow", ({ persisted }) => (persisted ? show() : look())],
  ];
  const each = (method) => {
    for (const [target, type, listener] of events) target?.[method]?.(type, listener);
  };
  each("addEventListener");
  return () => each("removeEventListener");
}
