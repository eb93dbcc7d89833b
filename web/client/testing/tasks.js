// The runtime's own time and tasks, taken before a test puts fake ones in their place.

const { setImmediate, setTimeout, MessageChannel } = globalThis;

export const realNow = Date.now.bind(Date);

/** Runs a function in a new task, after the tasks that are queued already. */
const enqueue = setImmediate ?? (MessageChannel ? overChannel() : (run) => setTimeout(run, 0));

/** For browsers: their timers wait for 4 ms. */
function overChannel() {
  let ports;
  const queue = [];
  return (run) => {
    if (!ports) {
      ports = new MessageChannel();
      ports.port1.onmessage = () => queue.shift()();
    }
    queue.push(run);
    ports.port2.postMessage(null);
  };
}

let events = 0;

/** Queues an event. Each event is a task, as in a browser: the promises that it settles run before the next event. */
export function later(run) {
  events++;
  enqueue(() => {
    events--;
    run();
  });
}

export function hasEvents() {
  return events > 0;
}

export function nextTask() {
  return new Promise(enqueue);
}
