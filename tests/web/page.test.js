// The page in a real browser, against the hub at $HUB_URL. What a test does to the network, it does to a proxy of its own.

import AxeBuilder from "@axe-core/playwright";
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { WebSocket as PlainWebSocket } from "ws";
import { connect } from "../../web/client/hub.js";
import { FakeHub } from "../../web/client/testing.js";
import { findBrowser, launch, proxy, servePage } from "./browser.js";
import { recorded, recordPages } from "./frames.js";

const WebSocket = recorded(PlainWebSocket);
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
      const context = recordPages(await browser.newContext({ viewport: { width: 1100, height: 720 }, ...options }));
      const problems = [];
      context.on("weberror", (error) => problems.push(String(error.error())));
      context.on("console", (message) => {
        if (/Content.Security.Policy|Trusted/i.test(message.text())) problems.push(message.text());
      });
      context.on("request", (request) => {
        if (new URL(request.url()).origin !== new URL(site.url).origin) problems.push(`requests ${request.url()}`);
      });
      t.after(async () => {
        await context.close();
        assert.deepEqual(problems, []);
      });

      const tag = Math.random().toString(36).slice(2, 8);
      /** Nobody else at this hub has such a name. */
      const name = (session) => `${session}-${tag}`;
      const address = (session, to, hub = HUB_URL, rooms = []) => {
        const named = { session: name(session), rooms: rooms.map(name).join(" "), to: to ? name(to) : "" };
        return `${site.url}?${new URLSearchParams({ url: hub, ...named })}`;
      };
      const enter = async (session, { to, hub, rooms } = {}) => {
        const page = await context.newPage();
        await page.goto(address(session, to, hub, rooms));
        await isState(page, "Connected");
        return page;
      };
      return { context, name, address, enter };
    }

    const isState = (page, text) => page.locator("#state").filter({ hasText: text }).waitFor();
    const isFocused = (page, id) => page.waitForFunction((id) => document.activeElement.id === id, id);
    const token = (page) => page.getByRole("textbox", { name: "Token" });
    const message = (page) => page.getByRole("textbox", { name: "Message" });
    const to = (page) => page.getByRole("textbox", { name: "To", exact: true });
    // The conversation in view.
    const LOG = ".log:not([hidden])";
    const heard = (page) => page.locator(`${LOG} .in .bubble`).allTextContents();
    const hears = (page, text) => page.locator(`${LOG} .in .bubble`).filter({ hasText: text }).waitFor();
    const status = (page) => page.locator(`${LOG} .out .status`).last();
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
      assert.equal(await bob.locator(`${LOG} .in .name`).textContent(), name("alice"));

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
      assert.match(await sender.locator(`${LOG} .out .head`).last().textContent(), /^to “bob-\w+,” and “a,b-\w+” /);

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
        assert.equal(await page.locator(`${LOG} .bubble`).textContent(), markup);
        assert.equal(await page.locator(`${LOG} .bubble *`).count(), 0);
      }
    });

    test("what is not text is shown as JSON", async (t) => {
      const { enter, name } = await open(t);
      const bob = await enter("bob");
      await bob.evaluate(
        async ([url, session, to]) => {
          const { connect } = await import("/client/hub.js");
          const hub = connect({ url, session });
          await hub.send(to, { temperature: [21.5, "<i>"] });
          await hub.close();
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
          const { connect } = await import("/client/hub.js");
          // Tokens that end after seconds, in place of hours.
          const token = () => ({ token: "x", expiresAt: Date.now() + 5_000 });
          const from = connect({ url, session: sender, token });
          const to = connect({ url, session: receiver, token });
          const counts = new Map();
          const connections = new Set();
          const trouble = [];
          let raw = 0; // Deliveries, and what was had from the history in their place.
          to.on("message", ({ message, missed }) => {
            counts.set(message, (counts.get(message) ?? 0) + 1);
            raw += missed;
          });
          to.on("frame", ({ data, direction, connection }) => {
            if (direction !== "in") return;
            connections.add(connection);
            raw += JSON.parse(data).type === "message";
          });
          await Promise.all([from.ready(), to.ready()]);
          for (const client of [from, to]) {
            client.on("state", ({ name, reason }) => name !== "open" && trouble.push(`${name}: ${reason}`));
            client.on("error", ({ message }) => trouble.push(message));
          }
          const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
          const sends = [];
          for (let n = 0; n < 200; n++) {
            sends.push(from.send(receiver, n));
            await pause(60);
          }
          const receipts = await Promise.all(sends);
          for (let tries = 0; counts.size < 200 && tries < 200; tries++) await pause(50);
          await pause(300); // A repetition would come now.
          const { duplicates } = to.stats;
          const seen = [...trouble];
          await Promise.all([from.close(), to.close()]);
          return {
            unreceived: receipts.filter(({ reachedAll }) => !reachedAll).length,
            received: counts.size,
            repeated: [...counts.values()].filter((count) => count !== 1).length,
            connections: connections.size,
            raw,
            dropped: raw - duplicates,
            trouble: seen,
          };
        },
        [HUB_URL, name("sender"), name("receiver")],
      );
      const { connections, raw, ...rest } = result;
      assert.deepEqual(rest, { unreceived: 0, received: 200, repeated: 0, dropped: 200, trouble: [] });
      assert.ok(connections >= 3, `messages came over ${connections} connections: there were no hand-overs to survive`);
      assert.ok(raw > 200, "no message came over both connections: nothing was there to be dropped");
    });

    test("joining by hand: the address can be shared, and never holds the token", async (t) => {
      const { context, enter, name } = await open(t);
      const page = await context.newPage();
      await page.goto(site.url);
      for (const address of ["https://hub.example", "wss:// host/live", "ws://127.0.0.1:99999/live", "wss://"]) {
        await page.getByLabel("Your session").fill(name("alice"));
        await page.getByLabel("Hub address").fill(address);
        await page.keyboard.press("Enter");
        await page.getByRole("alert").filter({ hasText: "must look like wss://" }).waitFor();
        await page.reload();
      }
      await page.getByLabel("Hub address").fill(HUB_URL);
      await page.getByLabel("Your session").fill("not a session");
      await page.getByRole("button", { name: "Join" }).click();
      await page.getByRole("alert").filter({ hasText: "Session must be 1 to 128" }).waitFor();
      assert.equal(await page.evaluate(() => document.activeElement.id), "session");
      await page.getByLabel("Your session").fill(name("alice"));
      await token(page).fill("s3cret");
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

      // This hub asks for none, so it may as well be left out.
      await page.reload();
      await isState(page, "Token needed");
      await page.getByRole("button", { name: "Join again" }).click();
      await page.keyboard.press("Enter");
      await isState(page, "Connected");
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
      assert.equal(await token(page).inputValue(), "");
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
      assert.equal(await page.locator(`${LOG} .out .bubble`).textContent(), "first\nsecond");
      assert.equal(await focused(), "text");
      await page.keyboard.press("Tab");
      assert.equal(await focused(), "Send");
      const reached = new Set();
      for (let presses = 0; presses < 12; presses++) {
        await page.keyboard.press("Shift+Tab");
        reached.add(await focused());
      }
      for (const id of ["text", "to", "scroller", "room", "Direct", "leave", "show-frames", "invite", "another"]) {
        assert.ok(reached.has(id), `${id} cannot be reached`);
      }
      // The rooms too: joined, chosen and left.
      const one = name("room-7");
      await page.locator("#room").focus();
      await page.keyboard.type(one);
      await page.keyboard.press("Enter");
      await joined(page, one);
      assert.equal(await focused(), "text");
      await room(page, "Direct").focus();
      await page.keyboard.press("Space");
      assert.equal(await room(page, "Direct").getAttribute("aria-current"), "true");
      await page.keyboard.press("Tab");
      assert.equal(await focused(), `${one}, joined`);
      await page.keyboard.press("Tab");
      await page.keyboard.press("Enter");
      await hasChips(page, "Direct");
      assert.equal(await focused(), "Direct");
    });

    test("on a phone, the key to send says so, and what is written grows with its lines", async (t) => {
      const { enter } = await open(t, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
      const page = await enter("alice", { to: "bob" });
      assert.equal(await message(page).getAttribute("enterkeyhint"), "send");
      // As where no style can do it.
      await message(page).evaluate((field) => (field.style.fieldSizing = "fixed"));
      const height = () => message(page).evaluate((field) => field.clientHeight);
      const one = await height();
      await message(page).pressSequentially("one");
      for (const line of ["two", "three"]) {
        await message(page).press("Shift+Enter");
        await message(page).pressSequentially(line);
      }
      assert.equal(await height(), 3 * one);
      await message(page).fill("line\n".repeat(100));
      assert.ok((await height()) < 10 * one, "there is an end to it");
      await message(page).fill("short");
      await message(page).press("Enter");
      await fares(page, "Nobody is there");
      assert.equal(await height(), one);

      // What was last said stays in view when there is less room.
      const isAtEnd = () =>
        page.waitForFunction(() => {
          const { scrollHeight, scrollTop, clientHeight } = document.getElementById("scroller");
          return scrollHeight > clientHeight && scrollHeight - scrollTop - clientHeight <= 1;
        });
      for (let n = 0; n < 12; n++) await say(page, `line ${n}`);
      await fares(page, "Nobody is there");
      await isAtEnd();
      await page.getByRole("button", { name: "Frames" }).click();
      await isAtEnd();
    });

    test("a keypress that ends the composition of a character sends nothing", async (t) => {
      const { enter } = await open(t);
      const page = await enter("alice", { to: "bob" });
      await message(page).fill("にほん");
      // Chrome's and Firefox's way, and Safari's.
      for (const composing of [{ isComposing: true }, { keyCode: 229 }]) {
        await message(page).dispatchEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...composing });
      }
      assert.equal(await page.locator(`${LOG} .out`).count(), 0);
      await message(page).press("Enter");
      await fares(page, "Nobody is there");
    });

    test("an invitation is copied; where the browser refuses that, it is said", async (t) => {
      const { context, enter } = await open(t);
      const page = await enter("alice");
      const button = page.getByRole("button", { name: /Cop/ });
      await page.evaluate(() => {
        navigator.clipboard.writeText = () => Promise.reject(new DOMException("refused", "NotAllowedError"));
      });
      await button.click();
      await page.locator(`${LOG} .notice`).filter({ hasText: "does not let this page copy" }).waitFor();
      assert.equal(await button.textContent(), "Copy invitation");

      await context.grantPermissions(["clipboard-read", "clipboard-write"]);
      await page.evaluate(() => delete navigator.clipboard.writeText);
      await button.click();
      await page.getByRole("button", { name: "Copied" }).waitFor();
      const link = await page.getByRole("link", { name: "Another session" }).getAttribute("href");
      assert.equal(await page.evaluate(() => navigator.clipboard.readText()), link);
    });

    test("what is wrong is tied to its field, and trouble is announced once", async (t) => {
      const way = await proxy(HUB_URL);
      t.after(() => way.stop());
      const { context, enter } = await open(t);
      const form = await context.newPage();
      await form.goto(site.url);
      const marked = () =>
        form.evaluate(() =>
          Object.fromEntries(
            [...document.querySelectorAll("#join-form input")].map(({ id, ariaInvalid, attributes }) => [
              id,
              [ariaInvalid, attributes.getNamedItem("aria-describedby")?.value],
            ]),
          ),
        );
      const fine = ["false", undefined];
      const wrong = ["true", "join-error"];
      await form.getByRole("button", { name: "Join" }).click();
      assert.deepEqual(await marked(), { url: wrong, session: fine, token: fine });
      await form.getByLabel("Hub address").fill(HUB_URL);
      await form.keyboard.press("Enter");
      assert.deepEqual(await marked(), { url: fine, session: wrong, token: fine });
      await form.getByLabel("Your session").fill("alice");
      await token(form).fill("två ord");
      await form.keyboard.press("Enter");
      assert.deepEqual(await marked(), { url: fine, session: fine, token: wrong });
      assert.equal(await form.evaluate(() => document.activeElement.id), "token");

      const page = await enter("alice", { to: "bob", hub: way.url });
      // What a screen reader is told of: every change within a status that was there before.
      await page.evaluate(() => {
        globalThis.announced = [];
        const line = document.getElementById("trouble-text");
        if (line.role !== "status" || !line.checkVisibility()) return;
        new MutationObserver(() => announced.push(line.textContent.trim())).observe(line, {
          childList: true,
          subtree: true,
        });
      });
      way.cut();
      await page.getByText("The connection is lost.").waitFor();
      await page.waitForTimeout(2_500); // Several attempts.
      await page.getByRole("button", { name: "Try now" }).click();
      way.restore();
      await isState(page, "Connected");
      assert.deepEqual(await page.evaluate(() => announced), [
        "The connection is lost. What you write now is sent when it is back.",
        "",
      ]);
    });

    test("without a network it says so, and goes on when there is one again", async (t) => {
      const way = await proxy(HUB_URL);
      t.after(() => way.stop());
      const { context, enter } = await open(t);
      const page = await enter("alice", { to: "bob", hub: way.url });
      await context.setOffline(true);
      way.cut();
      await isState(page, "Offline");
      await page.getByText("There is no network.").waitFor();
      await say(page, "meanwhile");
      await fares(page, "Waits for the connection");
      await page.waitForTimeout(1_500);
      await isState(page, "Offline");
      assert.equal(await token(page).isVisible(), false, "no token helps here");
      way.restore();
      await context.setOffline(false);
      await isState(page, "Connected");
      await fares(page, "Nobody is there");
    });

    test("a page that comes back from the page cache, or wakes, still shows everything, and goes on", async (t) => {
      const { context, enter, name } = await open(t);
      const page = await enter("alice", { to: "bob" });
      const bob = await enter("bob", { to: "alice" });
      await say(page, "before");
      await hears(bob, "before");
      await message(page).fill("a draft");

      // As the browser does it, except that here the page stays on the screen.
      const transition = (type) =>
        page.evaluate((type) => dispatchEvent(new PageTransitionEvent(type, { persisted: true })), type);
      await transition("pagehide");
      await isState(page, "Paused");
      for (let tries = 0; tries < 20; tries++) {
        await say(bob, `asleep? ${tries}`);
        await status(bob)
          .filter({ hasText: /Delivered|Nobody/ })
          .waitFor();
        if (/Nobody/.test(await status(bob).textContent())) break;
      }
      await transition("pageshow");
      await isState(page, "Connected");
      assert.equal(await message(page).inputValue(), "a draft");
      assert.equal(await page.locator(`${LOG} .out .bubble`).textContent(), "before");
      await say(bob, "awake?");
      await hears(page, "awake?");

      const devtools = await context.newCDPSession(page);
      await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
      await say(bob, "frozen?");
      await fares(bob, `Delivered to ${name("alice")}`);
      await devtools.send("Page.setWebLifecycleState", { state: "active" });
      await hears(page, "frozen?");
      await isState(page, "Connected");
      assert.equal(await message(page).inputValue(), "a draft");
    });

    test("a send that fails says why, and can be repeated", async (t) => {
      const { enter } = await open(t);
      const page = await enter("alice", { to: "bob" });
      await say(page, "x".repeat(40_000));
      await fares(page, "Not sent: it is too large.");
      await status(page).getByRole("button", { name: "Send again" }).click();
      await fares(page, "Not sent: it is too large.");
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
      await page.getByText("Next attempt in 9 s.").waitFor();
      way.restore();
      await page.getByRole("button", { name: "Try now" }).click();
      await page.getByRole("status").filter({ hasText: "Connected" }).waitFor({ timeout: 6_000 });
    });

    /** Joins by hand, as one has to with a token. */
    async function joinWith(page, url, session, secret) {
      await page.goto(site.url);
      await page.getByLabel("Hub address").fill(url);
      await page.getByLabel("Your session").fill(session);
      await token(page).fill(secret);
      await page.getByRole("button", { name: "Join" }).click();
    }

    test("a token that the hub keeps turning away is named as the reason", async (t) => {
      const way = await proxy(HUB_URL);
      t.after(() => way.stop());
      way.refuse();
      const { context, name } = await open(t);
      const page = await context.newPage();
      await page.addInitScript(() => (Math.random = () => 0));
      await joinWith(page, way.url, name("alice"), "s3cret");
      await page.getByText("The hub has turned this token away 5 times:").waitFor();
      await page.getByText("it may have expired, or not cover this session.").waitFor();
      await page.getByText(/Next attempt in (2\d|30) s\./).waitFor();
      await isState(page, "Connecting");
      assert.match(way.refused.at(-1), /^sec-websocket-protocol: hub\.v1, bearer\.s3cret\r$/im);
      await page.getByRole("button", { name: "Try now" }).click();
      await page.getByText("The hub has turned this token away 6 times:").waitFor();
      // The place for another token is there, and that one is used at once.
      way.restore();
      await token(page).fill("token-2");
      await page.keyboard.press("Enter");
      await isState(page, "Connected");
      assert.equal(await page.getByText("turned this token away").isVisible(), false);
      assert.equal(await token(page).isVisible(), false);
      await isFocused(page, "to");
    });

    test("loaded anew, a page that was joined with a token asks for it and keeps all else", async (t) => {
      const way = await proxy(HUB_URL);
      t.after(() => way.stop());
      const { context, name } = await open(t);
      const page = await context.newPage();
      await joinWith(page, way.url, name("alice"), "s3cret");
      await isState(page, "Connected");
      await to(page).fill(name("bob"));
      await to(page).blur();
      await page.reload();
      // Not sooner: the page before would try again while it is still there.
      way.refuse();
      await page.getByText("Enter your token again.").waitFor();
      await isState(page, "Token needed");
      await isFocused(page, "new-token");
      assert.equal(way.refused.length, 0, "there was an attempt that could not succeed");
      await page.getByRole("button", { name: "Join again" }).click();
      await isFocused(page, "token");
      assert.equal(await page.getByLabel("Your session").inputValue(), name("alice"));
      way.restore();
      await page.keyboard.type("s3cret");
      await page.keyboard.press("Enter");
      await isState(page, "Connected");
      assert.equal(await to(page).inputValue(), name("bob"));

      await page.reload();
      await isFocused(page, "new-token");
      await page.keyboard.type("s3cret");
      await page.keyboard.press("Enter");
      await isState(page, "Connected");
      await isFocused(page, "text");
    });

    test("a link to a hub that lets nobody in without a token soon asks for one", async (t) => {
      const way = await proxy(HUB_URL);
      t.after(() => way.stop());
      way.refuse();
      const { context, name, address } = await open(t);
      const page = await context.newPage();
      await page.goto(address("alice", "bob", way.url));
      await isFocused(page, "new-token");
      assert.ok(way.refused.length >= 2, "the first refusal may be a hub that is just out of reach");
      await page.getByText("If the hub asks for a token, enter one.").waitFor();
      // It is no reason to give up, or to take away what somebody types.
      await page.keyboard.type("s3cret");
      const before = way.refused.length;
      await page.getByRole("button", { name: "Try now" }).click();
      for (let tries = 0; way.refused.length === before && tries < 100; tries++) await page.waitForTimeout(50);
      assert.equal(await token(page).inputValue(), "s3cret");
      await page.getByRole("button", { name: "Join again" }).click();
      assert.deepEqual(Object.fromEntries(new URL(page.url()).searchParams), { url: way.url, to: name("bob") });
    });

    test("a token in the page's address is taken out of it at once, and used", async (t) => {
      const way = await proxy(HUB_URL);
      t.after(() => way.stop());
      way.refuse();
      const { context, name } = await open(t);
      const page = await context.newPage();
      await page.addInitScript(() => {
        const { replaceState } = history;
        const Socket = WebSocket;
        globalThis.steps = [];
        history.replaceState = function (...args) {
          steps.push(`address ${String(args[2]).includes("s3cret")}`);
          replaceState.apply(this, args);
        };
        globalThis.WebSocket = class extends Socket {
          constructor(...args) {
            steps.push("socket");
            super(...args);
          }
        };
      });
      const query = (parameters) => `${site.url}?${new URLSearchParams(parameters)}`;
      for (const address of [
        query({ url: `${way.url}?token=s3cret&session_id=x`, session: name("alice"), to: "bob" }),
        query({ url: way.url, token: "s3cret", session: name("alice"), to: "bob" }),
      ]) {
        await page.goto("about:blank");
        const refused = way.refused.length;
        await page.goto(address);
        for (let tries = 0; way.refused.length === refused && tries < 100; tries++) await page.waitForTimeout(50);
        assert.match(way.refused.at(-1), /bearer\.s3cret/);
        assert.doesNotMatch(way.refused.at(-1).split("\r\n")[0], /s3cret|session_id=x/);
        assert.equal(page.url(), query({ url: way.url, session: name("alice"), to: "bob" }));
        const steps = await page.evaluate(() => steps);
        assert.equal(steps[0], "address false");
        assert.ok(!steps.includes("address true"));
      }
      // Without a session there is a form to fill in, and nothing to show either.
      await page.goto(`${site.url}?url=${way.url}?token=s3cret`);
      assert.equal(await token(page).inputValue(), "s3cret");
      assert.doesNotMatch(page.url(), /s3cret/);
    });

    test("a token is neither readable on the screen nor offered to be kept", async (t) => {
      const { context, name, enter } = await open(t);
      const page = await context.newPage();
      await page.goto(site.url);
      const look = (id) =>
        page.locator(id).evaluate((field) => {
          const { webkitTextSecurity } = getComputedStyle(field);
          return [field.type, field.autocomplete, field.spellcheck, field.name, webkitTextSecurity];
        });
      for (const id of ["#token", "#new-token"]) assert.deepEqual(await look(id), ["text", "off", false, "", "disc"]);
      await joinWith(page, HUB_URL, name("alice"), "s3cret");
      await isState(page, "Connected");
      assert.equal(await page.locator("#token").inputValue(), "");
    });

    test("a token that can never work is final: the page says why, and lets one join again", async (t) => {
      const { context, name } = await open(t);
      const page = await context.newPage();
      await joinWith(page, HUB_URL, name("alice"), "x".repeat(8_001));
      await isState(page, "Token too large");
      await page
        .getByText("Token too large. It would not get through to the hub. Get one with fewer claims.")
        .waitFor();
      assert.equal(await page.getByRole("button", { name: "Try now" }).isVisible(), false);
      await to(page).fill(name("bob"));
      await say(page, "too late");
      await fares(page, "Not sent: the token is too large.");
      await token(page).fill("short");
      await page.keyboard.press("Enter");
      await isState(page, "Connected");
      await status(page).getByRole("button", { name: "Send again" }).click();
      await fares(page, "Nobody is there");
    });

    /** A hub without history for one page, which answers each send with a receipt. Returns what posts a frame to the page. */
    async function simulate(page, answer) {
      let send;
      await page.routeWebSocket(/^ws:\/\/simulated\//, (socket) => {
        send = (frame) => socket.send(JSON.stringify(frame));
        socket.onMessage((data) => {
          const { action, ...rest } = JSON.parse(data);
          if (action === "ping") send({ type: "pong" });
          else if (action === "sendMessage") send(answer(rest));
          else send({ type: "error", code: "unknown_action", message: "no such action" });
        });
      });
      return (frame) => send(frame);
    }

    test("only what has reached everybody gets the tick; else it is said who was not reached", async (t) => {
      const { context, address } = await open(t);
      const page = await context.newPage();
      const count = (delivered, failed = 0, rest = {}) => ({ delivered, gone: 0, failed, ...rest });
      const receipts = {
        all: { bob: count(1), carol: count(2) },
        absent: { bob: count(1), dave: count(0) },
        missed: { bob: count(1, 2), erin: count(0, 1) },
        unread: { bob: count(1), carol: count(3, 0, { complete: false }) },
        nobody: { dave: count(0) },
      };
      await simulate(page, ({ id, message }) => {
        const sessions = Object.entries(receipts[message]).map(([session, counts]) => ({ session, ...counts }));
        const sum = (name) => sessions.reduce((total, counts) => total + counts[name], 0);
        const complete = sessions.every((session) => session.complete !== false) ? undefined : false;
        return { type: "receipt", id, ...count(sum("delivered"), sum("failed"), { complete }), sessions };
      });
      await page.goto(address("alice", "bob", "ws://simulated/live"));
      await isState(page, "Connected");
      const marks = {};
      for (const [text, words] of Object.entries({
        all: "Delivered to bob and carol (2)",
        absent: "Delivered to bob. Nobody is there as dave",
        missed: "Delivered to bob. Not reached: bob (2) and erin (1)",
        unread: "Delivered to bob and carol (3). Perhaps not everybody was reached as carol",
        nobody: "Nobody is there as dave",
      })) {
        await say(page, text);
        await fares(page, words);
        assert.equal(await status(page).textContent(), words);
        marks[text] = await status(page).evaluate((line) => getComputedStyle(line, "::before").content.split('"')[1]);
      }
      assert.deepEqual(marks, { all: "✓", absent: "◐", missed: "◐", unread: "◐", nobody: "○" });
    });

    test("of its own messages the page knows the latest again, and forgets those that are no longer shown", async (t) => {
      const { context, name, address } = await open(t);
      const page = await context.newPage();
      const ids = [];
      const send = await simulate(page, ({ id }) => {
        ids.push(id);
        return { type: "receipt", id, delivered: 1, gone: 0, failed: 0, sessions: [] };
      });
      await page.goto(address("alice", "alice", "ws://simulated/live"));
      await isState(page, "Connected");
      await page.evaluate(async () => {
        for (let n = 0; n < 1_002; n++) {
          document.getElementById("text").value = `note ${n}`;
          document.getElementById("compose").requestSubmit();
          if (n % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
        }
      });
      for (let tries = 0; ids.length < 1_002 && tries < 200; tries++) await page.waitForTimeout(50);
      assert.equal(ids.length, 1_002);
      for (const [id, message] of [ids.at(-1), ids[2], ids[1], ids[0]].entries()) {
        send({
          type: "message",
          id: message,
          from: name("alice"),
          message: `echo ${id}`,
          sent_at: new Date().toISOString(),
        });
      }
      await hears(page, "echo 3");
      assert.deepEqual(await heard(page), ["echo 2", "echo 3"]);
    });

    const room = (page, label) => page.getByRole("button", { name: label, exact: true });
    const joined = (page, name) => room(page, `${name}, joined`).waitFor();
    async function joinRoom(page, names) {
      await page.getByRole("textbox", { name: "Join a room" }).fill(names);
      await page.keyboard.press("Enter");
    }
    const roomsOf = (page) => new URL(page.url()).searchParams.get("rooms") ?? "";
    const chips = (page) =>
      page
        .getByRole("list", { name: "Rooms" })
        .getByRole("listitem")
        .getByRole("button")
        .evaluateAll((all) => all.map(({ ariaLabel }) => ariaLabel).filter((label) => !label.startsWith("Leave ")));
    async function hasChips(page, ...expected) {
      const isSo = async () => JSON.stringify(await chips(page)) === JSON.stringify(expected);
      for (let tries = 0; !(await isSo()) && tries < 100; tries++) await page.waitForTimeout(50);
      assert.deepEqual(await chips(page), expected);
    }

    // What the page shows, from top to bottom: messages, and the lines between them.
    const lines = (page, which = `${LOG} li`) =>
      page
        .locator(which)
        .evaluateAll((items) => items.map((item) => (item.querySelector(".bubble") ?? item).textContent));
    const READ_OUT = `${LOG} li:not([aria-live=off])`;
    async function shows(page, expected) {
      const isSo = async () => JSON.stringify(await lines(page)) === JSON.stringify(expected);
      for (let tries = 0; !(await isSo()) && tries < 160; tries++) await page.waitForTimeout(50);
      assert.deepEqual(await lines(page), expected);
    }

    /** However long a test takes. */
    const waitsForEarlier = (page) =>
      page.addInitScript(() => (AbortSignal.timeout = () => new AbortController().signal));
    const hasKeptNothing = (page) => page.evaluate(() => localStorage.length === 0);
    const keepNothing = (place) =>
      place.addInitScript(() => {
        Object.defineProperty(globalThis, "localStorage", {
          get() {
            throw new DOMException("denied", "SecurityError");
          },
        });
      });

    /** A hub of this test's own for one page, which can do what a real one does now and then. */
    async function fake(page, clock) {
      const hub = new FakeHub({ history: true, clock });
      await page.routeWebSocket(/^ws:\/\/simulated\//, (socket) => {
        const way = new hub.WebSocket(hub.url + new URL(socket.url()).search);
        const opened = new Promise((resolve) => way.addEventListener("open", resolve));
        way.addEventListener("message", ({ data }) => socket.send(data));
        socket.onMessage((data) => opened.then(() => way.send(data)));
        socket.onClose(() => way.close());
      });
      return hub;
    }

    /** A client beside the pages. What it tells a session comes in that order. */
    function sender(t, session) {
      const hub = connect({ url: HUB_URL, session, WebSocket, ordered: true });
      t.after(() => hub.close());
      const tell = (to, ...texts) => Promise.all(texts.map((text) => hub.send(to, text)));
      return Object.assign(tell, { unstored: (to, text) => hub.send(to, text, { store: false }) });
    }

    /** Frames between a page and the hub pass only if `inwards` and `outwards` return them, as they are then. */
    function intercept(page, { inwards = (frame) => frame, outwards = (frame) => frame }) {
      return page.routeWebSocket(
        ({ href }) => href.startsWith(HUB_URL),
        (socket) => {
          const hub = socket.connectToServer();
          const pass = (to) => (frame) => frame && to.send(JSON.stringify(frame));
          socket.onMessage((data) => pass(hub)(outwards(JSON.parse(data), pass(hub), pass(socket))));
          hub.onMessage((data) => pass(socket)(inwards(JSON.parse(data), pass(socket))));
        },
      );
    }

    test("whoever joins sees what came earlier, set apart from what comes now", async (t) => {
      const { enter, name } = await open(t);
      const tell = sender(t, name("alice"));
      await tell(name("bob"), "one", "two", "three");
      const bob = await enter("bob");
      await shows(bob, ["Earlier", "one", "two", "three"]);
      assert.equal(await to(bob).inputValue(), "", "nobody is answered unasked");
      assert.deepEqual(await lines(bob, READ_OUT), [], "nothing of it is read out");
      await tell(name("bob"), "four");
      await shows(bob, ["Earlier", "one", "two", "three", "New", "four"]);
      await tell(name("bob"), "five");
      await shows(bob, ["Earlier", "one", "two", "three", "New", "four", "five"]);
      assert.deepEqual(await lines(bob, READ_OUT), ["four", "five"]);
      await bob
        .getByRole("button", { name: name("alice") })
        .first()
        .click();
      assert.equal(await to(bob).inputValue(), name("alice"));
    });

    test("what comes while the page asks what came earlier is shown after it, once", async (t) => {
      const { context, name } = await open(t);
      const tell = sender(t, name("alice"));
      for (const held of ["question", "answer"]) {
        const session = name(held);
        await tell(session, "one", "two");
        const page = await context.newPage();
        await waitsForEarlier(page);
        let release;
        let wasHeld = false;
        const hold = (isIt) => (frame, pass) => {
          if (wasHeld || !isIt(frame)) return frame;
          wasHeld = true;
          release = () => pass(frame);
          return null;
        };
        await intercept(page, {
          outwards: held === "question" ? hold(({ last }) => last) : undefined,
          inwards: held === "answer" ? hold(({ type, messages }) => type === "history" && messages.length) : undefined,
        });
        await page.goto(`${site.url}?${new URLSearchParams({ url: HUB_URL, session, to: session })}`);
        await isState(page, "Connected");
        await say(page, "mine");
        await fares(page, "Delivered");
        await tell(session, "three");
        await tell.unstored(session, "aside");
        await page.locator("#frame-list code").filter({ hasText: "aside" }).waitFor({ state: "attached" });
        assert.deepEqual(await lines(page), ["mine"], "nothing is shown before what came earlier");
        release();
        await shows(page, ["Earlier", "one", "two", "New", "mine", "three", "aside"]);
        await tell(session, "four");
        await shows(page, ["Earlier", "one", "two", "New", "mine", "three", "aside", "four"]);
        // What went to one's own session is there once more, and only once, when nothing else shows it.
        await page.reload();
        await shows(page, ["Earlier", "one", "two", "mine", "three", "four"]);
        await page.close();
      }
    });

    test("what came earlier has no hole, and no repetition, in whichever order the hub answers", async (t) => {
      const { context, name, address } = await open(t);
      const tell = sender(t, name("alice"));
      // The client asks first where the session stands, and here the hub says so after "three" was sent. What the page asks was
      // answered before that; the answer comes before, or later.
      for (const session of ["before", "later"]) {
        await tell(name(session), "one", "two");
        const page = await context.newPage();
        await waitsForEarlier(page);
        let own, recent, late, sent;
        let isHeld = true;
        await intercept(page, {
          outwards: (frame, pass) => {
            if (frame.action !== "history" || frame.last || !isHeld) return frame;
            own = () => pass(frame);
            return null;
          },
          inwards: (frame, pass) => {
            if (frame.type === "message" && frame.message === "three") {
              late = () => pass(frame);
              return null;
            }
            if (frame.type !== "history") return frame;
            if (!isHeld) {
              if (recent) setTimeout(recent);
              recent = null;
              return frame;
            }
            sent ??= tell(name(session), "three").then(() => {
              isHeld = false;
              own();
            });
            if (session === "before") return frame;
            recent = () => pass(frame);
            return null;
          },
        });
        await page.goto(address(session));
        await shows(page, ["Earlier", "one", "two", "three"]);
        late();
        await tell(name(session), "four");
        await shows(page, ["Earlier", "one", "two", "three", "New", "four"]);
        await page.close();
      }
    });

    test("what came while nobody was there is shown under a line that says so, and read out by it alone", async (t) => {
      const { context, enter, name, address } = await open(t);
      const tell = sender(t, name("alice"));
      const first = await enter("bob");
      // To see that it was there, even if nothing came.
      await first.waitForFunction(() => localStorage.length === 1);
      await first.close();
      await tell(name("bob"), "one");
      const second = await enter("bob");
      await shows(second, ["While you were away · 1 message", "one"]);
      assert.deepEqual(await lines(second, READ_OUT), ["While you were away · 1 message"]);
      await tell(name("bob"), "two");
      await shows(second, ["While you were away · 1 message", "one", "New", "two"]);
      await second.reload();
      await shows(second, ["Earlier", "one", "two"]);
    });

    test("of much that came earlier the newest is shown; much that was missed is read from where it begins", async (t) => {
      const { context, address } = await open(t);
      const page = await context.newPage();
      const begin = Date.now();
      let passed = 0;
      const hub = await fake(page, { now: () => begin + passed });
      const session = new URL(address("bob")).searchParams.get("session");
      const tell = (...texts) => {
        for (const text of texts) hub.deliver(null, { id: text, sessions: [session], message: text });
      };
      const many = (what) => Array.from({ length: 105 }, (_, number) => `${what} ${number}`);
      tell(...many("earlier"));
      // What comes before the newest may still be written, as far as the hub knows until a second has passed.
      hub.skip(session);
      tell("newest");
      await page.goto(address("bob", "", "ws://simulated/live"));
      for (let tries = 0; !hub.frames.some(({ frame }) => frame.last) && tries < 100; tries++)
        await page.waitForTimeout(50);
      passed = 1_000;
      await shows(page, ["Earlier", ...many("earlier").slice(-49), "newest"]);
      await page.goto("about:blank");

      tell(...many("missed"));
      await page.goto(address("bob", "", "ws://simulated/live"));
      const divider = "While you were away · 105 messages";
      await shows(page, [divider, ...many("missed")]);
      assert.deepEqual(await lines(page, READ_OUT), [divider]);
      const isInView = (text) =>
        page.waitForFunction((text) => {
          const item = [...document.querySelectorAll(".log:not([hidden]) li")].find(({ textContent }) =>
            textContent.includes(text),
          );
          const { top, bottom } = item.getBoundingClientRect();
          const view = document.getElementById("scroller").getBoundingClientRect();
          return top >= view.top - 1 && bottom <= view.bottom;
        }, text);
      await isInView(divider);
      await page.getByRole("button", { name: "New messages" }).click();
      await isInView("missed 104");
      tell("live");
      await shows(page, [divider, ...many("missed"), "New", "live"]);
      await isInView("live");

      // What is only late is like any other.
      hub.drop();
      tell("late", "after it");
      await shows(page, [divider, ...many("missed"), "New", "live", "late", "after it"]);
    });

    test("what came while the connection was lost is shown as that", async (t) => {
      const way = await proxy(HUB_URL);
      t.after(() => way.stop());
      const { enter, name } = await open(t);
      const tell = sender(t, name("alice"));
      await tell(name("bob"), "before");
      const bob = await enter("bob", { hub: way.url });
      await tell(name("bob"), "live");
      const before = ["Earlier", "before", "New", "live"];
      await shows(bob, before);
      way.cut();
      await isState(bob, "Reconnecting");
      await tell(name("bob"), "one", "two");
      way.restore();
      const missed = ["While the connection was lost · 2 messages", "one", "two"];
      await shows(bob, [...before, ...missed]);
      await tell(name("bob"), "again");
      await shows(bob, [...before, ...missed, "New", "again"]);

      // In the page cache, the page itself is away.
      const transition = (type) =>
        bob.evaluate((type) => dispatchEvent(new PageTransitionEvent(type, { persisted: true })), type);
      await transition("pagehide");
      await isState(bob, "Paused");
      await tell(name("bob"), "cached");
      await transition("pageshow");
      const cached = ["While you were away · 1 message", "cached"];
      await shows(bob, [...before, ...missed, "New", "again", ...cached]);

      await bob.reload();
      await shows(bob, ["Earlier", "before", "live", "one", "two", "again", "cached"]);
    });

    test("what is missing for good is said, with how many it can be", async (t) => {
      const { context, enter, name, address } = await open(t);
      const tell = sender(t, name("alice"));
      const first = await enter("bob");
      await tell(name("bob"), "one", "two");
      await shows(first, ["one", "two"]);
      await first.close();
      await tell(name("bob"), "three", "four", "five", "six", "seven");

      /** As if the hub had kept less. */
      const lose = (lost) => {
        let isFirst = true;
        return (frame) => {
          if (frame.type !== "history") return frame;
          const messages = frame.messages.filter(({ message }) => !lost.includes(message));
          const complete = frame.complete && !isFirst;
          if (frame.complete) isFirst = false;
          return { ...frame, complete, messages };
        };
      };
      for (const [lost, kept, text] of [
        [["three", "four", "five"], ["six", "seven"], "Up to 3 messages are missing here: no longer kept by the hub."],
        [["three"], ["four", "five", "six", "seven"], "A message is missing here: no longer kept by the hub."],
      ]) {
        const page = await context.newPage();
        const position = await page.goto(site.url).then(() => page.evaluate(() => ({ ...localStorage })));
        await intercept(page, { inwards: lose(lost) });
        await page.goto(address("bob"));
        const divider = `While you were away · ${kept.length} messages`;
        await shows(page, ["Earlier", "one", "two", divider, text, ...kept]);
        assert.deepEqual(await lines(page, READ_OUT), [divider, text]);
        await page.evaluate((position) => Object.assign(localStorage, position), position);
        await page.close();
      }

      const page = await context.newPage();
      await page.goto(site.url);
      await page.evaluate(() => {
        for (const key of Object.keys(localStorage)) localStorage[key] = "5 0ld3p0ch";
      });
      await page.goto(address("bob"));
      await shows(page, [
        "While you were away · 7 messages",
        "Messages may be missing here: the hub’s history has begun anew.",
        ...["one", "two", "three", "four", "five", "six", "seven"],
      ]);
    });

    test("what could not be had in time is said, and found again later", async (t) => {
      const { context, name, address } = await open(t);
      const tell = sender(t, name("alice"));
      const page = await context.newPage();
      let isDeaf = false;
      await intercept(page, {
        inwards: (frame) => (isDeaf && (frame.type === "history" || frame.message === "two") ? null : frame),
      });
      await page.goto(address("bob"));
      await isState(page, "Connected");
      await tell(name("bob"), "one");
      await shows(page, ["one"]);
      isDeaf = true;
      await tell(name("bob"), "two", "three");
      const gap = "A message is missing here: not received in time. Reload the page to look again.";
      await shows(page, ["one", gap, "three"]);
      isDeaf = false;
      await page.reload();
      await shows(page, ["Earlier", "one", "two", "three"]);
    });

    test("where the hub cannot say what came earlier, that is said, and what comes is shown", async (t) => {
      const { context, name, address } = await open(t);
      const tell = sender(t, name("alice"));
      const notice = "What came earlier could not be loaded. Reload the page to try again.";
      for (const [session, answer] of Object.entries({
        failing: (id, post) => post({ type: "error", code: "internal", message: "try again", id }),
        silent: () => {},
      })) {
        const page = await context.newPage();
        await intercept(page, {
          outwards: (frame, _, post) => (frame.last ? void answer(frame.id, post) : frame),
        });
        await page.goto(address(session));
        await isState(page, "Connected");
        await tell(name(session), "live");
        await shows(page, [notice, "live"]);
        await page.close();
      }
    });

    test("on a hub without history, nothing is shown of it, said, or kept", async (t) => {
      const { context, name, address } = await open(t);
      const page = await context.newPage();
      const send = await simulate(page);
      await page.goto(address("bob", "", "ws://simulated/live"));
      await isState(page, "Connected");
      const sent_at = new Date().toISOString();
      send({ type: "message", id: "1", from: null, session: name("bob"), message: "live", sent_at });
      await shows(page, ["live"]);
      assert.ok(await hasKeptNothing(page));
    });

    test("each session of each hub has its own place, and what was not joined has none", async (t) => {
      const way = await proxy(HUB_URL);
      t.after(() => way.stop());
      const { context, enter, name } = await open(t);
      const tell = sender(t, name("alice"));
      const page = await context.newPage();
      await page.goto(site.url);
      await page.getByLabel("Hub address").fill(HUB_URL);
      await page.getByRole("button", { name: "Join" }).click();
      await page.getByRole("alert").filter({ hasText: "Session must be" }).waitFor();
      assert.ok(await hasKeptNothing(page));

      const [one, other] = [name("bob"), name("carol")];
      const join = async (session) => {
        await page.getByLabel("Your session").fill(session);
        await token(page).fill("s3cret");
        await page.keyboard.press("Enter");
        await isState(page, "Connected");
      };
      const leave = () => page.getByRole("button", { name: "Leave" }).click();
      await join(one);
      await tell(one, "to one");
      await shows(page, ["to one"]);
      await leave();
      await tell(other, "to other");
      await tell(one, "to one, away");
      await join(other);
      await shows(page, ["Earlier", "to other"]);
      await leave();
      await join(one);
      await shows(page, ["Earlier", "to one", "While you were away · 1 message", "to one, away"]);
      await leave();
      await join(other);
      await shows(page, ["Earlier", "to other"]);
      const kept = await page.evaluate(() => Object.entries(localStorage));
      assert.deepEqual(
        kept.map(([key]) => key).sort(),
        [one, other].map((session) => `position ["${HUB_URL}","${session}"]`),
      );
      for (const [, value] of kept) assert.match(value, /^\d+ \w{8}$/);

      // By another address, it is another hub.
      await tell(one, "to one, again");
      await shows(await enter("bob", { hub: way.url }), ["Earlier", "to one", "to one, away", "to one, again"]);
    });

    test("where the browser keeps nothing, or something else, the page works as for a newcomer", async (t) => {
      const { context, enter, name, address } = await open(t);
      const tell = sender(t, name("alice"));
      await tell(name("bob"), "one");
      const page = await context.newPage();
      for (const value of ["12", "99999999999999999999 k3f9q2xa"]) {
        await page.goto(site.url);
        await page.evaluate(
          ([key, value]) => (localStorage[key] = value),
          [`position ["${HUB_URL}","${name("bob")}"]`, value],
        );
        await page.goto(address("bob"));
        await shows(page, ["Earlier", "one"]);
      }
      await keepNothing(context);
      const bob = await enter("bob");
      await shows(bob, ["Earlier", "one"]);
      await tell(name("bob"), "two");
      await shows(bob, ["Earlier", "one", "New", "two"]);
      await bob.reload();
      await shows(bob, ["Earlier", "one", "two"]);
    });

    test("a client that takes over from a failed one goes on where that was", async (t) => {
      const way = await proxy(HUB_URL);
      t.after(() => way.stop());
      const { context, name } = await open(t);
      const tell = sender(t, name("alice"));
      await tell(name("bob"), "one");
      const page = await context.newPage();
      await page.addInitScript(() => (Math.random = () => 0));
      await keepNothing(page);
      await joinWith(page, way.url, name("bob"), "s3cret");
      await shows(page, ["Earlier", "one"]);
      await joinRoom(page, name("room-7"));
      await joined(page, name("room-7"));
      await tell(name("room-7"), "in the room");
      await shows(page, ["in the room"]);
      await room(page, "Direct").click();
      way.refuse();
      await token(page).fill("x".repeat(8_001));
      await page.keyboard.press("Enter");
      await isState(page, "Token too large");
      for (const session of ["bob", "room-7"]) await tell(name(session), "two");
      way.restore();
      await token(page).fill("short");
      await page.keyboard.press("Enter");
      const missed = ["While the connection was lost · 1 message", "two"];
      await shows(page, ["Earlier", "one", ...missed]);
      await room(page, `${name("room-7")}, joined, 1 unread`).click();
      await shows(page, ["in the room", ...missed]);
    });

    test("times that are not today's have a date, also when a day has passed meanwhile", async (t) => {
      const { context, address } = await open(t, { locale: "en-GB" });
      const page = await context.newPage();
      await page.clock.install();
      const send = await simulate(page);
      await page.goto(address("alice", "", "ws://simulated/live"));
      await isState(page, "Connected");
      const tell = (id, sentAt) => send({ type: "message", id, from: "bob", message: id, sent_at: sentAt });
      tell("old", "2001-09-11T12:00:00Z");
      tell("new", new Date().toISOString());
      await hears(page, "new");
      const times = () => page.locator(`${LOG} time`).allTextContents();
      assert.match((await times())[0], /^11 Sept? 2001, \d\d:\d\d$/);
      assert.match((await times())[1], /^\d\d:\d\d$/);
      await page.clock.fastForward("24:01:00");
      await page
        .locator(`${LOG} time`)
        .last()
        .filter({ hasText: /^\d+ \w+( \d{4})?, \d\d:\d\d$/ })
        .waitFor();
    });

    test("rooms are heard over the one connection, each by itself, by those who have joined them", async (t) => {
      const { enter, name } = await open(t);
      const [seven, eight] = [name("room-7"), name("room-8")];
      const alice = await enter("alice");
      const bob = await enter("bob", { rooms: ["room-7", "room-8"] });
      const eve = await enter("eve", { rooms: ["room-8"] });
      await joinRoom(alice, seven);
      for (const page of [alice, bob]) await joined(page, seven);
      await joined(eve, eight);
      await isFocused(alice, "text");
      assert.equal(await to(alice).inputValue(), seven, "who joins a room writes to it");
      assert.equal(await to(bob).inputValue(), seven, "a link opens its first room");

      await say(alice, "Hello, room");
      await fares(alice, `Delivered to ${seven} (2)`);
      await hears(bob, "Hello, room");
      assert.match(await bob.locator(`${LOG} .in .head`).textContent(), new RegExp(`^${name("alice")} to ${seven} `));
      await say(bob, "Hello, Alice");
      await hears(alice, "Hello, Alice");
      assert.deepEqual(await heard(alice), ["Hello, Alice"], "one's own is not shown twice");

      // From elsewhere it is counted, until it is looked at.
      await joinRoom(eve, seven);
      await joined(eve, seven);
      await say(bob, "one");
      await say(bob, "two");
      await hears(eve, "two");
      await room(eve, "Direct").click();
      await say(bob, "three");
      await hasChips(eve, "Direct", `${eight}, joined`, `${seven}, joined, 1 unread`);
      assert.equal(await eve.title(), `(1) ${name("eve")} · Hub`);
      await to(bob).fill(`${seven} ${eight}`);
      await say(bob, "to both");
      await hasChips(eve, "Direct", `${eight}, joined, 1 unread`, `${seven}, joined, 2 unread`);
      await hasChips(bob, "Direct", `${seven}, joined`, `${eight}, joined`);
      await room(bob, `${eight}, joined`).click();
      await hears(bob, "to both");
      await room(bob, `${seven}, joined`).click();
      await room(eve, `${seven}, joined, 2 unread`).click();
      await hasChips(eve, "Direct", `${eight}, joined, 1 unread`, `${seven}, joined`);
      assert.equal(await room(eve, `${seven}, joined`).getAttribute("aria-current"), "true");
      assert.deepEqual(await heard(eve), ["Hello, room", "Hello, Alice", "one", "two", "three", "to both"]);
      await room(eve, `${eight}, joined, 1 unread`).click();
      assert.deepEqual(await heard(eve), ["to both"]);
      await room(eve, "Direct").click();
      assert.deepEqual(await heard(eve), []);
      assert.equal(await eve.title(), `${name("eve")} · Hub`);

      // In a hidden tab nothing is looked at.
      const hide = (hidden) =>
        eve.evaluate((hidden) => {
          Object.defineProperty(document, "hidden", { configurable: true, value: hidden });
          document.dispatchEvent(new Event("visibilitychange"));
        }, hidden);
      await hide(true);
      await to(bob).fill(name("eve"));
      await say(bob, "Eve?");
      await hasChips(eve, "Direct, 1 unread", `${eight}, joined`, `${seven}, joined`);
      assert.equal(await eve.title(), `(1) ${name("eve")} · Hub`);
      await hide(false);
      await hasChips(eve, "Direct", `${eight}, joined`, `${seven}, joined`);
      assert.equal(await eve.title(), `${name("eve")} · Hub`);

      // Whoever leaves hears no more. The hub is told a moment later.
      await room(alice, `Leave ${seven}`).click();
      await hasChips(alice, "Direct");
      assert.equal(roomsOf(alice), "");
      await alice.locator("#frame-list code").filter({ hasText: '"unsubscribed"' }).waitFor({ state: "attached" });
      await to(bob).fill(`${seven} ${name("alice")}`);
      await say(bob, "Has she left?");
      await fares(bob, `Delivered to ${seven} (2) and ${name("alice")}`);
      await hears(alice, "Has she left?");
      const frames = await alice.locator("#frame-list li").allTextContents();
      assert.ok(
        frames.every((frame) => frame.includes("connection 1")),
        "another connection was made",
      );
    });

    test("rooms are part of the address, whatever they are called, and of the invitation", async (t) => {
      const { enter, name } = await open(t);
      const odd = ["auth0|64af", "ann+test@example.com", "a,b", "a&b=c", "#x", "100%25"].map(name);
      const page = await enter("alice");
      await joinRoom(page, ` ${odd.join("  ")} ${odd[0]} ${name("alice")}`);
      for (const one of odd) await joined(page, one);
      await page.reload();
      await isState(page, "Connected");
      await hasChips(page, "Direct", ...odd.map((one) => `${one}, joined`));
      assert.equal(roomsOf(page), odd.join(" "));
      await room(page, `${odd[2]}, joined`).click();
      await page.reload();
      await isState(page, "Connected");
      assert.equal(await to(page).inputValue(), odd[2], "what was in view still is");
      const link = page.getByRole("link", { name: "Another session" });
      const [guest] = await Promise.all([page.context().waitForEvent("page"), link.click()]);
      await guest.getByLabel("Your session").fill(name("bob"));
      await guest.keyboard.press("Enter");
      await joined(guest, odd[2]);
      await say(guest, "I am here");
      await hears(page, "I am here");

      // One's own session is no room, and what is none is said where it was typed.
      await joinRoom(page, name("alice"));
      await isFocused(page, "text");
      assert.equal(await room(page, "Direct").getAttribute("aria-current"), "true");
      assert.equal(roomsOf(page), odd.join(" "));
      await page.getByRole("button", { name: "Join room" }).click();
      await page.getByRole("alert").filter({ hasText: "Say which room" }).waitFor();
      await isFocused(page, "room");
      await joinRoom(page, "not*a*room");
      await page.getByRole("alert").filter({ hasText: "A session is named with" }).waitFor();
      await isFocused(page, "room");
      await page.goto(page.url().replace(/rooms=[^&]*/, "rooms=%22wrong%22"));
      await page.getByRole("alert").filter({ hasText: "A session is named with" }).waitFor();
      await isState(page, "Connected");
      await hasChips(page, "Direct");
      await page.getByRole("button", { name: "Leave" }).click();
      assert.equal(new URL(page.url()).searchParams.has("rooms"), false);
    });

    test("what is written is shown where it goes, and from each room one writes to that room", async (t) => {
      const { enter, name } = await open(t);
      const [seven, eight] = [name("room-7"), name("room-8")];
      const page = await enter("alice", { rooms: ["room-7", "room-8"], to: "bob" });
      const bob = await enter("bob", { rooms: ["room-7"] });
      for (const one of [page, bob]) await joined(one, seven);
      assert.equal(await room(page, "Direct").getAttribute("aria-current"), "true");
      await to(page).fill(`${name("bob")} ${eight}`);
      await say(page, "to the room as well");
      await fares(page, "Delivered");
      await hasChips(page, "Direct", `${seven}, joined`, `${eight}, joined`);
      assert.equal(await room(page, `${eight}, joined`).getAttribute("aria-current"), "true");
      await room(page, `${seven}, joined`).click();
      assert.equal(await to(page).inputValue(), seven);

      // A name in a room is a way to write to it alone.
      await say(bob, "Anyone?");
      await hears(page, "Anyone?");
      await page.getByRole("button", { name: name("bob"), exact: true }).click();
      assert.equal(await to(page).inputValue(), name("bob"));
      await say(page, "aside");
      await fares(page, `Delivered to ${name("bob")}`);
      assert.equal(await room(page, "Direct").getAttribute("aria-current"), "true");
      assert.deepEqual(await lines(page), ["aside"]);
      await hasChips(bob, "Direct, 2 unread", `${seven}, joined`);
      await room(page, `${seven}, joined`).click();
      assert.deepEqual([await to(page).inputValue(), await lines(page)], [seven, ["Anyone?"]]);
      await room(page, "Direct").click();
      assert.equal(await to(page).inputValue(), name("bob"));
    });

    test("in each room it is shown what came earlier, what was missed there, and what is missing", async (t) => {
      const way = await proxy(HUB_URL);
      t.after(() => way.stop());
      const { enter, name } = await open(t);
      const tell = sender(t, name("alice"));
      const [seven, eight] = [name("room-7"), name("room-8")];
      await tell(seven, "old");
      const page = await enter("bob", { hub: way.url, rooms: ["room-7", "room-8"] });
      await shows(page, ["Earlier", "old"]);
      await joined(page, eight);
      way.cut();
      await hasChips(page, "Direct", `${seven}, joining`, `${eight}, joining`);
      await tell(eight, "one", "two");
      way.restore();
      await hasChips(page, "Direct", `${seven}, joined`, `${eight}, joined, 2 unread`);
      await shows(page, ["Earlier", "old"]);
      await tell(seven, "live");
      await shows(page, ["Earlier", "old", "New", "live"]);
      await room(page, `${eight}, joined, 2 unread`).click();
      const missed = ["While the connection was lost · 2 messages", "one", "two"];
      await shows(page, missed);
      assert.deepEqual(await lines(page, READ_OUT), missed.slice(0, 1));

      // In the page cache, the page itself is away.
      const transition = (type) =>
        page.evaluate((type) => dispatchEvent(new PageTransitionEvent(type, { persisted: true })), type);
      await transition("pagehide");
      await isState(page, "Paused");
      await tell(eight, "cached");
      await transition("pageshow");
      await shows(page, [...missed, "While you were away · 1 message", "cached"]);

      // Each reader has a place of its own, also in a room that is joined by hand.
      await page.goto(site.url);
      await tell(seven, "while away");
      const again = await enter("bob", { hub: way.url });
      await joinRoom(again, seven);
      await shows(again, ["Earlier", "old", "live", "While you were away · 1 message", "while away"]);
      await shows(await enter("carol", { hub: way.url, rooms: ["room-7"] }), ["Earlier", "old", "live", "while away"]);
      await room(again, `Leave ${seven}`).click();
      await joinRoom(again, seven);
      const all = ["Earlier", "old", "live", "while away"];
      await shows(again, all);
      await room(again, `Leave ${seven}`).click();
      await again.locator("#frame-list code").filter({ hasText: '"unsubscribed"' }).waitFor({ state: "attached" });
      await tell(seven, "between");
      await joinRoom(again, seven);
      await shows(again, [...all, "between"]);
    });

    test("each room is left and found again at the place where one was reading", async (t) => {
      const { context, address, name } = await open(t);
      const page = await context.newPage();
      const hub = await fake(page);
      const tell = (one, ...texts) => {
        for (const text of texts) hub.deliver(null, { id: text, sessions: [name(one)], message: text });
      };
      await page.goto(address("bob", "", "ws://simulated/live", ["room-7", "room-8"]));
      await joined(page, name("room-8"));
      tell("room-7", ...Array.from({ length: 50 }, (_, number) => `line ${number}`));
      await hears(page, "line 49");
      const scrollTop = () => page.locator("#scroller").evaluate((scroller) => scroller.scrollTop);
      const newer = page.getByRole("button", { name: "New messages" });
      const end = await scrollTop();
      await room(page, "Direct").click();
      tell("room-7", "while elsewhere");
      await room(page, `${name("room-7")}, joined, 1 unread`).click();
      assert.ok((await scrollTop()) > end, "the end was in view, and is again");

      await page.locator("#scroller").evaluate((scroller) => (scroller.scrollTop = 300));
      await page.waitForTimeout(100); // The event of it.
      await room(page, `${name("room-8")}, joined`).click();
      tell("room-8", "short");
      await hears(page, "short");
      await room(page, `${name("room-7")}, joined`).click();
      assert.deepEqual([await scrollTop(), await newer.isVisible()], [300, false]);
      tell("room-8", "elsewhere");
      await room(page, `${name("room-8")}, joined, 1 unread`).click();
      await room(page, `${name("room-7")}, joined`).click();
      assert.equal(await scrollTop(), 300);
      await room(page, "Direct").click();
      tell("room-7", "newest");
      await hasChips(page, "Direct", `${name("room-7")}, joined, 1 unread`, `${name("room-8")}, joined`);
      assert.equal(await newer.isVisible(), false);
      await room(page, `${name("room-7")}, joined, 1 unread`).click();
      assert.equal(await scrollTop(), 300);
      await newer.click();
      await newer.waitFor({ state: "hidden" });
      assert.ok((await scrollTop()) > end);
    });

    test("what a room lacks is said in that room", async (t) => {
      const { context, address, name } = await open(t);
      const page = await context.newPage();
      const hub = await fake(page);
      const tell = (...texts) => {
        for (const text of texts) hub.deliver(null, { id: text, sessions: [name("room-7")], message: text });
      };
      tell("one");
      const link = address("bob", "", "ws://simulated/live", ["room-7"]);
      await page.goto(link);
      await shows(page, ["Earlier", "one"]);
      await page.goto("about:blank");
      tell("two", "three");
      hub.forget();
      tell("four");
      await page.goto(link);
      const lost = "Up to 2 messages are missing here: no longer kept by the hub.";
      await shows(page, ["While you were away · 1 message", lost, "four"]);
      await room(page, "Direct").click();
      await shows(page, []);

      // After joining once more, what is only late is like any other.
      await room(page, `Leave ${name("room-7")}`).click();
      await page.locator("#frame-list code").filter({ hasText: '"unsubscribed"' }).waitFor({ state: "attached" });
      await joinRoom(page, name("room-7"));
      await shows(page, ["Earlier", "four"]);
      hub.drop();
      tell("late", "after it");
      await shows(page, ["Earlier", "four", "New", "late", "after it"]);
    });

    test("what the hub refuses is said in plain words at the room, and can be asked for again", async (t) => {
      const { context, address, name } = await open(t);
      const page = await context.newPage();
      const hub = await fake(page);
      const said = page.getByRole("status").filter({ hasText: "You are not in" });
      const isSaid = (text) => said.filter({ hasText: `You are not in ${name("room-7")}: ${text}` }).waitFor();
      const again = page.getByRole("button", { name: "Try again" });
      const count = () => hub.frames.filter(({ frame }) => frame.action === "subscribe").length;

      hub.maySubscribe = (_, session) => session !== name("room-7");
      await page.goto(address("alice", "", "ws://simulated/live", ["room-7", "room-8"]));
      await hasChips(page, "Direct", `${name("room-7")}, refused`, `${name("room-8")}, joined`);
      await isSaid("your token does not allow it.");
      assert.ok((await page.locator("#room-state").boundingBox()).height > 10, "it is in view");
      assert.equal(await page.locator(".notice").count(), 0);
      await room(page, `${name("room-8")}, joined`).click();
      await again.waitFor({ state: "hidden" });
      await said.waitFor({ state: "detached" });
      await room(page, `${name("room-7")}, refused`).click();
      const before = count();
      await again.click();
      for (let tries = 0; count() === before && tries < 100; tries++) await page.waitForTimeout(20);
      await isSaid("your token does not allow it.");
      hub.maySubscribe = () => true;
      await again.click();
      await joined(page, name("room-7"));
      await again.waitFor({ state: "hidden" });

      await page.goto(address("alice", "", "ws://simulated/live"));
      await joinRoom(page, Array.from({ length: 100 }, (_, number) => name(`other-${number}`)).join(" "));
      await joinRoom(page, name("room-7"));
      await isSaid("the hub allows 100 rooms at most. Leave one, and try again.");
      await room(page, `Leave ${name("other-50")}`).click();
      await room(page, `${name("room-7")}, refused`).click();
      await again.click();
      await joined(page, name("room-7"));

      hub.subscriptions = false;
      await page.goto(address("alice", "", "ws://simulated/live", ["room-7"]));
      await isSaid("this hub has no rooms, as its subscriptions are switched off.");
      await isState(page, "Connected");
      hub.deliver("bob", { id: "1", sessions: [name("alice")], message: "still here" });
      await room(page, "Direct, 1 unread").click();
      await hears(page, "still here");
    });

    test("a token that is entered anew keeps the rooms", async (t) => {
      const { context, name, address } = await open(t);
      const tell = sender(t, name("alice"));
      const page = await context.newPage();
      await keepNothing(page);
      await joinWith(page, HUB_URL, name("bob"), "s3cret");
      await isState(page, "Connected");
      await joinRoom(page, name("room-7"));
      await joined(page, name("room-7"));
      await token(page).waitFor({ state: "hidden" });
      await page.reload();
      await isState(page, "Token needed");
      await hasChips(page, "Direct", `${name("room-7")}, joining`);
      await page.getByRole("button", { name: "Join again" }).click();
      await token(page).fill("s3cret");
      await page.keyboard.press("Enter");
      await joined(page, name("room-7"));
      await tell(name("room-7"), "hello");
      await shows(page, ["hello"]);
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

    test("the frames' panel says how the connection does, once there is something to say", async (t) => {
      const { enter } = await open(t);
      const page = await enter("alice", { to: "alice" });
      await page.getByRole("button", { name: "Frames" }).click();
      await page
        .locator("#stats")
        .filter({ hasText: /^ping \d+ ms$/ })
        .waitFor();
    });

    test("opened as a file, it says how to serve it", async (t) => {
      const context = await browser.newContext();
      t.after(() => context.close());
      const page = await context.newPage();
      await page.goto(new URL("../../web/page/index.html", import.meta.url).href);
      await page.getByRole("heading", { name: "This page has to be served" }).waitFor();
      await page.getByText("python3 -m http.server").waitFor();
    });

    test("so it does where the client is not served beside it", async (t) => {
      const context = await browser.newContext();
      t.after(() => context.close());
      const page = await context.newPage();
      await page.route("**/client/link.js", (route) => route.fulfill({ status: 404 }));
      await page.goto(site.url);
      await page.getByText("it needs the folder client beside its own").waitFor();
    });

    test("without JavaScript it says that it needs it", async (t) => {
      const context = await browser.newContext({ javaScriptEnabled: false });
      t.after(() => context.close());
      const page = await context.newPage();
      await page.goto(site.url);
      await page.getByRole("heading", { name: "JavaScript is off" }).waitFor();
      assert.equal(await page.getByText("This page has to be served").isVisible(), false);
    });

    test("while it loads slowly, it says nothing that is wrong, and asks for all its modules at once", async (t) => {
      const { context } = await open(t);
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
      await page.waitForTimeout(1_500);
      assert.equal((await page.locator("body").innerText()).trim(), "");
      const early = [...asked].sort();
      release();
      await page.getByRole("heading", { name: "Join a hub" }).waitFor();
      const needed = await page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name));
      const modules = needed.map((url) => new URL(url).pathname).filter((path) => path.endsWith(".js"));
      assert.deepEqual(early, [...new Set(modules)].sort());
    });

    test("scripts/local.sh serves it below its address, and lets no page show it in a frame", async (t) => {
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

    for (const [look, options] of Object.entries({
      light: { colorScheme: "light" },
      dark: { colorScheme: "dark" },
      phone: { colorScheme: "light", viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true },
    })) {
      test(`axe finds nothing to object to: ${look}`, async (t) => {
        const way = await proxy(HUB_URL);
        t.after(() => way.stop());
        const { context, address, enter } = await open(t, options);
        const hub = await fake(context);
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
        await say(bob, "Are you still there?");
        await fares(bob, "Nobody is there");
        way.restore();
        await hears(alice, "Are you still there?");
        await check(alice, "back");
        await alice.reload();
        await hears(alice, "Are you still there?");
        await say(bob, "Good");
        await hears(alice, "Good");
        await check(alice, "joined again");
        const rooms = ["room-7", `a-room-with-quite-a-long-name-${"x".repeat(60)}`, "room-8"].map(
          (one) => `${one}-${look}`,
        );
        await joinRoom(alice, rooms.join(" "));
        for (const one of rooms) await joined(alice, one);
        await to(bob).fill(rooms[1]);
        await say(bob, "Is somebody in there?");
        await alice.getByText("1", { exact: true }).waitFor();
        await check(alice, "in rooms");
        hub.subscriptions = false;
        const dave = await context.newPage();
        await dave.goto(address("dave", "", "ws://simulated/live", ["room-7"]));
        await dave.getByText("switched off").waitFor();
        await check(dave, "refused");
        way.cut();
        const guest = await context.newPage();
        await guest.goto(address("guest", "bob", way.url));
        await isFocused(guest, "new-token");
        await check(guest, "asked for a token");
      });
    }
  });
