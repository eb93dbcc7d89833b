// The runtimes that the client is tested in: where each is found, and how a module is run in it.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, "node_modules");
const { arch, platform } = process;

/** npm has installed the package for this platform, and for no other. */
function packaged(program, packages) {
  const name = packages[`${platform}-${arch}`];
  if (!name) return { missing: `there is no package of it for ${platform}-${arch}` };
  const path = join(FOLDER, name, program);
  return existsSync(path) ? { path } : { missing: `npm has not installed ${name}` };
}

const node = (major) =>
  packaged("bin/node", {
    "linux-x64": `node-${major}-linux-x64`,
    "linux-arm64": `node-${major}-linux-arm64`,
  });
const bun = packaged("bin/bun", {
  "linux-x64": "@oven/bun-linux-x64",
  "linux-arm64": "@oven/bun-linux-aarch64",
});
const deno = packaged("deno", {
  "linux-x64": "@deno/linux-x64-glibc",
  "linux-arm64": "@deno/linux-arm64-glibc",
});

const version = (name) => JSON.parse(readFileSync(join(FOLDER, name, "package.json"), "utf8")).version;

const PROGRAMS = [
  { id: "ws", name: "Node.js with ws", path: process.execPath, ws: true },
  { id: "node-22", name: "Node.js 22", ...node(22) },
  { id: "node-24", name: "Node.js 24", ...node(24) },
  { id: "bun", name: "Bun", ...bun },
  // Nothing is fetched, and no configuration around it is read.
  {
    id: "deno",
    name: "Deno",
    ...deno,
    flags: ["run", "--allow-all", "--no-config", "--no-lock", "--no-remote", "--no-npm"],
  },
];

/** Programs that run modules: { id, name, path, flags, ws }, where the name has the version, or `missing` for a reason. */
export const programs = PROGRAMS.map(({ flags = [], ...program }) => {
  if (program.missing) return program;
  try {
    const said = execFileSync(program.path, ["--version"], { encoding: "utf8" });
    const [number] = said.match(/\d+\.\d+\.\d+/);
    const name = program.ws
      ? `Node.js ${number} with ws ${version("ws")}`
      : program.name.replace(/ \d+$|$/, ` ${number}`);
    return { ...program, name, flags };
  } catch (error) {
    return { ...program, missing: `it does not run: ${error.message.split("\n")[0]}` };
  }
});
