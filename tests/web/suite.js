// A test runner that is the same in every runtime, and reports in TAP.

const { setTimeout, clearTimeout } = globalThis;
const TIME_LIMIT = 60_000;

const tests = [];

class Skipped extends Error {}

/** `run` gets what a test needs of its runner: `t.after(undo)`, which may be asynchronous, and `t.skip(reason)`. */
export function test(name, run) {
  tests.push({ name, run });
}

/** Runs the tests whose name contains `filter`, one after the other, and returns how many passed, failed and were skipped. */
export async function runTests({ filter = "", print = console.log } = {}) {
  const counts = { pass: 0, fail: 0, skipped: 0 };
  const wanted = tests.filter(({ name }) => name.includes(filter));
  const stray = catchStray();
  for (const [index, { name, run }] of wanted.entries()) {
    const error = await outcome(run, stray);
    const is = error === undefined ? "pass" : error instanceof Skipped ? "skipped" : "fail";
    counts[is]++;
    const skip = is === "skipped" ? ` # SKIP ${error.message}` : "";
    print(`${is === "fail" ? "not ok" : "ok"} ${index + 1} - ${name}${skip}`);
    if (is === "fail") print(describe(error).replace(/^/gm, "    "));
  }
  for (const [kind, count] of Object.entries(counts)) print(`# ${kind} ${count}`);
  return counts;
}

/** The error that the test has thrown, or undefined. */
async function outcome(run, stray) {
  const undo = [];
  const t = {
    after: (run) => undo.push(run),
    skip: (reason) => {
      throw new Skipped(reason);
    },
  };
  const errors = [];
  const attempt = async (run) => {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not over after ${TIME_LIMIT / 1_000} s`)), TIME_LIMIT);
    });
    try {
      await Promise.race([stray.during(errors), late, run(t)]);
    } catch (error) {
      errors.push(error ?? new Error(`it threw ${error}`));
    }
    clearTimeout(timer);
  };
  await attempt(run);
  while (undo.length) await attempt(undo.pop());
  return errors[0];
}

/** Errors that no one catches belong to the test that is running. */
function catchStray() {
  let report = () => {};
  const caught = (error) => report(error);
  if (globalThis.process?.on) {
    for (const type of ["unhandledRejection", "uncaughtException"]) process.on(type, caught);
  } else {
    for (const type of ["unhandledrejection", "error"]) {
      globalThis.addEventListener(type, (event) => {
        event.preventDefault();
        caught(event.reason ?? event.error ?? new Error(event.message));
      });
    }
  }
  return {
    during: (errors) =>
      new Promise((_, reject) => {
        report = (error) => {
          errors.push(error);
          reject(error);
        };
      }),
  };
}

function describe(error) {
  const { stack, message } = error;
  const text = stack?.includes(message) ? stack : `${error}\n${stack ?? ""}`;
  return error.cause ? `${text}\ncause: ${describe(error.cause)}` : text;
}
