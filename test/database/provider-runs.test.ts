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
    await queueTask(sql, person);
    await tick();
    const url = "https://ref.supabase.co/functions/v1/run-provider-tasks";
    assert.deepEqual(await requests(), [url]);
    await tick();
    assert.equal(
      (await requests()).length,
      1,
      "a function that has not answered yet is not called over and over",
    );

    // It says what it runs, and is called again while a task of these types waits.
    const begin = (types: string[]) =>
      sql<{ name: string }[]>`select begin_provider_run('fal', ${types}, 1) as name`;
    assert.equal((await begin(["qwen_image"]))[0]?.name, "fal-function-1");
    await sql`update workers set status = 'terminated' where id = 'fal-function-1'`;
    await pauseEnds();
    await tick();
    assert.equal((await requests()).length, 1, "a type that it does not run");
    await begin(["z_image_turbo"]);
    await pauseEnds();
    await tick();
    assert.equal((await requests()).length, 1, "as many calls run as may");
    await sql`update workers set status = 'terminated' where id = 'fal-function-1'`;
    await tick();
    assert.equal((await requests()).length, 2);
    await tick();
    assert.equal((await requests()).length, 2, "ten seconds between two calls");
    await pauseEnds();
    await sql`update queue_settings set fal_runs = 'none'`;
    await tick();
    assert.equal((await requests()).length, 2, "the operator has FAL run nothing");
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
    for (const hasJob of [true, false]) {
      const id = await queueTask(sql, person);
      const job = {
        provider: "fal",
        model: "fal-ai/z-image/turbo",
        units: { images: 1, megapixels: 1 },
      };
      for (let turn = 0; turn < 22; turn++) {
        const claimed = await claim(sql, "worker-1");
        assert.equal(claimed?.task_id, id);
        const { attempt } = claimed;
        for (const more of hasJob && turn === 0 ? [{}, { request_id: "job-1" }] : []) {
          const changes = { provider_job: { ...job, ...more } };
          await setStatus(sql, id, "In Progress", { attempt, changes });
        }
        await sql`update tasks set generation_started_at = now() - interval '100 seconds' where id = ${id}`;
        await setStatus(sql, id, "Queued", { attempt, changes: { given_back: true } });
      }
      const [task] = await sql<{ status: string; attempts: number }[]>`
        select status, attempts from tasks where id = ${id}`;
      assert.equal(task?.status, "Queued");
      assert.equal(task.attempts > 0, !hasJob, "after twenty returns without a job, runs are counted");
      await sql`select end_task(${id}, 'Cancelled', 'the next case')`;
    }
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
