/** A running host works off what ends leave behind, at once and by itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { claim, personWithProject, post, queueTask, service, succeed } from "../support/calls.ts";
import { type HostUnderTest, startNodeHost } from "../support/hosts.ts";

async function untilNone(host: HostUnderTest, condition: string): Promise<number> {
  const begun = Date.now();
  for (;;) {
    const rows = await host.sql.query(`select from tasks where ${condition}`);
    if (rows.length === 0) return Date.now() - begun;
    assert.ok(Date.now() < begun + 10_000, `${rows.length} tasks are left`);
    await pause(20);
  }
}

test("a host releases 200 dependants of a completed task, and fails 200 of a failed one, as soon as they are noted", async (context) => {
  const host = await startNodeHost();
  try {
    const person = await personWithProject(host);
    await host.sql`select add_credit(${person.userId}, 'manual', 100000000)`;
    const dependantsOf = async (parent: string) => {
      for (let batch = 0; batch < 2; batch++) {
        const tasks = Array.from({ length: 100 }, () => ({
          task_type: "z_image_turbo",
          project_id: person.projectId,
          params: { prompt: "a fox" },
          dependant_on: [parent],
        }));
        await succeed(post(host, "create-task", { tasks }, service(host)));
      }
    };
    const { task_id: completed } = await queueTask(host, person);
    await dependantsOf(completed);
    const worker = { worker_id: "completes" };
    const claimed = await claim(host, service(host), worker);
    assert.equal(claimed?.task_id, completed);
    await succeed(
      post(
        host,
        "complete_task",
        { task_id: completed, output_location: "https://media.example/a.png", ...worker },
        service(host),
      ),
    );
    const released = await untilNone(host, "unmet_dependencies > 0");

    const { task_id: failed } = await queueTask(host, person, { priority: 100 });
    await dependantsOf(failed);
    await succeed(post(host, "update-task-status", { task_id: failed, status: "Failed" }, service(host)));
    const ended = await untilNone(host, `'${failed}' = any(dependant_on) and status = 'Queued'`);
    context.diagnostic(
      `180 released ${released} ms after the completion, 180 failed ${ended} ms after the failure`,
    );
    assert.ok(released < 5_000 && ended < 5_000);
  } finally {
    await host.stop();
  }
});
