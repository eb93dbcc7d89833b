// docs/asyncapi.yaml as a judge of frames, and frames that it has to reject.

import specs from "@asyncapi/specs";
import { Ajv } from "ajv";
import { readFileSync } from "node:fs";
import { parse as parseYaml } from "yaml";

export const document = parseYaml(readFileSync(new URL("../../docs/asyncapi.yaml", import.meta.url), "utf8"));

/** The errors of the document itself, or null. */
export function faults() {
  // Every definition brings its own copy of JSON Schema's schema.
  const ajv = new Ajv({ strict: false, validateFormats: false, meta: false, validateSchema: false, allErrors: true });
  const validate = ajv.compile(specs.schemas[document.asyncapi]);
  return validate(document) ? null : validate.errors;
}

/** The target of a reference. */
const resolve = (node) =>
  node.$ref
    ? resolve(
        node.$ref
          .slice(2)
          .split("/")
          .reduce((found, key) => found[key], document),
      )
    : node;

/** The same document, with objects that have the keys that it names and no others. */
const closed = JSON.parse(JSON.stringify(document), (_, value) =>
  value?.properties ? { ...value, additionalProperties: false } : value,
);
const ajv = new Ajv({ validateFormats: false, allowUnionTypes: true });
// It counts as a schema that only others use parts of.
ajv.addVocabulary(Object.keys(document)).addSchema(document, "open").addSchema(closed, "closed");

const received = Object.values(document.operations)
  .filter(({ action }) => action === "receive")
  .flatMap(({ messages }) => messages.map(({ $ref }) => $ref));

/** The messages of each channel: which end sends it, and whether it accepts a frame, as documented or with additional keys. */
export const messages = Object.entries(document.channels).flatMap(([channel, { messages }]) =>
  Object.entries(messages).map(([name, { $ref }]) => ({
    ...resolve({ $ref }),
    payload: resolve(resolve({ $ref }).payload),
    name,
    channel,
    by: received.includes(`#/channels/${channel}/messages/${name}`) ? "client" : "hub",
    accepts: ajv.compile({ $ref: `closed${$ref}/payload` }),
    acceptsWithMore: ajv.compile({ $ref: `open${$ref}/payload` }),
  })),
);

/** The messages that a frame is one of. */
export function kindsOf({ channel, by, text, withMore = false }) {
  const frame = parse(text);
  return messages.filter(
    (message) =>
      message.channel === channel &&
      message.by === by &&
      (withMore ? message.acceptsWithMore(frame) : message.accepts(frame)),
  );
}

