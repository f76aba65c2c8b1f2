/** Check 62 over HTTP: create-task and a row over REST are priced by the same reading, and refused alike. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { type Answer, claim, personWithProject, post, service } from "../../support/calls.ts";
import { hosts, type HostUnderTest } from "../../support/hosts.ts";
import { pricedOrders } from "../../support/priced-orders.ts";

type Row = Record<string, unknown>;

for (const { name, start } of hosts) {
  describe(`priced params on ${name}`, () => {
    let host: HostUnderTest;
    before(async () => void (host = await start()));
    after(() => host?.stop());

    test("check 62: every order costs the same by create-task, by REST and in its quote, or is refused by all three", async () => {
      const person = await personWithProject(host);
      await host.sql`select add_credit(${person.userId}, 'manual', 10000000)`;
      const { projectId, credentials } = person;
      const ways: [string, (id: string, taskType: string, params: Row) => Promise<Answer>][] = [
        [
          "create-task",
          (task_id, task_type, params) =>
            post(host, "create-task", { task_id, task_type, params, project_id: projectId }, credentials),
        ],
        [
          "REST",
          async (id, task_type, params) => {
            const response = await fetch(`${host.apiUrl}/rest/v1/tasks`, {
              method: "POST",
              headers: { "content-type": "application/json", apikey: host.keys.anonKey, ...credentials },
              body: JSON.stringify({ id, task_type, params, project_id: projectId }),
            });
            const text = await response.text();
            return {
              status: response.status,
              body: (text ? JSON.parse(text) : {}) as Row,
              text,
              headers: response.headers,
            };
          },
        ],
      ];
      for (const [taskType, given, outcome] of pricedOrders) {
        const params = { prompt: "a fox", ...given };
        const told = `${taskType} ${JSON.stringify(given).slice(0, 200)}`;
        const quote = await post(host, "calculate-task-cost", { task_type: taskType, params }, credentials);
        if (typeof outcome === "string") {
          assert.deepEqual([quote.status, quote.body["error"]], [422, outcome], told);
        } else {
          assert.deepEqual([quote.status, quote.body["cost_microusd"]], [200, outcome], told);
        }
        for (const [way, create] of ways) {
          const id = randomUUID();
          const answer = await create(id, taskType, params);
          if (typeof outcome === "string") {
            assert.equal(answer.status, 422, `${way}: ${told} ${JSON.stringify(answer.body)}`);
            assert.ok(
              JSON.stringify(answer.body).includes(outcome),
              `${way}: ${told} ${JSON.stringify(answer.body)}`,
            );
            continue;
          }
          assert.ok(answer.status < 300, `${way}: ${told} ${JSON.stringify(answer.body)}`);
          const [hold] =
            await host.sql`select amount_microusd::int as held from credit_holds where task_id = ${id}`;
          assert.equal(hold?.["held"], outcome, `${way}: ${told}`);
          await host.sql`select end_task(${id}, 'Cancelled', 'enough')`;
        }
      }
    });

    test("check 62: a claim has the billed values beside params that say them", async () => {
      const person = await personWithProject(host);
      const params = { image: "https://media.example/a.png", upscale_factor: "2.5" };
      await post(
        host,
        "create-task",
        { task_type: "image-upscale", params, project_id: person.projectId },
        person.credentials,
      );
      const claimed = await claim(host, service(host), { worker_id: "worker" });
      assert.deepEqual(claimed?.billed, { images: 1, scale: 2.5 });
      assert.deepEqual(claimed?.params, { ...params, scale_factor: 2.5, upscale_factor: 2.5, scale: 2.5 });
    });
  });
}
