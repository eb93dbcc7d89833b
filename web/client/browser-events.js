// A browser's events about the network, sleep and the page cache. Other runtimes have none.

/** Calls the functions of `on` until the function that it returns is called. */
export function watchBrowser(on) {
  const { document, navigator } = globalThis;
  const connection = navigator?.connection;
  // Its estimates change all the time, without a change of the network.
  const getKind = () => connection?.type ?? connection?.effectiveType ?? {};
  let kind = getKind();
  const changed = () => {
    const before = kind;
    kind = getKind();
    if (kind !== before) on.wake();
  };
  const events = [
    [globalThis, "online", on.wake],
    [connection, "change", changed],
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
