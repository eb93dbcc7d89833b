// Makes the pictures of the documentation from the real page and the hub at $HUB_URL: node screenshots.js [folder]

import { join } from "node:path";
import { launch, servePage } from "./browser.js";

const hub = process.env.HUB_URL;
if (!hub) {
  console.error('HUB_URL is not set: start a hub (scripts/local.sh up) and run eval "$(scripts/local.sh env)"');
  process.exit(1);
}
const folder = process.argv[2] ?? join(import.meta.dirname, "../../docs/images");

const page = await servePage();
const browser = await launch();
try {
  for (const [name, colorScheme, viewport, frames] of [
    ["page-light", "light", { width: 1200, height: 760 }, true],
    ["page-dark", "dark", { width: 1200, height: 760 }, false],
    ["page-phone", "light", { width: 390, height: 844 }, false],
  ]) {
    const context = await browser.newContext({ colorScheme, viewport, deviceScaleFactor: 1.25, locale: "en-GB" });
    const enter = async (session, to) => {
      const tab = await context.newPage();
      await tab.goto(`${page.url}?${new URLSearchParams({ url: hub, session, to })}`);
      await tab.getByText("Connected", { exact: true }).waitFor();
      return tab;
    };
    const say = async (tab, text, to) => {
      if (to) await tab.getByRole("textbox", { name: "To", exact: true }).fill(to);
      const message = tab.getByLabel("Message", { exact: true });
      await message.fill(text);
      await message.press("Enter");
      await tab.locator(".out .status").last().filter({ hasText: "Delivered" }).waitFor();
    };
    const alice = await enter("alice", "bob");
    const bob = await enter("bob", "alice");
    const carol = await enter("carol", "alice");
    await say(alice, "Morning! Is the 09:12 running?");
    await say(bob, "It is, four minutes late. I am on platform 3.");
    await say(bob, "Coffee?", "alice carol");
    await say(carol, "Please. And a seat by the window, if there is one.", "alice bob");
    if (frames) await alice.getByRole("button", { name: "Frames" }).click();
    await say(alice, "Flat white for me. See you both in ten.", "bob carol");
    await say(alice, "Dave, are you coming as well?", "bob dave");
    await alice.bringToFront();
    await alice.screenshot({ path: join(folder, `${name}.png`) });
    await context.close();
  }
} finally {
  await browser.close();
  await page.stop();
}
