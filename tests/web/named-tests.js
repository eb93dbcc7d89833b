// Finds tests that docs/delivery.md names and that do not exist.

const FOLDERS = { faults: "tests/faults/src", system: "tests/system/src", hub: "functions/hub/(src|tests)" };

/** `suite name` for each Rust test that a table of the page names in its last column and none of the files has. */
export function missingTests(page, files) {
  const exists = (suite, test) => {
    const modules = test.split("::");
    const name = modules.pop().replaceAll("*", "\\w*");
    const place = modules.filter((module) => module !== "tests").join("/");
    const file = RegExp(`^${FOLDERS[suite]}/${place}(/tests)?\\.rs$`);
    return files.some(({ path, text }) => file.test(path) && RegExp(`\\bfn ${name}\\(`).test(text));
  };
  return [...page.matchAll(/^\|.* \| (.*) \|$/gm)].flatMap(([, cell]) => {
    let suite;
    return [...cell.matchAll(/`([\w:*-]+)`/g)].flatMap(([, word]) => {
      if (word.includes("::")) return exists(suite, word) ? [] : [`${suite} ${word}`];
      suite = word;
      return [];
    });
  });
}
