// A program with a client, for runtimes.test.js: node program.js '{"url":"ws://…","ws":true,"closed":true}'

import { connect } from "../../web/client/hub.js";

const { url, ws, closed } = JSON.parse(process.argv[2]);
const begin = performance.now();
const say = (what) => console.log(`${what} ${Math.round(performance.now() - begin)}`);

const hub = connect({ url, session: "alice", ...(ws && { WebSocket: (await import("ws")).WebSocket }) });
if (closed) {
  // Nothing listens there: it prints when it makes its second attempt.
  hub.on("state", ({ name, attempt }) => {
    if (name !== "connecting" || attempt !== 1) return;
    say("again");
    hub.close();
  });
} else {
  await hub.send("alice", "hello");
  await hub.close();
  say("closed");
}
