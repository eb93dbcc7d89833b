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
    ["page-light", "light", { width: 1200, height: 800 }, true],
    ["page-dark", "dark", { width: 1200, height: 800 }, false],
    ["page-phone", "light", { width: 390, height: 880 }, false],
  ]) {
    const context = await browser.newContext({ colorScheme, viewport, deviceScaleFactor: 1.25, locale: "en-GB" });
    const enter = async (session) => {
      const tab = await context.newPage();
      await tab.goto(`${page.url}?${new URLSearchParams({ url: hub, session, rooms: "train lunch" })}`);
      await tab.getByRole("button", { name: "lunch, joined" }).waitFor();
      return tab;
    };
    const say = async (tab, text, to) => {
      if (to) await tab.getByRole("textbox", { name: "To", exact: true }).fill(to);
      const message = tab.getByLabel("Message", { exact: true });
      await message.fill(text);
      await message.press("Enter");
      await tab.locator(".log:not([hidden]) .status").last().filter({ hasText: "Delivered" }).waitFor();
    };
    const alice = await enter("alice");
    const bob = await enter("bob");
    const carol = await enter("carol");
    if (frames) await alice.getByRole("button", { name: "Frames" }).click();
    await say(alice, "Morning! Is the 09:12 running?");
    await say(bob, "It is, four minutes late. I am on platform 3.");
    await say(bob, "Coffee?");
    await say(carol, "Please. And a seat by the window, if there is one.");
    await say(carol, "Soup or salad?", "lunch");
    await say(bob, "Soup.", "lunch");
    await say(carol, "Dave is asleep, I think.", "alice");
    await say(alice, "Flat white for me. See you both in ten.");
    await say(alice, "Dave, are you coming as well?", "train dave");
    await alice.getByRole("button", { name: "lunch, joined, 2 unread" }).waitFor();
    await alice.bringToFront();
    await alice.screenshot({ path: join(folder, `${name}.png`) });
    await context.close();
  }
} finally {
  await browser.close();
  await page.stop();
}
