import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import {
  base64,
  booksOf,
  claim,
  claimTask,
  complete,
  type CreatedTask,
  invoke,
  personWithProject,
  post,
  queueTask,
  refused,
  service,
  stateOf,
  succeed,
} from "../support/calls.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { png } from "../support/png.ts";

const price = 6_500;
const welcome = 5_000_000;

for (const { name, start } of hosts) {
  describe(`creating tasks on ${name}`, () => {
    let host: HostUnderTest;
    before(async () => void (host = await start()));
    after(() => host?.stop());

    test("a batch is created as a whole, and covered as a whole", async () => {
      const person = await personWithProject(host);
      const one = { task_type: "z_image_turbo", params: { prompt: "a fox" }, project_id: person.projectId };
      const made = await succeed(
        invoke<{ task_ids: string[]; tasks: CreatedTask[]; deduplicated: boolean }>(person, "create-task", {
          tasks: [one, one, one],
        }),
      );
      assert.equal(new Set(made.task_ids).size, 3);
      assert.deepEqual(
        made.tasks.map(({ task_id }) => task_id),
        made.task_ids,
      );
      assert.equal(made.deduplicated, false);
      assert.equal((await booksOf(host, person.userId)).held, 3 * price);
    });

    test("a batch with one task that cannot be creates nothing and holds nothing", async () => {
      const person = await personWithProject(host);
      const one = { task_type: "z_image_turbo", params: {}, project_id: person.projectId };
      const bad = { ...one, task_type: "no_such_type" };
      await refused(invoke(person, "create-task", { tasks: [one, bad] }), 422, "unknown_task_type");
      await refused(
        invoke(person, "create-task", { tasks: Array.from({ length: 101 }, () => one) }),
        400,
        "invalid_request",
      );
      const dear = { ...one, task_type: "lora_training" };
      const answer = await refused(
        invoke(person, "create-task", { tasks: [dear, dear, dear] }),
        402,
        "insufficient_credits",
      );
      assert.equal(answer.body["required_microusd"], 2_500_000);
      const { count } = await person.client.from("tasks").select("*", { count: "exact", head: true });
      assert.equal(count, 0);
      assert.equal((await booksOf(host, person.userId)).held, 0);
    });

    test("an idempotency key, in body or header, gives the first answer again; another body is refused", async () => {
      const person = await personWithProject(host);
      const body = { task_type: "z_image_turbo", params: { seed: 1 }, project_id: person.projectId };
      const key = randomUUID();
      const first = await succeed(
        invoke<CreatedTask>(person, "create-task", { ...body, idempotency_key: key }),
      );
      const header = { ...person.credentials, "idempotency-key": key };
      const second = await succeed(post<CreatedTask>(host, "create-task", body, header));
      assert.deepEqual(second, { ...first, deduplicated: true });
      const other = { ...body, params: { seed: 2 } };
      await refused(post(host, "create-task", other, header), 422, "idempotency_key_reused");
      assert.equal((await booksOf(host, person.userId)).held, price);

      // The key is the user's own: somebody else may choose the same.
      const stranger = await personWithProject(host);
      const theirs = await queueTask(host, stranger, { idempotency_key: key });
      assert.equal(theirs.deduplicated, false);
    });

    test("a task id of the client's is kept; the same request again is the same task, another is refused", async () => {
      const person = await personWithProject(host);
      const task_id = randomUUID();
      const first = await queueTask(host, person, { task_id, dependant_on: null });
      assert.equal(first.task_id, task_id);
      const second = await queueTask(host, person, { task_id, dependant_on: null });
      assert.deepEqual(second, { ...first, deduplicated: true });
      await refused(
        invoke(person, "create-task", {
          task_id,
          task_type: "qwen_image",
          params: {},
          project_id: person.projectId,
        }),
        409,
        "task_id_conflict",
      );
      // Nor does it tell whose the id is.
      const stranger = await personWithProject(host);
      await refused(
        invoke(stranger, "create-task", {
          task_id,
          task_type: "z_image_turbo",
          params: { prompt: "a fox" },
          project_id: stranger.projectId,
        }),
        409,
        "task_id_conflict",
      );
    });

    test("a task waits for what it depends on: nothing, one, or a list", async () => {
      const person = await personWithProject(host);
      // What other tests left in the queue.
      while (await claim(host, service(host), {}));
      const first = await queueTask(host, person, { dependant_on: null });
      const second = await queueTask(host, person, { dependant_on: first.task_id });
      const third = await queueTask(host, person, { dependant_on: [first.task_id, second.task_id] });
      for (const { task_id } of [first, second, third]) {
        const claimed = await claimTask(host, service(host), task_id);
        assert.equal(await claim(host, service(host), {}), undefined, "nothing else is ready");
        await complete(host, service(host), claimed.task_id);
      }
      const { balance, held } = await booksOf(host, person.userId);
      assert.deepEqual({ balance, held }, { balance: welcome - 3 * price, held: 0 });
    });

    test("when a dependency fails, so do its dependants, and their holds are released", async () => {
      const person = await personWithProject(host);
      const first = await queueTask(host, person);
      const second = await queueTask(host, person, { dependant_on: [first.task_id] });
      const third = await queueTask(host, person, { dependant_on: second.task_id });
      await claimTask(host, service(host), first.task_id);
      const failure = { task_id: first.task_id, status: "Failed", output_location: "[EDGE_FAIL] no output" };
      await succeed(post(host, "update-task-status", failure, service(host)));
      for (const { task_id } of [second, third]) {
        const { status, error_message } = await stateOf(host, task_id);
        assert.deepEqual({ status, error_message }, { status: "Failed", error_message: "dependency_failed" });
      }
      const { balance, held } = await booksOf(host, person.userId);
      assert.deepEqual({ balance, held }, { balance: welcome, held: 0 });
    });

    test("a function is served under its name in either spelling, and nothing under other names", async () => {
      const person = await personWithProject(host);
      const { task_id } = await queueTask(host, person);
      for (const spelling of ["get-task-status", "get_task_status"]) {
        await succeed(post(host, spelling, { task_id }, person.credentials));
      }
      for (const spelling of ["complete_task", "complete-task"]) {
        await refused(post(host, spelling, {}, person.credentials), 403, "forbidden");
      }
      for (const name of ["no-such-function", "_shared", ""]) {
        assert.equal((await post(host, name, {}, service(host))).status, 404, name);
      }
    });

    test("a dependency that is missing, foreign or the task itself is refused", async () => {
      const [person, stranger] = [await personWithProject(host), await personWithProject(host)];
      const foreign = await queueTask(host, stranger);
      const task_id = randomUUID();
      for (const dependency of [randomUUID(), foreign.task_id, task_id]) {
        const body = { task_id, task_type: "z_image_turbo", params: {}, project_id: person.projectId };
        await refused(
          invoke(person, "create-task", { ...body, dependant_on: dependency }),
          422,
          "invalid_dependency",
        );
      }
    });
  });

  describe(`a task's status on ${name}`, () => {
    let host: HostUnderTest;
    before(async () => void (host = await start()));
    after(() => host?.stop());

    test("its user cancels it, waiting or running; the worker learns of it and nothing is charged", async () => {
      const person = await personWithProject(host);
      const [waiting, running] = [await queueTask(host, person), await queueTask(host, person)];
      await claimTask(host, service(host), waiting.task_id);
      await claimTask(host, service(host), running.task_id);
      const third = await queueTask(host, person);
      for (const { task_id } of [third, running]) {
        const update = { task_id, status: "Cancelled" };
        const answer = await succeed(invoke(person, "update-task-status", update));
        assert.equal(answer["status"], "Cancelled");
        const again = await refused(invoke(person, "update-task-status", update), 409, "invalid_transition");
        assert.equal(again.body["current_status"], "Cancelled");
        assert.deepEqual(again.body["allowed_transitions"], []);
      }
      const output = { task_id: running.task_id, filename: "late.png", file_data: base64(png()) };
      await refused(post(host, "complete_task", output, service(host)), 409, "task_cancelled");
      await refused(
        post(host, "update-task-status", { task_id: running.task_id, status: "In Progress" }, service(host)),
        409,
        "task_cancelled",
      );
      const { balance, held } = await booksOf(host, person.userId);
      assert.deepEqual({ balance, held }, { balance: welcome, held: price });
      await complete(host, service(host), waiting.task_id);
    });

    test("its user may only cancel and retry, and nobody else may do that", async () => {
      const [person, stranger] = [await personWithProject(host), await personWithProject(host)];
      const { task_id } = await queueTask(host, person);
      for (const status of ["In Progress", "Complete", "Failed"]) {
        await refused(invoke(person, "update-task-status", { task_id, status }), 403, "forbidden");
      }
      await refused(
        invoke(stranger, "update-task-status", { task_id, status: "Cancelled" }),
        404,
        "task_not_found",
      );
      assert.equal((await stateOf(host, task_id)).status, "Queued");
    });

    test("a requeued run is given out again; the earlier worker comes too late", async () => {
      const person = await personWithProject(host);
      const { task_id } = await queueTask(host, person);
      const first = await claimTask(host, service(host), task_id, { worker_id: "first" });
      const requeued = await succeed(
        post(
          host,
          "update-task-status",
          { task_id, status: "Queued", attempts: 1, error_details: "Retry 1 (network)", clear_worker: true },
          service(host),
        ),
      );
      assert.deepEqual([requeued["status"], requeued["attempts"]], ["Queued", 1]);
      const second = await claimTask(host, service(host), task_id, { worker_id: "second" });
      assert.deepEqual([first.attempt, first.attempts], [1, 0]);
      assert.deepEqual([second.attempt, second.attempts], [2, 1]);

      const output = { task_id, filename: "output.png", file_data: base64(png()) };
      for (const late of [{ attempt: 1 }, { worker_id: "first" }]) {
        await refused(
          post(host, "complete_task", { ...output, ...late }, service(host)),
          409,
          "stale_attempt",
        );
      }
      const done = await complete(host, service(host), task_id, { worker_id: "second", attempt: 2 });
      assert.equal(done.cost_microusd, price);
      const { balance, held } = await booksOf(host, person.userId);
      assert.deepEqual({ balance, held }, { balance: welcome - price, held: 0 });
    });

    test("a run requeued past the last attempt fails; its user retries it with a new hold", async () => {
      const person = await personWithProject(host);
      const { task_id } = await queueTask(host, person);
      for (const expected of ["Queued", "Queued", "Failed"]) {
        await claimTask(host, service(host), task_id);
        const update = { task_id, status: "Queued", error_details: "out of memory" };
        const answer = await succeed(post(host, "update-task-status", update, service(host)));
        assert.equal(answer["status"], expected);
      }
      assert.equal((await booksOf(host, person.userId)).held, 0);
      assert.equal((await stateOf(host, task_id)).error_message, "out of memory");

      await succeed(invoke(person, "update-task-status", { task_id, status: "Queued" }));
      assert.equal((await booksOf(host, person.userId)).held, price);
      const again = await claimTask(host, service(host), task_id);
      assert.deepEqual([again.attempt, again.attempts], [4, 0]);
      await complete(host, service(host), task_id, { attempt: 4 });
      const { balance, held } = await booksOf(host, person.userId);
      assert.deepEqual({ balance, held }, { balance: welcome - price, held: 0 });
    });
  });
}
