import assert from "node:assert/strict";
import { test } from "node:test";
import { withDatabase } from "../support/database.ts";
import { claim, createUser, queueTask } from "../support/factories.ts";

test("two first reports of one worker's model at once: one row, the later model", () =>
  withDatabase(async (database) => {
    const [first, second] = [await database.session(), await database.session()];

    await first.query("begin");
    await first.query("select update_worker_model('newcomer', 'flux')");
    const waiting = second.query<{ answer: Record<string, unknown> }>(
      "select update_worker_model('newcomer', 'z_image') as answer",
    );
    await first.query("commit");

    assert.equal((await waiting).rows[0]?.answer["success"], true);
    const rows = await database.sql`select current_model, status from workers where id = 'newcomer'`;
    assert.deepEqual([...rows], [{ current_model: "z_image", status: "active" }]);
  }));

test("a model can be forgotten, and a worker that was shut down stays so", () =>
  withDatabase(async (database) => {
    await database.sql`select update_worker_model('w', 'flux')`;
    await database.sql`update workers set status = 'terminated' where id = 'w'`;
    await database.sql`select update_worker_model('w', null)`;
    const [worker] = await database.sql`select current_model, status from workers where id = 'w'`;
    assert.deepEqual({ ...worker }, { current_model: null, status: "terminated" });
  }));

test("nobody takes the name of another's worker, or of the cloud's", () =>
  withDatabase(async (database) => {
    const [user, other] = [await createUser(database.sql), await createUser(database.sql)];
    await queueTask(database.sql, user);
    const taskId = await queueTask(database.sql, other);
    await claim(database.sql, "local-worker", user.userId);

    await database.sql`select update_worker_model('local-worker', 'x')`;
    assert.equal((await claim(database.sql, "local-worker", other.userId))?.task_id, taskId);
    const rows =
      await database.sql`select user_id, current_model from workers order by current_model, user_id = ${user.userId} desc`;
    assert.deepEqual(
      rows.map((row) => [row["user_id"], row["current_model"]]),
      [
        [null, "x"],
        [user.userId, null],
        [other.userId, null],
      ],
    );
  }));

test("an owner's names of workers and models are bounded, and work goes on beyond", () =>
  withDatabase(async (database) => {
    const user = await createUser(database.sql, 10_000_000_000);
    for (let number = 0; number < 205; number++) await claim(database.sql, `worker-${number}`, user.userId);
    const [workers] = await database.sql`select count(*)::int as rows from workers`;
    assert.equal(workers?.["rows"], 200);

    for (let number = 0; number < 305; number++) {
      await queueTask(database.sql, user, { params: { prompt: "a", model: `model-${number}` } });
    }
    const [lanes] = await database.sql`select count(*)::int as rows from task_lanes`;
    assert.equal(lanes?.["rows"], 301);
    const [last] = await database.sql`
      select lane.model as lane, task.model from tasks as task join task_lanes as lane on lane.id = task.lane_id
       where task.model = 'model-304'`;
    assert.deepEqual({ ...last }, { lane: "", model: "model-304" });
    await database.sql`update tasks set priority = 50 where model = 'model-304'`;
    const [row] = await database.sql`
      select claim_next_task(for_worker => 'w', only_models => array['']) -> 'params' ->> 'model' as model`;
    assert.equal(row?.["model"], "model-304");
  }));
