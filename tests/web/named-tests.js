// Finds tests that docs/delivery.md names and that do not exist.

const FOLDERS = { faults: "tests/faults/src", system: "tests/system/src", hub: "functions/hub/(src|tests)" };
const SCRIPTS = { client: "tests/web/client", web: "tests/web" };

/** `suite name` for each test, or file of tests, that the page lists under a suite and none of the files has. */
export function missingTests(page, files) {
  const exists = (suite, test) => {
    if (suite in SCRIPTS) return files.some(({ path }) => path === `${SCRIPTS[suite]}/${test}`);
    const modules = test.split("::");
    const name = modules.pop().replaceAll("*", "\\w*");
    const place = modules.filter((module) => module !== "tests").join("/");
    const file = RegExp(`^${FOLDERS[suite]}/${place}(/tests)?\\.rs$`);
    return files.some(({ path, text }) => file.test(path) && RegExp(`\\bfn ${name}\\(`).test(text));
  };
  // An item, which may go on in indented lines.
  return [...page.matchAll(/^ {2}- `(\w+)`:(.*(?:\n {4}.*)*)/gm)].flatMap(([, suite, names]) =>
    [...names.matchAll(/`([\w:*]+::[\w*]+|[\w/.-]+\.js)`/g)].flatMap(([, test]) =>
      exists(suite, test) ? [] : [`${suite} ${test}`],
    ),
  );
}
