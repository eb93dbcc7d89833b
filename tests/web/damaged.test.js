// The hub at $HUB_URL accepts what docs/asyncapi.yaml describes, and nothing else.

import { WebSocket } from "ws";
import { testHub } from "./damaged.js";

testHub("the hub", () => new WebSocket(`${process.env.HUB_URL}?session_id=bob`));
