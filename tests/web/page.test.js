// The page in a real browser, against the hub at $HUB_URL. What a test does to the network, it does to a proxy of its own.

import AxeBuilder from "@axe-core/playwright";
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { findBrowser, launch, proxy, servePage } from "./browser.js";
import { FakeHub } from "./fake-hub.js";

const HUB_URL = process.env.HUB_URL;
const skip = !findBrowser()
  ? "there is no browser: install Chromium (Debian: apt-get install chromium), or name one with CHROMIUM"
  : !HUB_URL && 'HUB_URL is not set: start a hub (scripts/local.sh up) and run eval "$(scripts/local.sh env)"';

if (skip) test("the page in a browser", { skip }, () => {});
else
  describe("the page", { concurrency: 3 }, () => {
    let browser, site;

    before(async () => {
      site = await servePage();
      browser = await launch();
    });

    after(async () => {
      await browser.close();
      await site.stop();
    });

    /** A browser window for one test, which fails on any error in its pages and on any request to elsewhere. */
    async function open(t, options = {}) {
      const context = await browser.newContext({ viewport: { width: 1100, height: 720 }, ...options });
      const problems = [];
      context.on("weberror", (error) => problems.push(String(error.error())));
      context.on("console", (message) => {
        if (/Content.Security.Policy|Trusted/i.test(message.text())) problems.push(message.text());
      });
      context.on("request", (request) => {
        if (!request.url().startsWith(site.url)) problems.push(`requests ${request.url()}`);
      });
      t.after(async () => {
        await context.close();
        assert.deepEqual(problems, []);
      });

      const tag = Math.random().toString(36).slice(2, 8);
      /** Nobody else at this hub has such a name. */
      const name = (session) => `${session}-${tag}`;
      const address = (session, to, hub = HUB_URL) =>
        `${site.url}?${new URLSearchParams({ url: hub, session: name(session), to: to ? name(to) : "" })}`;
      const enter = async (session, { to, hub } = {}) => {
        const page = await context.newPage();
        await page.goto(address(session, to, hub));
        await isState(page, "Connected");
        return page;
      };
      return { context, name, address, enter };
    }

    const isState = (page, text) => page.getByRole("status").filter({ hasText: text }).waitFor();
    const message = (page) => page.getByRole("textbox", { name: "Message" });
    const to = (page) => page.getByRole("textbox", { name: "To" });
    const heard = (page) => page.locator("#log .in .bubble").allTextContents();
    const hears = (page, text) => page.locator("#log .in .bubble").filter({ hasText: text }).waitFor();
    const status = (page) => page.locator("#log .out .status").last();
    const fares = (page, text) => status(page).filter({ hasText: text }).waitFor();

    async function say(page, text) {
      await message(page).fill(text);
      await message(page).press("Enter");
    }

    test("two tabs talk, the sender sees the receipt, and a third session hears nothing", async (t) => {
      const { enter, name } = await open(t);
      const alice = await enter("alice", { to: "bob" });
      const bob = await enter("bob");
      const eve = await enter("eve");

      await say(alice, "Hello, Bob");
      await hears(bob, "Hello, Bob");
      await fares(alice, `Delivered to ${name("bob")}`);
      assert.equal(await bob.locator("#log .in .name").textContent(), name("alice"));

      // Whoever has named nobody yet answers the one that wrote.
      await say(bob, "Hello, Alice");
      await hears(alice, "Hello, Alice");

      // A second tab of the same session hears as well.
      const second = await enter("bob");
      await to(alice).fill(`${name("bob")} ${name("nobody")}`);
      await say(alice, "All of you");
      await Promise.all([bob, second].map((page) => hears(page, "All of you")));
      await fares(alice, `Delivered to ${name("bob")} (2). Nobody is there as ${name("nobody")}`);

      assert.deepEqual(await heard(bob), ["Hello, Bob", "All of you"]);
      assert.deepEqual(await heard(eve), []);
    });

    test("a session may have any visible name, and is always seen for what it is", async (t) => {
      const { enter, name } = await open(t);
      const odd = ["auth0|64af", "ann+test@example.com", "a,b", "a&b=c", "#x", "<b>", "../x", "o'brien@x", "100%25"];
      const sender = await enter(odd[0]);
      await to(sender).fill(odd.map(name).join("  "));
      for (const own of odd) {
        const page = await enter(own, { to: odd[0] });
        assert.equal(await page.locator("#me").textContent(), name(own));
        assert.equal(await page.title(), `${name(own)} · Hub`);
        assert.equal(await to(page).inputValue(), name(odd[0]));
        await say(page, `from ${own}`);
        await hears(sender, `from ${own}`);
        await sender.getByRole("button", { name: name(own), exact: true }).click();
        assert.equal(await to(sender).inputValue(), name(own));
        assert.equal(new URL(sender.url()).searchParams.get("to"), name(own));
        const invitation = await page.getByRole("link", { name: "Another session" }).getAttribute("href");
        assert.deepEqual(Object.fromEntries(new URL(invitation).searchParams), { url: HUB_URL, to: name(own) });
        await page.reload();
        await isState(page, "Connected");
        assert.equal(await page.locator("#me").textContent(), name(own));
        await page.close();
      }

      // A comma belongs to the name.
      await to(sender).fill(`${name("bob")}, ${name("a,b")}`);
      await say(sender, "by habit");
      await fares(sender, `Nobody is there as “${name("bob")},” and “${name("a,b")}”`);
      assert.match(await sender.locator("#log .out .head").last().textContent(), /^to “bob-\w+,” and “a,b-\w+” /);

      const address = new URL(sender.url());
      assert.equal(address.searchParams.get("to"), `${name("bob")}, ${name("a,b")}`);
      await sender.goto(address.href.replace(/to=.*/, `to=${name("bob")}%20${name("carol")}`));
      await isState(sender, "Connected");
      await say(sender, "to two");
      await fares(sender, `Nobody is there as ${name("bob")} and ${name("carol")}`);
    });

    test("a message to one's own session is not shown to its sender twice", async (t) => {
      const { enter, name } = await open(t);
      const tabs = [await enter("self", { to: "self" }), await enter("self")];
      await say(tabs[0], "note to self");
      await hears(tabs[1], "note to self");
      await fares(tabs[0], `Delivered to ${name("self")} (2)`);
      assert.deepEqual(await heard(tabs[0]), []);
    });

    test("markup in a message is text", async (t) => {
      const { enter } = await open(t);
      const alice = await enter("alice", { to: "bob" });
      const bob = await enter("bob");
      const markup = "<img src=x onerror=alert(1)><script>alert(2)</script><b>bold</b> &amp; \u202eoverride";
      await say(alice, markup);
      await hears(bob, "bold");
      assert.deepEqual(await heard(bob), [markup]);
      for (const page of [alice, bob]) {
        assert.equal(await page.locator("#log .bubble").textContent(), markup);
        assert.equal(await page.locator("#log .bubble *").count(), 0);
      }
    });

    test("what is not text is shown as JSON", async (t) => {
      const { enter, name } = await open(t);
      const bob = await enter("bob");
      await bob.evaluate(
        async ([url, session, to]) => {
          const { HubClient } = await import("./hub-client.js");
          const hub = new HubClient(url, { session });
          await hub.send(to, { temperature: [21.5, "<i>"] });
          hub.close();
        },
        [HUB_URL, name("sensor"), name("bob")],
      );
      await hears(bob, "temperature");
      assert.deepEqual(JSON.parse((await heard(bob))[0]), { temperature: [21.5, "<i>"] });
    });

    test("the policy lets no script in and no markup through", async (t) => {
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

    test("a cut connection comes back by itself, and delivers what was written meanwhile", async (t) => {
      const ways = { alice: await proxy(HUB_URL), bob: await proxy(HUB_URL) };
      t.after(() => Promise.all(Object.values(ways).map((way) => way.stop())));
      const { enter, name } = await open(t);
      const alice = await enter("alice", { to: "bob", hub: ways.alice.url });
      const bob = await enter("bob", { hub: ways.bob.url });
      await say(alice, "before");
      await hears(bob, "before");
      for (const page of [alice, bob]) await page.evaluate(() => (globalThis.neverReloaded = true));

      ways.alice.cut();
      ways.bob.cut();
      await isState(alice, "Reconnecting");
      await isState(bob, "Reconnecting");
      await alice.getByText("The connection is lost.").waitFor();
      await say(alice, "meanwhile 1");
      await say(alice, "meanwhile 2");
      await fares(alice, "Waits for the connection");

      // First the one who is to hear.
      ways.bob.restore();
      await isState(bob, "Connected");
      ways.alice.restore();
      await isState(alice, "Connected");
      await hears(bob, "meanwhile 1");
      await hears(bob, "meanwhile 2");
      await fares(alice, `Delivered to ${name("bob")}`);
      assert.equal(await alice.getByText("The connection is lost.").isVisible(), false);
      for (const page of [alice, bob]) assert.equal(await page.evaluate(() => globalThis.neverReloaded), true);
      assert.deepEqual((await heard(bob)).sort(), ["before", "meanwhile 1", "meanwhile 2"]);
    });

    test("through hand-overs, 200 messages are each received once", async (t) => {
      const { context, name } = await open(t);
      const page = await context.newPage();
      await page.goto(site.url);
      const result = await page.evaluate(
        async ([url, sender, receiver]) => {
          const { HubClient } = await import("./hub-client.js");
          // Two hours in a second and a half.
          const options = { handoverAfter: 1_500, handoverOverlap: 1_000 };
          const from = new HubClient(url, { session: sender, ...options });
          const to = new HubClient(url, { session: receiver, ...options });
          const counts = new Map();
          const connections = new Set();
          const trouble = [];
          let raw = 0;
          to.addEventListener("message", ({ message }) => counts.set(message, (counts.get(message) ?? 0) + 1));
          to.addEventListener("frame", ({ data, direction, connection }) => {
            if (direction !== "in") return;
            connections.add(connection);
            raw += data.includes('"type":"message"');
          });
          for (const client of [from, to]) {
            for (const type of ["reconnecting", "error"]) {
              client.addEventListener(type, (event) => trouble.push(event.reason ?? event.error.message));
            }
          }
          const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
          await Promise.all(
            [from, to].map((client) => new Promise((resolve) => client.addEventListener("open", resolve))),
          );
          const sends = [];
          for (let n = 0; n < 200; n++) {
            sends.push(from.send(receiver, n));
            await pause(30);
          }
          const receipts = await Promise.all(sends);
          for (let tries = 0; counts.size < 200 && tries < 200; tries++) await pause(50);
          await pause(300); // A repetition would come now.
          from.close();
          to.close();
          return {
            unreceived: receipts.filter(({ delivered }) => !delivered).length,
            received: counts.size,
            repeated: [...counts.values()].filter((count) => count !== 1).length,
            connections: connections.size,
            raw,
            trouble,
          };
        },
        [HUB_URL, name("sender"), name("receiver")],
      );
      const { connections, raw, ...rest } = result;
      assert.deepEqual(rest, { unreceived: 0, received: 200, repeated: 0, trouble: [] });
      assert.ok(connections >= 3, `messages came over ${connections} connections: there were no hand-overs to survive`);
      assert.ok(raw > 200, "no message came over both connections: nothing was there to be dropped");
    });

    test("joining by hand: the address can be shared, and never holds the token", async (t) => {
      const { context, enter, name } = await open(t);
      const page = await context.newPage();
      await page.goto(site.url);
      await page.getByLabel("Hub address").fill("https://hub.example");
      await page.getByLabel("Your session").fill(name("alice"));
      await page.keyboard.press("Enter");
      await page.getByRole("alert").filter({ hasText: "must look like wss://" }).waitFor();
      await page.getByLabel("Hub address").fill(HUB_URL);
      await page.getByLabel("Your session").fill("not a session");
      await page.getByRole("button", { name: "Join" }).click();
      await page.getByRole("alert").filter({ hasText: "Session must be 1 to 128" }).waitFor();
      assert.equal(await page.evaluate(() => document.activeElement.id), "session");
      await page.getByLabel("Your session").fill(name("alice"));
      await page.getByLabel("Token").fill("s3cret");
      await page.keyboard.press("Enter");
      await isState(page, "Connected");
      await to(page).fill(name("bob"));
      await say(page, "hello");
      await fares(page, "Nobody is there");
      const address = new URL(page.url());
      assert.deepEqual(Object.fromEntries(address.searchParams), {
        url: HUB_URL,
        session: name("alice"),
        to: name("bob"),
      });

      // Not even where somebody pastes it.
      await page.getByRole("button", { name: "Leave" }).click();
      await page.getByLabel("Hub address").fill(`${HUB_URL}?token=s3cret`);
      await page.keyboard.press("Enter");
      await isState(page, "Connected");
      await to(page).fill(name("bob"));
      await to(page).blur();
      assert.doesNotMatch(page.url(), /s3cret/);

      await page.reload();
      await isState(page, "Connected");
      assert.equal(await to(page).inputValue(), name("bob"));

      // The invitation names the hub and whom to write to, and leaves the session to the guest.
      const [guest] = await Promise.all([
        context.waitForEvent("page"),
        page.getByRole("link", { name: "Another session" }).click(),
      ]);
      await guest.getByLabel("Your session").fill(name("bob"));
      await guest.keyboard.press("Enter");
      await isState(guest, "Connected");
      await say(guest, "I am here");
      await hears(page, "I am here");

      await page.getByRole("button", { name: "Leave" }).click();
      assert.equal(new URL(page.url()).searchParams.has("session"), false);
      assert.equal(await page.getByLabel("Token").inputValue(), "");
      // The hub may need a moment to notice.
      let fate;
      for (let tries = 0; tries < 20 && !/Nobody is there/.test(fate); tries++) {
        await say(guest, `gone? ${tries}`);
        await status(guest)
          .filter({ hasText: /Delivered|Nobody/ })
          .waitFor();
        fate = await status(guest).textContent();
      }
      assert.match(fate, /Nobody is there/);
    });

    test("everything can be done from the keyboard", async (t) => {
      const { enter, name } = await open(t);
      const page = await enter("alice");
      const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.ariaLabel);
      assert.equal(await focused(), "to", "the first thing to fill in has the focus");
      await page.keyboard.type("not*a*session");
      await page.keyboard.press("Tab");
      assert.equal(await focused(), "text");
      await page.keyboard.type("first");
      await page.keyboard.press("Shift+Enter");
      await page.keyboard.type("second");
      await page.keyboard.press("Enter");
      await page.getByRole("alert").filter({ hasText: "A session is named with" }).waitFor();
      assert.equal(await focused(), "to");
      await page.keyboard.press("Control+A");
      await page.keyboard.type(name("nobody"));
      await page.keyboard.press("Enter");
      await fares(page, "Nobody is there");
      assert.equal(await page.locator("#log .out .bubble").textContent(), "first\nsecond");
      assert.equal(await focused(), "text");
      await page.keyboard.press("Tab");
      assert.equal(await focused(), "Send");
      const reached = new Set();
      for (let presses = 0; presses < 12; presses++) {
        await page.keyboard.press("Shift+Tab");
        reached.add(await focused());
      }
      for (const id of ["text", "to", "scroller", "leave", "show-frames", "invite", "another"]) {
        assert.ok(reached.has(id), `${id} cannot be reached`);
      }
    });

    test("a send that fails says why, and can be repeated", async (t) => {
      const { enter } = await open(t);
      const page = await enter("alice", { to: "bob" });
      await say(page, "x".repeat(40_000));
      await fares(page, "Not sent: the frame has");
      await status(page).getByRole("button", { name: "Send again" }).click();
      await fares(page, "Not sent: the frame has");
      await say(page, "short");
      await fares(page, "Nobody is there");
    });

    test("a hub that is out of reach is named, and tried again when asked", async (t) => {
      const way = await proxy(HUB_URL);
      way.cut();
      t.after(() => way.stop());
      const { context, address } = await open(t);
      const page = await context.newPage();
      // Waits that leave time to see that it was not the clock.
      await page.addInitScript(() => (Math.random = () => 9));
      await page.goto(address("alice", "", way.url));
      await page.getByText(`${new URL(way.url).host} does not let us in, or cannot be reached.`).waitFor();
      await page.getByText("Next try in 9 s.").waitFor();
      way.restore();
      await page.getByRole("button", { name: "Try now" }).click();
      await page.getByRole("status").filter({ hasText: "Connected" }).waitFor({ timeout: 6_000 });
    });

    /** Joins by hand, as one has to with a token. */
    async function joinWith(page, url, session, token) {
      await page.goto(site.url);
      await page.getByLabel("Hub address").fill(url);
      await page.getByLabel("Your session").fill(session);
      await page.getByLabel("Token").fill(token);
      await page.getByRole("button", { name: "Join" }).click();
    }

    test("a token that the hub keeps turning away is named as the reason", async (t) => {
      const hub = await FakeHub.start();
      t.after(() => hub.stop());
      hub.refuse = 403;
      const { context, name } = await open(t);
      const page = await context.newPage();
      await page.addInitScript(() => (Math.random = () => 0));
      await joinWith(page, hub.url, name("alice"), "s3cret");
      await page.getByText("The hub has turned this token away 5 times:").waitFor();
      await page.getByText("it may have expired, or not cover this session.").waitFor();
      await page.getByText(/Next try in (2\d|30) s\./).waitFor();
      await isState(page, "Reconnecting");
      assert.deepEqual(hub.attempts.at(-1).protocols, ["hub.v1", "bearer.s3cret"]);
      await page.getByRole("button", { name: "Try now" }).click();
      await page.getByText("The hub has turned this token away 6 times:").waitFor();
      hub.refuse = false;
      await page.getByRole("button", { name: "Try now" }).click();
      await isState(page, "Connected");
      assert.equal(await page.getByText("turned this token away").isVisible(), false);
    });

    test("a token that can never work is final: the page says why, and lets one join again", async (t) => {
      const { context, name } = await open(t);
      const page = await context.newPage();
      await joinWith(page, HUB_URL, name("alice"), "x".repeat(8_001));
      await isState(page, "Token too large");
      await page
        .getByText("The token has 8001 characters and may have 8000: issue tokens with fewer claims.")
        .waitFor();
      assert.equal(await page.getByRole("button", { name: "Try now" }).isVisible(), false);
      await to(page).fill(name("bob"));
      await say(page, "too late");
      await fares(page, "Not sent: the token has 8001");
      await page.getByRole("button", { name: "Join again" }).click();
      assert.equal(await page.getByLabel("Your session").inputValue(), name("alice"));
      await page.keyboard.press("Enter");
      await isState(page, "Connected");
    });

    test("the strip shows raw frames, both ways", async (t) => {
      const { enter } = await open(t);
      const page = await enter("alice", { to: "alice" });
      await page.getByRole("button", { name: "Frames" }).click();
      await say(page, "<i>raw</i>");
      for (const part of ['"action":"sendMessage"', '"type":"message"', '"type":"receipt"']) {
        await page.locator("#frames code").filter({ hasText: part }).waitFor();
      }
      assert.equal(await page.locator("#frames i").count(), 0);
      await page.getByRole("button", { name: "Clear" }).click();
      assert.equal(await page.locator("#frames li").count(), 0);
    });

    test("opened as a file, it says how to serve it", async (t) => {
      const context = await browser.newContext();
      t.after(() => context.close());
      const page = await context.newPage();
      await page.goto(new URL("../../web/index.html", import.meta.url).href);
      await page.getByRole("heading", { name: "This page has to be served" }).waitFor();
      await page.getByText("python3 -m http.server").waitFor();
    });

    for (const [look, options] of Object.entries({
      light: { colorScheme: "light" },
      dark: { colorScheme: "dark" },
      phone: { colorScheme: "light", viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true },
    })) {
      test(`axe finds nothing to object to: ${look}`, async (t) => {
        const way = await proxy(HUB_URL);
        t.after(() => way.stop());
        const { context, enter } = await open(t, options);
        const check = async (page, what) => {
          const { violations } = await new AxeBuilder({ page }).setLegacyMode().analyze();
          const found = violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${what}: ${id} at ${html}`));
          assert.deepEqual(found, []);
          const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(overflow <= 0, `${what} is ${overflow} px too wide`);
        };

        const page = await context.newPage();
        await page.goto(site.url);
        await page.getByRole("button", { name: "Join" }).click();
        await check(page, "joining");

        await joinWith(page, HUB_URL, "alice", "x".repeat(8_001));
        await isState(page, "Token too large");
        await check(page, "failed");

        const alice = await enter(`a-name-that-is-rather-long-${look}`, { hub: way.url });
        await check(alice, "empty");
        const bob = await enter(`bob-${look}`, { to: `a-name-that-is-rather-long-${look}` });
        await say(bob, "Hello");
        await say(bob, "https://example.com/" + "a-long-path/".repeat(20));
        await hears(alice, "a-long-path");
        await say(alice, "Hello to you");
        await fares(alice, "Delivered");
        await say(alice, "x".repeat(40_000));
        await fares(alice, "Not sent");
        await alice.getByRole("button", { name: "Frames" }).click();
        await to(alice).fill("");
        await say(alice, "to whom?");
        way.cut();
        await isState(alice, "Reconnecting");
        await check(alice, "in trouble");
      });
    }
  });