/** A frame's content; undefined if it is not JSON. The hub takes no `1.0` for an integer, as JavaScript does. */
export function parse(text) {
  try {
    return JSON.parse(
      text.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (part) => (/^[^"]*[.eE]/.test(part) ? "0.5" : part)),
    );
  } catch {
    return undefined;
  }
}

/** What a message may have and need not, or `all` that it has: keys as `sessions.complete`, words as `code=forbidden`. */
export function options(schema, { all = false, path = "" } = {}) {
  const { properties = {}, required = [], items, allOf = [], enum: words = [] } = resolve(schema);
  return [
    ...words.map((word) => `${path}=${word}`),
    ...Object.entries(properties).flatMap(([key, value]) => {
      const inner = path ? `${path}.${key}` : key;
      return [...(all || !required.includes(key) ? [inner] : []), ...options(value, { all, path: inner })];
    }),
    ...[...allOf, ...(items ? [items] : [])].flatMap((part) => options(part, { all, path })),
  ];
}

/** Whether a frame makes use of such an option. */
export function uses(frame, option) {
  const [path, word] = option.split("=");
  const found = path
    .split(".")
    .reduce(
      (values, key) => values.flat().flatMap((value) => (Object.hasOwn(Object(value), key) ? [value[key]] : [])),
      [frame],
    );
  return word === undefined ? found.length > 0 : found.includes(word);
}

// What follows is written by hand and not read from the document: a limit that it forgets should be missed.

const long = "x".repeat(129);
const crowd = Array.from({ length: 101 }, (_, number) => `s-${number}`);
const badNames = ["", " ", "a b", "zoë", "a*", 'a"', "a\\", "a\n", long];

/** Keys that can be left out. Any other that is missing is a fault. */
const OPTIONAL = {
  sendMessage: ["id", "receipt", "store"],
  publish: ["id", "store"],
  history: ["after", "limit", "last", "id"],
  subscribe: ["id"],
  unsubscribe: ["id"],
  hello: ["id"],
  receipt: ["complete", "sessions.0.complete", "sessions.1.complete"],
  historyAnswer: ["complete"],
  helloAnswer: ["positions"],
  error: ["id"],
};

/** Values of the right type that are out of bounds. */
const OUT_OF_BOUNDS = {
  sendMessage: {
    action: ["sendmessage", "fly"],
    sessions: [[], crowd, ...badNames.map((name) => [name])],
    id: ["", long],
  },
  publish: { sessions: [[], crowd, ...badNames.map((name) => ["a", name])], id: ["", long] },
  ping: { action: ["pong", "Ping", ""] },
  history: {
    session: badNames,
    after: [-1, 0.5, 2 ** 53],
    limit: [0, 101, 1.5, -1],
    last: [0, 101, 1.5, -1],
    id: ["", long],
  },
  subscribe: { sessions: [[], crowd, ...badNames.map((name) => ["a", name])], id: ["", long] },
  unsubscribe: { sessions: [[], crowd, ...badNames.map((name) => [name])], id: ["", long] },
  hello: { action: ["Hello", "hellos"], id: ["", long] },
  message: {
    type: ["Message", ""],
    id: ["", long],
    from: badNames,
    sent_at: ["", "yesterday", "2026-11-24T05:14:37Z", "2026-11-24T05:14:37.345+00:00", "2026-11-24 05:14:37.345Z"],
    session: badNames,
    epoch: ["", "k3f9q2x", "k3f9q2xab"],
    offset: [0, -1, 1.5, 2 ** 53],
  },
  receipt: {
    id: ["", long],
    delivered: [-1, 0.5],
    gone: [-1, 0.5],
    failed: [-1, 0.5],
    complete: [true],
    sessions: [[]],
    "sessions.0.session": badNames,
    "sessions.0.delivered": [-1, 0.5],
    "sessions.0.gone": [-1, 0.5],
    "sessions.0.failed": [-1, 0.5],
    "sessions.1.complete": [true],
    "sessions.0.epoch": ["", "k3f9q2x"],
    "sessions.0.offset": [0, -1, 1.5, 2 ** 53],
  },
  pong: { type: ["ping"] },
  historyAnswer: {
    id: ["", long],
    session: badNames,
    epoch: ["", "k3f9q2x"],
    offset: [-1, 1.5, 2 ** 53],
    "messages.0.type": ["history"],
    "messages.0.offset": [0, 1.5],
  },
  subscribed: {
    id: ["", long],
    sessions: [[], crowd.map((session) => ({ session }))],
    "sessions.0.session": badNames,
    "sessions.0.epoch": ["", "k3f9q2x"],
    "sessions.1.offset": [-1, 1.5, 2 ** 53],
  },
  unsubscribed: { id: ["", long], sessions: [[], crowd, [""]] },
  helloAnswer: {
    id: ["", long],
    session: badNames,
    expires_at: [-1, 0.5],
    expires_in: [0.5],
    subscriptions: [crowd, [""]],
    positions: [[], [{ session: "bob" }]],
    "positions.0.session": badNames,
    "positions.0.epoch": ["", "k3f9q2x"],
    "positions.1.offset": [-1, 1.5, 2 ** 53],
  },
  error: { code: ["", "unknown", "Bad_Request", "bad request"], message: [""], id: ["", long] },
  functionError: { errorType: ["", "forbidden", "Error"], errorMessage: [""] },
};

/** Whole frames. */
const MALFORMED = {
  client: [
    "",
    "hello",
    "7",
    "null",
    "[]",
    '"ping"',
    "{}",
    '{"action":"ping"',
    '["ping"]',
    '{"type":"ping"}',
    '{"action":"history","session":"bob","after":4}',
    '{"action":"history","session":"bob","epoch":"k3f9q2xa","after":4,"last":10}',
  ],
  hub: ["hello", "7", "null", "[]", "{}", '{"type":"bye"}', '{"type":"pong"', '{"action":"ping"}', '{"pong":true}'],
};

/** Frames that are none of the document's, each a little beside one that is. */
export const damaged = [
  // JavaScript reads these as whole numbers.
  ...['"last":1.0', '"epoch":"k3f9q2xa","after":4e0'].map((range) => ({
    channel: "socket",
    by: "client",
    what: "notation",
    text: `{"action":"history","session":"bob",${range}}`,
  })),
  ...Object.entries(MALFORMED).flatMap(([by, texts]) =>
    texts.map((text) => ({ channel: "socket", by, what: "whole", text })),
  ),
  ...messages.flatMap(({ name, channel, by, examples }) => {
    const damage = [];
    const add = (what, frame) => damage.push({ channel, by, what: `${name}: ${what}`, text: JSON.stringify(frame) });
    for (const { payload } of examples) {
      if (by === "hub") add("one key more", { ...payload, colour: "red" });
      for (const [path, value] of leavesAndBranches(payload)) {
        const key = path.split(".").at(-1);
        if (!OPTIONAL[name]?.includes(path) && Number.isNaN(Number(key)))
          add(`without ${path}`, changed(payload, path));
        if (key === "message" && name !== "error" && name !== "gatewayError") continue;
        for (const other of [null, true, 7, "text", [], {}]) {
          const isFine =
            (other === null && by === "client" && key === "id") || (key === "from" && [null, "text"].includes(other));
          if (typeOf(other) !== typeOf(value) && !isFine)
            add(`${path} is ${JSON.stringify(other)}`, changed(payload, path, other));
        }
      }
    }
    for (const [path, values] of Object.entries(OUT_OF_BOUNDS[name] ?? {})) {
      const { payload } = examples.find(({ payload }) => uses(payload, path.replace(/\.\d+/g, "")));
      for (const value of values)
        add(`${path} is ${JSON.stringify(value).slice(0, 40)}`, changed(payload, path, value));
    }
    return damage;
  }),
];

function typeOf(value) {
  return value === null ? "null" : Array.isArray(value) ? "list" : typeof value;
}

/** Every path into a frame, with its value. The content of a message is never damaged. */
function leavesAndBranches(value, path = "") {
  return Object.entries(value).flatMap(([key, inner]) => {
    const at = path ? `${path}.${key}` : key;
    return [
      [at, inner],
      ...(typeof inner === "object" && inner && key !== "message" ? leavesAndBranches(inner, at) : []),
    ];
  });
}

/** A copy with another value at a path, or without any. */
function changed(frame, path, value) {
  const copy = structuredClone(frame);
  const keys = path.split(".");
  const last = keys.pop();
  const holder = keys.reduce((inner, key) => inner[key], copy);
  if (value === undefined) delete holder[last];
  else holder[last] = value;
  return copy;
}
