// How the page is served, and its protection against foreign code.

import assert from "node:assert/strict";
import { browser, open, site, test, until } from "./setup.js";

test("the content security policy blocks foreign scripts and markup", async (t) => {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(site.url);
  const outcome = await page
    .evaluate(async () => {
      const violation = new Promise((resolve) =>
        document.addEventListener("securitypolicyviolation", (event) => resolve(event.violatedDirective)),
      );
      const script = document.createElement("script");
      let markup = "set";
      try {
        document.body.innerHTML = "<b>markup</b>";
      } catch (error) {
        markup = error.name;
      }
      script.src = "https://elsewhere.example/x.js";
      return [markup, await violation];
    })
    .catch((error) => error.message);
  assert.match(String(outcome), /TypeError,require-trusted-types-for|TrustedScriptURL/);
  const elsewhere = await page.evaluate(() => fetch("https://elsewhere.example/").catch((error) => error.name));
  assert.equal(elsewhere, "TypeError");
});

test("opened as a file, the page says how to serve it", async (t) => {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(new URL("../../../web/page/index.html", import.meta.url).href);
  await page.getByRole("heading", { name: "This page has to be served" }).waitFor();
  await page.getByText("python3 -m http.server").waitFor();
});

test("served without the client's folder, the page says so", async (t) => {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.route("**/client/link.js", (route) => route.fulfill({ status: 404 }));
  await page.goto(site.url);
  await page.getByText("it needs the folder client beside its own").waitFor();
});

test("without JavaScript the page says that it needs it", async (t) => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(site.url);
  await page.getByRole("heading", { name: "JavaScript is off" }).waitFor();
  assert.equal(await page.getByText("This page has to be served").isVisible(), false);
});

test("while loading slowly, the page shows no error, and requests all its modules at once", async (t) => {
  const { context } = await open(t);
  const loaded = await context.newPage();
  await loaded.goto(site.url);
  await loaded.getByRole("heading", { name: "Join a hub" }).waitFor();
  const urls = await loaded.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name));
  const modules = urls.map((url) => new URL(url).pathname).filter((path) => path.endsWith(".js"));

  const page = await context.newPage();
  const asked = [];
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await page.route("**/*.js", async (route) => {
    const { pathname } = new URL(route.request().url());
    asked.push(pathname);
    if (pathname !== "/page/served.js") await held;
    await route.continue();
  });
  await page.goto(site.url, { waitUntil: "commit" });
  await until(() => asked.length >= new Set(modules).size);
  assert.deepEqual([...asked].sort(), [...new Set(modules)].sort());
  await page.waitForTimeout(1_500);
  assert.equal((await page.locator("body").innerText()).trim(), "");
  release();
  await page.getByRole("heading", { name: "Join a hub" }).waitFor();
});

test("served by scripts/local.sh, the page keeps its query and cannot be framed", async (t) => {
  const { context } = await open(t);
  const page = await context.newPage();
  await page.goto(new URL("/?url=wss%3A%2F%2Fhub.example%2Flive&to=a%2Bb%20c", site.url).href);
  assert.equal(await page.getByLabel("Hub address").inputValue(), "wss://hub.example/live");
  assert.equal(new URL(page.url()).pathname, "/page/");
  assert.equal(new URL(page.url()).searchParams.get("to"), "a+b c");

  const frame = await browser.newPage();
  t.after(() => frame.close());
  await frame.setContent(`<iframe src="${site.url}"></iframe>`);
  await frame.waitForFunction(() => document.readyState === "complete");
  assert.match(frame.frames()[1].url(), /^chrome-error:/);
});
