import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { projectPath } from "../../server/migrate.ts";
import { families } from "../../supabase/functions/_shared/generators/families.ts";
import type { BuiltTask } from "../../supabase/functions/_shared/generators/generate.ts";

/** What a client sends, and exactly what workers read then: `test/fixtures/families/<family>.json`. */
export interface FamilyCase {
  family: string;
  title: string;
  /** The project's. */
  aspect_ratio?: string;
  input: Record<string, unknown>;
  tasks: BuiltTask[];
  meta: Record<string, unknown>;
}

/** The rows that inputs name as `{name}`. */
export const rowNames = [
  "shot",
  "parent",
  "child",
  "image",
  "other image",
  "variant",
  "pair",
  "other pair",
  "travel",
] as const;
export type RowIds = Record<(typeof rowNames)[number], string>;

export async function familyCases(): Promise<FamilyCase[]> {
  const lists = await Promise.all(
    Object.keys(families).map(async (family) => {
      const text = await readFile(projectPath(`test/fixtures/families/${family}.json`), "utf8");
      return (JSON.parse(text) as Omit<FamilyCase, "family">[]).map((one) => ({ family, ...one }));
    }),
  );
  return lists.flat();
}

/** The same with ids for the names of rows. */
export function withRows<Value>(value: Value, ids: RowIds): Value {
  const text = rowNames.reduce(
    (filled, name) => filled.replaceAll(`"{${name}}"`, `"${ids[name]}"`),
    JSON.stringify(value),
  );
  return JSON.parse(text) as Value;
}

/** What is made anew each time: its form; the same mark is the same value within a task. */
const marks: Record<string, (value: unknown) => boolean> = {
  "<run id>": (value) => typeof value === "string" && /^20\d{15}$/.test(value),
  "<new id>": (value) =>
    typeof value === "string" && /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/.test(value),
  "<random seed>": (value) => isSeed(value, 2 ** 31),
  "<random seed below a million>": (value) => isSeed(value, 1_000_000),
};

/** Every key and value is as expected, none is missing, none too many. */
export function assertPayload(actual: unknown, expected: unknown): void {
  assert.deepEqual(actual, settle(expected, actual, new Map()));
}

/** The expected with each mark replaced by what stands there, if that has the mark's form and stands wherever the mark does. */
function settle(expected: unknown, actual: unknown, seen: Map<string, unknown>): unknown {
  if (typeof expected === "string") {
    const fits = marks[expected] ?? readableId(expected);
    if (!fits?.(actual)) return expected;
    if (!seen.has(expected)) seen.set(expected, actual);
    return seen.get(expected);
  }
  if (Array.isArray(expected)) {
    const list = Array.isArray(actual) ? (actual as unknown[]) : [];
    return expected.map((item, index) => settle(item, list[index], seen));
  }
  if (typeof expected !== "object" || expected === null) return expected;
  const object = (typeof actual === "object" ? actual : {}) as Record<string, unknown> | null;
  return Object.fromEntries(
    Object.entries(expected).map(([key, value]) => [key, settle(value, object?.[key], seen)]),
  );
}

/** `<prefix>` is `prefix_<yymmddhh>_<six digits>`. */
function readableId(expected: string): ((value: unknown) => boolean) | undefined {
  const [, prefix] = /^<([a-z0-9_]+)>$/.exec(expected) ?? [];
  if (!prefix) return undefined;
  return (value) => typeof value === "string" && new RegExp(`^${prefix}_\\d{8}_[0-9a-f]{6}$`).test(value);
}

function isSeed(value: unknown, below: number): boolean {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) < below;
}

/** The rows that inputs name, in somebody's project. */
export async function makeRows(sql: Sql, projectId: string): Promise<RowIds> {
  const one = async (made: PromiseLike<readonly { id: string }[]>) => (await made)[0]?.id ?? "";
  const generation = (type: string, parent?: string) =>
    one(sql<{ id: string }[]>`
      insert into generations (project_id, type, parent_generation_id, is_child, child_order)
      values (${projectId}, ${type}, ${parent ?? null}, ${parent !== undefined}, ${parent ? 2 : null}) returning id`);
  const shot = await one(
    sql<{ id: string }[]>`insert into shots (project_id) values (${projectId}) returning id`,
  );
  const [parent, image, otherImage] = [
    await generation("video"),
    await generation("image"),
    await generation("image"),
  ];
  const pair = (of: string) =>
    one(sql<{ id: string }[]>`
      insert into shot_generations (shot_id, generation_id) values (${shot}, ${of}) returning id`);
  return {
    shot,
    parent,
    child: await generation("video", parent),
    image,
    "other image": otherImage,
    variant: await one(sql<{ id: string }[]>`
      insert into generation_variants (generation_id, project_id, location, is_primary, variant_type)
      values (${image}, ${projectId}, 'https://media.example/fox.png', true, 'original') returning id`),
    pair: await pair(image),
    "other pair": await pair(otherImage),
    travel: await one(sql<{ created: { task_id: string }; id: string }[]>`
      select create_task(null, ${sql.json([{ task_type: "travel_orchestrator", params: {}, project_id: projectId }])}, false)
             ->> 'task_id' as id`),
  };
}
