// The package as users get it: its files, its size, its types, and the runtimes.

import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import assert from "node:assert/strict";
import * as esbuild from "esbuild";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { publint } from "publint";
import { install, PACKAGE, run } from "./installed.js";
import { runInOldRuntime } from "./old-runtime.js";

const NAME = "@websocket-hub/client";
const ENTRIES = { [NAME]: "hub", [`${NAME}/react`]: "react", [`${NAME}/testing`]: "testing" };
const TSC = join(import.meta.dirname, "node_modules/typescript/bin/tsc");
const LINKS = Object.fromEntries(
  ["react", "@types/react", "@types/node", "@types/ws", "ws"].map((name) => [name, name]),
);

describe("the package", () => {
  let folder, packed;
  const undo = [];

  before(async () => {
    ({ folder, packed } = await install({ after: (run) => undo.push(run) }, LINKS));
  });
  after(() => Promise.all(undo.map((run) => run())));

  /** The bundle of a module in the folder. */
  const bundle = async (contents, options = {}) => {
    const stdin = { contents, resolveDir: folder, loader: "js" };
    const built = await esbuild.build({
      stdin,
      absWorkingDir: folder,
      bundle: true,
      format: "esm",
      write: false,
      metafile: true,
      logLevel: "silent",
      ...options,
    });
    const inputs = Object.keys(built.metafile.inputs).filter((path) => path !== "<stdin>");
    return { code: built.outputFiles[0].text, inputs };
  };

  test("it holds its modules, their types, the README and the licence, and nothing else", async () => {
    const entries = Object.keys(ENTRIES).map((path, index) => `export * as entry${index} from "${path}";`);
    const bundles = ["browser", "node"].map((platform) =>
      bundle(entries.join("\n"), { external: ["react"], platform }),
    );
    const modules = (await Promise.all(bundles)).flatMap(({ inputs }) =>
      inputs.map((path) => path.split(`/${NAME}/`)[1]),
    );
    const wanted = [
      "LICENSE",
      "README.md",
      "package.json",
      ...new Set(modules),
      ...Object.values(ENTRIES).map((entry) => `${entry}.d.ts`),
    ];
    assert.deepEqual(packed.files.map(({ path }) => path).sort(), wanted.sort());
    assert.ok(packed.size < 50_000, `the tarball has ${packed.size} bytes`);
  });

  test("its licence is the repository's", async () => {
    const [own, root] = [join(PACKAGE, "LICENSE"), join(PACKAGE, "../../LICENSE")];
    assert.equal(await readFile(own, "utf8"), await readFile(root, "utf8"));
  });

  test("Node imports it, and React only where it is asked for", async () => {
    const script = `
      import { connect, HubClient, HubError, SignedOut } from "${NAME}";
      import { FakeHub } from "${NAME}/testing";
      console.log([connect, HubClient, HubError, SignedOut, FakeHub].map((one) => typeof one).join());`;
    const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", script], { cwd: folder });
    assert.equal(stdout, "function,function,function,function,function\n");
    const { inputs } = await bundle(`export * from "${NAME}"; export * from "${NAME}/testing";`);
    assert.deepEqual(
      inputs.filter((path) => /react/.test(path)),
      [],
    );
  });

  test("its exports name no file, so that all files can move", async () => {
    await assert.rejects(bundle(`import "${NAME}/hub.js";`), /Could not resolve/);
  });

  test("the client alone has at most 12.4 kB, minified and compressed", async (t) => {
    const { code, inputs } = await bundle(`export { connect } from "${NAME}";`, { minify: true });
    const size = gzipSync(code, { level: 9 }).length;
    t.diagnostic(`${size} bytes, ${code.length} before compression`);
    assert.ok(size <= 12_400, `the client has ${size} bytes`);
    assert.deepEqual(
      inputs.filter((path) => /react|testing/.test(path)),
      [],
    );
  });

  test("an unused import adds nothing to a bundle", async () => {
    const imports = Object.keys(ENTRIES).map((path, index) => `import * as unused${index} from "${path}";`);
    const { code } = await bundle(imports.join("\n"), { minify: true });
    assert.equal(code.trim(), "");
  });

  test("publint finds no fault", async () => {
    const tarball = await readFile(packed.path);
    const pack = { tarball: tarball.buffer.slice(tarball.byteOffset, tarball.byteOffset + tarball.byteLength) };
    const { messages } = await publint({ pack, strict: true, level: "suggestion" });
    // It would have "imports" in place of "browser": browsers without a bundler cannot load a module called "#runtimes".
    const known = ({ code }) => code === "USE_EXPORTS_OR_IMPORTS_BROWSER";
    assert.deepEqual(
      messages.filter((message) => !known(message)),
      [],
    );
  });

  test("its types are found with every module resolution of TypeScript, from ES modules", async () => {
    const analysis = await checkPackage(createPackageFromTarballData(new Uint8Array(await readFile(packed.path))));
    assert.deepEqual(Object.keys(analysis.entrypoints).sort(), [".", "./react", "./testing"]);
    // Node 10 knew no "exports", and CommonJS can only import() this package.
    const known = (problem) => ["node10", "node16-cjs"].includes(problem.resolutionKind);
    assert.deepEqual(
      analysis.problems.filter((problem) => !known(problem)),
      [],
    );
  });

  describe("types", { concurrency: true }, () => {
    before(() => cp(join(import.meta.dirname, "consumer"), folder, { recursive: true }));
    const strict = { strict: true, noEmit: true, skipLibCheck: false, target: "es2022", jsx: "react-jsx" };
    const page = { lib: ["es2022", "dom", "dom.iterable"], types: [] };
    const both = ["client.ts", "react.tsx"];
    for (const [name, compilerOptions, files] of [
      ["for a bundler", { ...page, module: "esnext", moduleResolution: "bundler" }, both],
      ["for Node 16", { ...page, module: "node16", moduleResolution: "node16" }, both],
      ["for a newer Node", { ...page, module: "nodenext", moduleResolution: "nodenext" }, both],
      ["for Node, without a page", { lib: ["es2022"], types: ["node"], module: "nodenext" }, ["client.ts"]],
      ["with exact optional properties", { ...page, module: "nodenext", exactOptionalPropertyTypes: true }, both],
    ])
      test(name, async () => {
        const config = join(folder, `tsconfig.${name.replace(/\W/g, "")}.json`);
        await writeFile(config, JSON.stringify({ compilerOptions: { ...strict, ...compilerOptions }, files }));
        const { stdout } = await run(process.execPath, [TSC, "--project", config]).catch((error) => error);
        assert.equal(stdout, "");
      });
  });

  test("it has no syntax that Safari 15 lacks", async () => {
    const modules = packed.files.map(({ path }) => path).filter((path) => path.endsWith(".js"));
    assert.ok(modules.includes("hub.js"));
    for (const path of modules) {
      const source = await readFile(join(folder, "node_modules", NAME, path), "utf8");
      const [old, newest] = await Promise.all(
        ["safari15", "esnext"].map(async (target) => (await esbuild.transform(source, { target })).code),
      );
      assert.equal(old, newest, path);
    }
  });

  describe("in a runtime that has little", () => {
    const script = async (body) => {
      const source = `import { connect, HubError } from "${NAME}";
        const url = "wss://hub.example/live";
        export const done = (async () => { ${body} })();`;
      const { code } = await bundle(source, { format: "iife", globalName: "script" });
      return `${code}; script.done;`;
    };

    test("it connects, sends, receives, and gets its receipt", async () => {
      const body = `
        const hub = connect({ url, session: "alice" });
        const states = [hub.state.name];
        hub.on("state", ({ name }) => states.push(name));
        const heard = [];
        hub.on("message", ({ message, from, sentAt }) => heard.push({ message, from, dated: !isNaN(sentAt) }));
        const loop = hub.messages();
        const next = loop.next();
        const receipt = await hub.send(["alice", "bob"], { text: "h\u00e9llo \u2028" });
        const looped = (await next).value.message;
        await hub.close();
        return JSON.stringify({ states, heard, receipt, all: receipt.reachedAll, looped, handshakes });`;
      const { states, heard, receipt, all, looped, handshakes } = await runInOldRuntime(await script(body));
      assert.deepEqual(states, ["connecting", "open", "closed"]);
      assert.deepEqual(heard, [{ message: { text: "h\u00e9llo \u2028" }, from: "alice", dated: true }]);
      assert.deepEqual(looped, heard[0].message);
      assert.deepEqual([receipt.delivered, receipt.sessions.length, all], [1, 2, false]);
      assert.equal(handshakes.length, 1);
      assert.match(handshakes[0].url, /^wss:\/\/hub\.example\/live\?.*session_id=alice/);
    });

    test("tokens expire, frames are measured, sends are aborted, and errors keep their cause", async () => {
      const body = `
        const end = Math.floor(Date.now() / 1000) + 3600;
        // Without atob() it cannot read the token itself.
        const hub = connect({ url, session: "alice", token: () => ({ token: jwt, expiresAt: end * 1000 }) });
        await hub.ready();
        const expires = hub.state.expiresAt?.getTime() / 1000 - end;
        const large = await hub.send("bob", "\u00e9".repeat(20000)).catch(({ code }) => code);
        const controller = new AbortController();
        const aborted = hub.send("nobody", null, { signal: controller.signal }).catch((error) => String(error));
        controller.abort();
        const error = new HubError("timeout", "late", { id: "1", cause: "why" });
        const kept = [error.name, error.code, error.id, error.cause, error.message, error instanceof Error];
        const abort = await aborted;
        hub.pause();
        hub.resume();
        await hub.ready();
        const ids = new Set();
        for (let n = 0; n < 100; n++) ids.add((await hub.send("bob", n)).id);
        await hub.close({ drain: 100 });
        return JSON.stringify({ expires, large, abort, kept, ids: ids.size, handshakes });`;
      const found = await runInOldRuntime(await script(body), { jwt: "e30.e30.x" });
      assert.deepEqual([found.expires, found.large, found.ids], [0, "message_too_large", 100]);
      assert.deepEqual(found.kept, ["HubError", "timeout", "1", "why", "late", true]);
      assert.ok(found.abort);
      assert.equal(found.handshakes.length, 2);
      assert.match(found.handshakes[0].protocols.join(), /^hub\.v1,bearer\.e30/);
    });
  });
});
