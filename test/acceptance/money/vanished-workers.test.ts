/** Check 7 on a running host: its own timer gives back what vanished workers have left held. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { claim, personWithProject, post, queueTask, service, succeed } from "../../support/calls.ts";
import { startNodeHost } from "../../support/hosts.ts";

test("check 7: a worker vanishes, and within its lease and 60 s nothing is held; x5", async (context) => {
  const host = await startNodeHost();
  try {
    const { sql } = host;
    const person = await personWithProject(host);
    for (let number = 0; number < 5; number++) {
      await queueTask(host, person, { max_attempts: 1 });
      const worker = { worker_id: `vanishing-${number}` };
      const claimed = await claim(host, service(host), worker);
      assert.ok(claimed);
      await succeed(
        post(
          host,
          "update-task-status",
          {
            task_id: claimed.task_id,
            status: "In Progress",
            progress: 0.1,
            attempt: claimed.attempt,
            ...worker,
          },
          service(host),
        ),
      );
    }
    const [leases] = await sql`
      select max(extract(epoch from lease_expires_at - now()))::float8 as longest from tasks`;
    assert.ok((leases?.["longest"] as number) <= 60, "whoever reports has the short lease");
    assert.equal((await sql`select from credit_holds where state = 'held'`).length, 5);

    // The lease's time passes; nobody calls.
    await sql`update tasks set lease_expires_at = now() + interval '1 second'`;
    const leaseEnds = Date.now() + 1_000;
    const isHeld = async () => (await sql`select from credit_accounts where held_microusd > 0`).length > 0;
    while (await isHeld()) {
      assert.ok(Date.now() < leaseEnds + 60_000, "held 60 s after the lease");
      await pause(50);
    }
    const seconds = (Date.now() - leaseEnds) / 1000;
    const rows = await sql`
      select tasks.status, error_message, hold.state, charged_microusd::int as charged
        from tasks join credit_holds as hold on hold.task_id = tasks.id`;
    for (const row of rows) {
      assert.deepEqual(
        { ...row },
        { status: "Failed", error_message: "lease_expired", state: "released", charged: 0 },
      );
    }
    context.diagnostic(`5 holds released ${seconds.toFixed(1)} s after their lease`);
  } finally {
    await host.stop();
  }
});
