import type Stripe from "stripe";

/** An event of which one field is not as it should be. */
export interface SpoiledEvent {
  event: Stripe.Event;
  /** Such as `data.object.amount: null`. */
  what: string;
}

type Fields = Record<string, unknown>;

/** Values that no field of Stripe's has, or that no code has seen yet. */
const strangeValues: readonly (readonly [name: string, value: unknown])[] = [
  ["null", null],
  ["a number", 7.5],
  ["a huge number", 9_007_199_254_740_991],
  ["beyond what numbers can hold", 1e300],
  ["negative", -1],
  ["an unknown word", "something_new"],
  ["an empty text", ""],
  ["NUL and half a character", "a\u0000\ud800"],
  ["a long text", "x".repeat(5_000)],
  ["true", true],
  ["a list", [{ id: "x" }]],
  ["an object", { id: "obj_unknown" }],
  ["an empty object", {}],
];

/** Values that are an id: whoever names another object tells of another object, which is no fault of an event's. */
const idValues = new Set(["an unknown word", "an object"]);
const idFields = new Set(["id", "payment_intent"]);

/** Each field of an event, at any depth that matters, left out and of every strange value. */
export function* spoiledEvents(event: Stripe.Event): Generator<SpoiledEvent> {
  for (const path of pathsOf(event as unknown as Fields)) {
    yield spoiled(event, path, "left out", (parent, name) => void delete parent[name]);
    for (const [name, value] of strangeValues) {
      if (path[0] === "data" && idFields.has(path.at(-1) ?? "") && idValues.has(name)) continue;
      yield spoiled(event, path, name, (parent, field) => void (parent[field] = value));
    }
  }
}

function spoiled(
  event: Stripe.Event,
  path: readonly string[],
  how: string,
  spoil: (parent: Fields, name: string) => void,
): SpoiledEvent {
  const copy = structuredClone(event) as unknown as Fields;
  let parent = copy;
  for (const name of path.slice(0, -1)) parent = parent[name] as Fields;
  spoil(parent, path.at(-1) ?? "");
  return { event: copy as unknown as Stripe.Event, what: `${path.join(".")}: ${how}` };
}

const deepest = 5;

function pathsOf(fields: Fields, before: readonly string[] = []): string[][] {
  return Object.entries(fields).flatMap(([name, value]) => {
    const path = [...before, name];
    const inner = typeof value === "object" && value !== null && path.length < deepest ? value : {};
    return [path, ...pathsOf(inner as Fields, path)];
  });
}
