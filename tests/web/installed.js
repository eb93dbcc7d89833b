// The package as its users have it: packed as for npm, and installed from the tarball into an empty folder.

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

export const PACKAGE = join(import.meta.dirname, "../../web/client");
const MODULES = join(import.meta.dirname, "node_modules");

export const run = promisify(execFile);

/** `npm`, without the variables that a parent npm has set, and without a network. */
export function npm(folder, ...args) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)));
  return run("npm", [...args, "--offline", "--ignore-scripts", "--no-audit", "--no-fund", "--json"], {
    cwd: folder,
    env,
  });
}

/** Packs the client into the folder, and returns npm's description of the tarball. */
export async function pack(folder) {
  const { stdout } = await npm(PACKAGE, "pack", "--pack-destination", folder);
  const [packed] = JSON.parse(stdout);
  return { ...packed, path: join(folder, packed.filename) };
}

/** A temporary folder with the package in its node_modules, and links to these packages of the tests beside it. */
export async function install(t, links = {}) {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "hub-client-")));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const packed = await pack(folder);
  await writeFile(join(folder, "package.json"), '{ "private": true, "type": "module" }');
  await npm(folder, "install", packed.path);
  for (const [name, target] of Object.entries(links)) {
    await mkdir(dirname(join(folder, "node_modules", name)), { recursive: true });
    await symlink(join(MODULES, target), join(folder, "node_modules", name));
  }
  return { folder, packed };
}
