// The page in a real browser, against the hub at $HUB_URL. The tests are in page/.

import { after, before, describe, test } from "node:test";
import { findBrowser } from "./browser.js";
import "./page/messages.js";
import "./page/connection.js";
import "./page/joining.js";
import "./page/earlier.js";
import "./page/missed.js";
import "./page/positions.js";
import "./page/rooms.js";
import "./page/accessibility.js";
import "./page/serving.js";
import { HUB_URL, start, stop, tests } from "./page/setup.js";

const skip = !findBrowser()
  ? "there is no browser: install Chromium (Debian: apt-get install chromium), or name one with CHROMIUM"
  : !HUB_URL && 'HUB_URL is not set: start a hub (scripts/local.sh up) and run eval "$(scripts/local.sh env)"';

if (skip) test("the page in a browser", { skip }, () => {});
else
  describe("the page", { concurrency: 3 }, () => {
    before(start);
    after(stop);
    for (const { name, run } of tests) test(name, run);
  });
