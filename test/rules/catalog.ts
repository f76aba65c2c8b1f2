import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { type Ask, readCatalog } from "../../server/schema/catalog.ts";

/** Everything in a database that SQL files can make: what it is → how it is. */
export async function catalog(sql: Pool | Sql): Promise<Map<string, string>> {
  // A reserved connection is in its test's transaction already.
  return "transaction" in sql ? await sql.transaction(read) : await read(sql);
}

async function read(sql: Sql): Promise<Map<string, string>> {
  const ask: Ask = async <Row extends object>(text: string) => [...(await sql.query<Row[]>(text))];
  const things = new Map<string, string>();
  for (const [thing, { state, text }] of await readCatalog(ask)) things.set(thing, `${state} ${text}`);
  // Data, but such that the code rests on it: it travels by migration, not by seed.
  const buckets = await ask<{ id: string; state: string }>(`
    select id, format('public %s, at most %s, types %s', public, file_size_limit, allowed_mime_types) as state
      from storage.buckets`);
  for (const { id, state } of buckets) things.set(`bucket ${id}`, state);
  return things;
}

/** What two catalogs do not share, a line or two each. */
export function differences(
  firstName: string,
  first: ReadonlyMap<string, string>,
  secondName: string,
  second: ReadonlyMap<string, string>,
): string[] {
  const things = [...new Set([...first.keys(), ...second.keys()])].sort();
  return things.flatMap((thing) => {
    const [one, other] = [first.get(thing), second.get(thing)];
    if (one === other) return [];
    if (other === undefined) return [`${thing}: only in the ${firstName}`];
    if (one === undefined) return [`${thing}: only in the ${secondName}`];
    const [left, right] = firstUnequalLines(one, other);
    return [`${thing}:\n    ${firstName}: ${left}\n    ${secondName}: ${right}`];
  });
}

/** Of a function's hundred lines, the first that differs. */
function firstUnequalLines(one: string, other: string): [string, string] {
  const [lines, others] = [one.split("\n"), other.split("\n")];
  const at = lines.findIndex((line, index) => line !== others[index]);
  const index = at === -1 ? lines.length : at;
  return [lines[index]?.trim() ?? "(ends here)", others[index]?.trim() ?? "(ends here)"];
}
