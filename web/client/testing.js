// A hub and a clock for tests: in memory, without a network, a dependency or a wait.

export { Clock } from "./testing/clock.js";
export { FakeHub } from "./testing/hub.js";
export { jwt } from "./testing/jwt.js";
