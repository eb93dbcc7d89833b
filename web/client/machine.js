// What a browser tells of its machine: the network, sleep, the page cache. Other runtimes tell nothing.

/** Calls `on`'s functions as the events come, until the function that it returns is called. */
export function watchMachine(on) {
  const { document, navigator } = globalThis;
  const events = [
    [globalThis, "online", on.wake],
    [navigator?.connection, "change", on.wake],
    [document, "resume", on.wake],
    [document, "visibilitychange", () => document.visibilityState === "visible" && on.look()],
    [globalThis, "offline", on.offline],
    [globalThis, "pagehide", ({ persisted }) => persisted && on.hide()],
    [globalThis, "pageshow", ({ persisted }) => persisted && on.show()],
  ];
  const each = (method) => {
    for (const [target, type, listener] of events) target?.[method]?.(type, listener);
  };
  each("addEventListener");
  return () => each("removeEventListener");
}
