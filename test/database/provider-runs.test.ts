import assert from "node:assert/strict";
import { test } from "node:test";
import type { Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { withDatabase } from "../support/database.ts";
import { claim, createUser, queueTask, setStatus } from "../support/factories.ts";

/** Stand-ins for Supabase's extensions, which PostgreSQL alone does not have. */
async function playSupabase(sql: Sql): Promise<() => Promise<string[]>> {
  await sql.query(`
    create schema vault; create schema net;
    create table vault.decrypted_secrets (name text, decrypted_secret text);
    insert into vault.decrypted_secrets values
      ('darkroom_functions_url', 'https://ref.supabase.co/functions/v1'), ('darkroom_service_key', 'sb_secret_x');
    create table net.requests (url text);
    create function net.http_post(url text, body jsonb default '{}', params jsonb default '{}', headers jsonb default '{}',
      timeout_milliseconds integer default 5000) returns bigint language sql as $$
      insert into net.requests values (url); select 1::bigint $$;`);
  return async () => (await sql<{ url: string }[]>`select url from net.requests`).map(({ url }) => url);
}

test("on Supabase the timer has run-provider-tasks called, only while a task waits that FAL may take", () =>
  withDatabase(async ({ sql }) => {
    const requests = await playSupabase(sql);
    const tick = () => sql`select request_provider_runs()`;
    const pauseEnds = () => sql`update provider_runners set next_call_at = now()`;
    await tick();
    assert.deepEqual(await requests(), [], "nothing waits");
    const person = await createUser(sql);
    const id = await queueTask(sql, person);
    await tick();
    const url = "https://ref.supabase.co/functions/v1/run-provider-tasks";
    assert.deepEqual(await requests(), [url]);
    await tick();
    assert.equal(
      (await requests()).length,
      1,
      "a function that has not answered yet is not called over and over",
    );

    // It says what it runs; then it is called every ten seconds.
    const [begun] = await sql<
      { name: string }[]
    >`select begin_provider_run('fal', array['z_image_turbo'], 1) as name`;
    assert.equal(begun?.name, "fal-function-1");
    await pauseEnds();
    await tick();
    assert.equal((await requests()).length, 1, "as many calls run as may");
    await sql`update workers set status = 'terminated' where id = 'fal-function-1'`;
    await tick();
    assert.equal((await requests()).length, 2);
    await pauseEnds();
    await setStatus(sql, id, "Cancelled");
    await queueTask(sql, person, { taskType: "qwen_image" });
    await tick();
    assert.equal((await requests()).length, 2, "a type that it does not run");
    await queueTask(sql, person);
    await tick();
    assert.equal((await requests()).length, 3);
  }));

test("begin_provider_run gives two calls at the same time different names, whichever commits first", () =>
  withDatabase(async (database) => {
    const [first, second] = [await database.session(), await database.session()];
    const begin = "select begin_provider_run('fal', array['z_image_turbo'], 2) as name";
    await first.query("begin");
    const one = await first.query(begin);
    const waiting = second.query(begin);
    await first.query("commit");
    const names = [one, await waiting].map(({ rows }) => (rows as { name: string }[])[0]?.name);
    assert.deepEqual(names, ["fal-function-1", "fal-function-2"]);
    const third = await second.query(begin);
    assert.deepEqual(third.rows, [{ name: null }]);
  }));

test("a task with a job at a provider is given back any number of times; one without is not", () =>
  withDatabase(async ({ sql }) => {
    const person = await createUser(sql);
    const ids = [await queueTask(sql, person), await queueTask(sql, person)];
    const [withJob] = ids;
    for (let turn = 0; turn < 23; turn++) {
      for (let of = 0; of < 2; of++) {
        const claimed = await claim(sql, "worker-1");
        if (!claimed) continue;
        const { task_id, attempt } = claimed;
        if (task_id === withJob) {
          const provider_job = { provider: "fal", model: "fal-ai/z-image/turbo", request_id: "job-1" };
          await setStatus(sql, task_id, "In Progress", { attempt, changes: { provider_job } });
        }
        await sql`update tasks set generation_started_at = now() - interval '100 seconds' where id = ${task_id}`;
        await setStatus(sql, task_id, "Queued", { attempt, changes: { given_back: true } });
      }
    }
    const rows = await sql<{ id: string; status: string; attempts: number }[]>`
      select id, status, attempts from tasks where id = any (${ids}::uuid[])`;
    const of = (id: string | undefined) => rows.find((row) => row.id === id);
    assert.deepEqual([of(withJob)?.status, of(withJob)?.attempts], ["Queued", 0]);
    assert.ok((of(ids[1])?.attempts ?? 0) > 0, "runs of the other task are counted after twenty");
  }));

test("an orchestrator whose parts are created outlives a provider's worker; one of another worker is given back", () =>
  withDatabase(async ({ sql }) => {
    const person = await createUser(sql);
    for (const provider of ["fal", null]) {
      const orchestrator = await queueTask(sql, person, {
        taskType: "travel_orchestrator",
        params: { orchestrator_details: { num_new_segments_to_generate: 1 } },
      });
      const worker = `worker-of-${provider}`;
      const claimed = await claim(sql, worker);
      assert.equal(claimed?.task_id, orchestrator);
      await queueTask(sql, person, {
        taskType: "travel_segment",
        params: { orchestrator_task_id_ref: orchestrator, segment_index: 0 },
      });
      const { attempt } = claimed;
      const changes = { progress_message: "1 segment is created" };
      await setStatus(sql, orchestrator, "In Progress", { attempt, changes });
      await sql`update workers set provider = ${provider} where id = ${worker}`;
      await sql`select worker_heartbeat(null, ${worker}, '{"status": "terminated"}')`;
      const statusOf = async () =>
        (await sql<{ status: string }[]>`select status from tasks where id = ${orchestrator}`)[0]?.status;
      assert.equal(await statusOf(), provider ? "In Progress" : "Queued");
      await sql`update tasks set lease_expires_at = now() - interval '1 second' where id = ${orchestrator} and status = 'In Progress'`;
      await sql`select sweep_expired_leases()`;
      assert.equal(await statusOf(), provider ? "In Progress" : "Queued");
      await sql`select end_task(${orchestrator}, 'Cancelled', 'the next case')`;
    }
  }));
