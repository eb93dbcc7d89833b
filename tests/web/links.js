// Finds links in the Markdown files of the repository, and mentions of pages in docs/, that lead nowhere.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

const root = join(import.meta.dirname, "../..");
const GENERATED = ["node_modules", "target", "corpus", "artifacts"];
const SOURCES = /\.(md|rs|tf|hcl|sh|py|js|ts|html|ya?ml|toml)$/;

/** Every source file: the path from the root, and its text. */
export function sources(folder = ".") {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    const isHidden = entry.name.startsWith(".") && entry.name !== ".github";
    if (entry.isDirectory()) return isHidden || GENERATED.includes(entry.name) ? [] : sources(path);
    return entry.isFile() && SOURCES.test(path) ? [{ path, text: readFileSync(join(root, path), "utf8") }] : [];
  });
}

const withoutFences = (text) => text.replace(/^( *)(```|~~~)[^]*?^\1\2$/gm, "");
const withoutCode = (text) => withoutFences(text).replace(/`(?:[^`\n]|\n(?!\n))*`/g, "");

/** The anchors that GitHub gives to the headings of a page. */
export function anchorsOf(text) {
  const anchors = new Set();
  for (const [, heading] of withoutFences(text).matchAll(/^#+ +(.*)$/gm)) {
    const words = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const anchor = words.replace(/[^\p{L}\p{N}\p{M} _-]/gu, "").replaceAll(" ", "-");
    let name = anchor;
    for (let again = 1; anchors.has(name); again++) name = `${anchor}-${again}`;
    anchors.add(name);
  }
  return anchors;
}

/** A file's references: as written, and as a path from the root. */
function targetsOf({ path, text }) {
  const pages = text.match(/(?<![\w./-])docs\/[\w-]+\.(?:md|yaml)(?:#[\w-]+)?/g) ?? [];
  const mentions = pages.map((page) => [page, page]);
  if (!path.endsWith(".md")) return mentions;
  const links = [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)|<(?:a|img)[^>]* (?:href|src)="([^"]+)"/g)]
    .map(([, link, attribute]) => link ?? attribute)
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link) => [link, link.startsWith("#") ? path + link : join(dirname(path), link)]);
  return [...links, ...mentions];
}

/** `file: link` for each link to a file, or to a heading of one, that is not there. */
export function brokenLinks(files, exists = (path) => existsSync(join(root, path))) {
  const pages = new Map(files.map(({ path, text }) => [path, anchorsOf(text)]));
  const isBroken = ([, target]) => {
    const [path, anchor] = target.split("#");
    return !exists(normalize(path)) || (anchor && !pages.get(normalize(path))?.has(anchor));
  };
  const broken = files.flatMap((file) =>
    targetsOf(file)
      .filter(isBroken)
      .map(([link]) => `${file.path}: ${link}`),
  );
  return [...new Set(broken)];
}
