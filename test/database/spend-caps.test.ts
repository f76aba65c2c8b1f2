import assert from "node:assert/strict";
import { test } from "node:test";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { withDatabase } from "../support/database.ts";
import { accountOf, claim, complete, createUser, refusedWith, setStatus } from "../support/factories.ts";

const price = 6_500;

/** A personal access token with a cap on its month. @returns its id */
async function cappedToken(sql: Sql, userId: string, capMicrousd: number): Promise<string> {
  const [made] = await sql<{ id: string }[]>`
    insert into personal_access_tokens (user_id, token_hash, last_four, label, scopes)
    values (${userId}, sha256(convert_to(${userId}, 'UTF8')), 'abcd', 'capped', array['tasks:write']) returning id`;
  const id = made?.id ?? "";
  await sql`select set_spend_cap(${userId}, null, ${id}, ${capMicrousd})`;
  return id;
}

async function createByToken(
  sql: Sql,
  tokenId: string,
  projectId: string,
  request: Record<string, unknown> = {},
): Promise<string> {
  const body = { task_type: "z_image_turbo", params: { prompt: "a fox" }, project_id: projectId, ...request };
  const [row] = await sql<{ created: { task_id: string } }[]>`
    select create_task(null, ${sql.json([body] as never)}, false, for_token => ${tokenId}) as created`;
  return row?.created.task_id ?? "";
}

async function committed(sql: Sql): Promise<number> {
  const [cap] = await sql<{ committed: string }[]>`select committed_microusd as committed from spend_caps`;
  return Number(cap?.committed);
}

async function faults(sql: Sql): Promise<string[]> {
  return (await sql<{ rule: string }[]>`select rule from find_ledger_faults()`).map(({ rule }) => rule);
}

test("a task that is retried counts for the cap of the token that created it, until it is released again", () =>
  withDatabase(async ({ sql }) => {
    const { userId, projectId } = await createUser(sql);
    const token = await cappedToken(sql, userId, 2 * price);
    const taskId = await createByToken(sql, token, projectId);
    await setStatus(sql, taskId, "Failed");
    assert.equal(await committed(sql), 0);

    await setStatus(sql, taskId, "Queued");
    assert.equal(await committed(sql), price);
    assert.deepEqual(await faults(sql), []);
    await setStatus(sql, taskId, "Cancelled");
    assert.equal(await committed(sql), 0);
    assert.deepEqual(await accountOf(sql, userId), { balance: 100_000_000, held: 0 });
  }));

test("a retry is no way past the cap of the token", () =>
  withDatabase(async ({ sql }) => {
    const { userId, projectId } = await createUser(sql);
    const token = await cappedToken(sql, userId, price);
    const first = await createByToken(sql, token, projectId);
    await setStatus(sql, first, "Failed");
    const second = await createByToken(sql, token, projectId);

    assert.equal(await refusedWith(setStatus(sql, first, "Queued")), "spend_cap_reached");
    assert.equal((await claim(sql, "worker"))?.task_id, second);
    await complete(sql, second);
    assert.equal(await committed(sql), price);
    assert.deepEqual(await faults(sql), []);
  }));

test("an orchestration that outgrows its hold in a later month counts for the month of the hold", () =>
  withDatabase(async ({ sql }) => {
    const { userId, projectId } = await createUser(sql);
    const token = await cappedToken(sql, userId, 50_000_000);
    const orchestrator = await createByToken(sql, token, projectId, {
      task_type: "travel_orchestrator",
      params: { orchestrator_details: { num_new_segments_to_generate: 1 } },
    });
    // Two minutes of the segment and one of the stitch, which three segments outgrow.
    assert.equal(await committed(sql), 3 * 60 * 278);
    await sql`update credit_holds set created_at = created_at - interval '1 month'`;
    await sql`update spend_caps set month = month - interval '1 month'`;
    for (let child = 0; child < 3; child++) {
      await createByToken(sql, token, projectId, {
        task_type: "travel_segment",
        params: { orchestrator_task_id_ref: orchestrator, segment_index: child },
      });
    }
    assert.equal(await committed(sql), 6 * 60 * 278);
    assert.deepEqual(await faults(sql), []);

    await setStatus(sql, orchestrator, "Cancelled");
    assert.equal(await committed(sql), 0);
    assert.deepEqual(await faults(sql), []);
  }));

test("a request that waited over the end of a month does not turn the cap back to it", () =>
  withDatabase(async ({ sql }) => {
    const { userId, projectId } = await createUser(sql);
    const token = await cappedToken(sql, userId, 50_000_000);
    await createByToken(sql, token, projectId);
    const [{ next } = { next: "" }] = await sql<{ next: string }[]>`
      update spend_caps set month = month + interval '1 month' returning month::text as next`;
    await createByToken(sql, token, projectId);
    const [cap] = await sql`select month::text, committed_microusd::int as committed from spend_caps`;
    assert.deepEqual({ ...cap }, { month: next, committed: price });
  }));
