import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { type DatabaseUnderTest, withDatabase } from "../test/support/database.ts";
import { claim, complete, createUser, queueTask } from "../test/support/factories.ts";
import type { Diagnosis } from "./doctor.ts";
import { projectPath } from "./migrate.ts";

interface Run {
  exitCode: number | null;
  output: string;
  errors: string;
}

test("doctor and verify: exit 0 and say so when all is right", () =>
  withDatabase(async (database) => {
    await work(database);
    const doctor = await run(["doctor"], database.url);
    assert.equal(doctor.exitCode, 0, doctor.errors);
    assert.match(
      doctor.output,
      /^Healthy: accounts 1, entries 2, open holds 1, tasks 2\nchain digest [0-9a-f]{64}\n$/,
    );
    const verify = await run(["verify"], database.url);
    assert.match(verify.output, /^Healthy: accounts 1, entries 2\nchain digest [0-9a-f]{64}\n$/);
    const { chain_digest } = JSON.parse((await run(["verify", "--json"], database.url)).output) as Diagnosis;
    assert.ok(doctor.output.includes(chain_digest) && verify.output.includes(chain_digest));
  }));

test("doctor names each fault with its room, rule, row and user, and exits 1; verify those of the books alone", () =>
  withDatabase(async (database) => {
    const { userId, done, waiting } = await work(database);
    await database.sql.transaction(async (transaction) => {
      await transaction`set local session_replication_role = 'replica'`;
      await transaction`update credits_ledger set metadata = '{}' where task_id = ${done}`;
      await transaction`delete from credit_holds where task_id = ${waiting}`;
    });
    const [entry] = await database.sql<
      { id: string }[]
    >`select id from credits_ledger where task_id = ${done}`;

    const doctor = await run(["doctor"], database.url);
    assert.equal(doctor.exitCode, 1, doctor.errors);
    for (const line of [
      `credits: entry_changed, row ${entry?.id}, user ${userId}  {"sequence":2}`,
      `credits: held_is_not_the_sum, row ${userId}, user ${userId}  `,
      `tasks: open_without_cover, row ${waiting}, user ${userId}  {"status":"Queued"}`,
      "3 faults: accounts 1",
    ]) {
      assert.ok(doctor.output.includes(line), `${line}\n${doctor.output}`);
    }
    const verify = await run(["verify", "--json"], database.url);
    assert.equal(verify.exitCode, 1);
    const { healthy, fault_count, faults } = JSON.parse(verify.output) as Diagnosis;
    assert.deepEqual([healthy, fault_count], [false, 2]);
    assert.deepEqual(faults.map(({ rule }) => rule).toSorted(), ["entry_changed", "held_is_not_the_sum"]);
  }));

test("doctor exits 2, and says why, when it could not check", async () => {
  const nowhere = await run(["doctor"], "postgres://postgres@127.0.0.1:1/none");
  assert.deepEqual([nowhere.exitCode, nowhere.output], [2, ""]);
  assert.match(nowhere.errors, /ECONNREFUSED/);
  const noHost = await run(["verify", "--data", "/nonexistent"]);
  assert.deepEqual([noHost.exitCode, noHost.output], [2, ""]);
  assert.match(noHost.errors, /No Darkroom runs/);
  assert.equal((await run(["doctor", "--jsno"])).exitCode, 2);
});

/** An account with a task that is done and paid for, and one that waits. */
async function work({ sql }: DatabaseUnderTest) {
  const owner = await createUser(sql);
  const done = await queueTask(sql, owner);
  await claim(sql, "cloud-1");
  await complete(sql, done);
  return { userId: owner.userId, done, waiting: await queueTask(sql, owner) };
}

async function run(words: string[], databaseUrl?: string): Promise<Run> {
  const child = spawn(process.execPath, ["--import", "tsx", projectPath("server/cli.ts"), ...words], {
    cwd: projectPath("test"),
    env: { PATH: process.env["PATH"], ...(databaseUrl && { DATABASE_URL: databaseUrl }) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [output, errors] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  await once(child, "close");
  return { exitCode: child.exitCode, output, errors };
}
