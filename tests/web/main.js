// Runs the client's tests in this runtime: a program, or, in a bundle, a page.

import { enter, leave } from "./environment.js";
import { runTests } from "./suite.js";
import "./client.test.js";

const configured = globalThis.suiteConfiguration ?? JSON.parse(process.argv[2]);
await enter(configured);
const { fail } = await runTests(configured);
leave();
if (globalThis.document) globalThis.suiteIsOver = true;
else process.exit(fail ? 1 : 0);
