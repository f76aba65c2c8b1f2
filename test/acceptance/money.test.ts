import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import {
  claimTask,
  complete,
  type CreatedTask,
  finishTask,
  invoke,
  personWithProject,
  post,
  service,
  succeed,
} from "../support/calls.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { listen, until } from "../support/live-events.ts";

for (const { name, start } of hosts) {
  describe(`money on ${name}`, () => {
    let host: HostUnderTest;
    before(async () => void (host = await start()));
    after(() => host?.stop());

    test("what was quoted is held, charged, on the receipt and in the statement, though the price has changed", async () => {
      const person = await personWithProject(host);
      const order = { task_type: "qwen_image", params: { prompt: "a fox" } };
      const { quote_id, cost_microusd } = await succeed(
        invoke<{ quote_id: string; cost_microusd: number }>(person, "calculate-task-cost", order),
      );
      const dearer = {
        task_type: order.task_type,
        billing_type: "per_unit",
        price: 9,
        reason: "dearer GPUs",
      };
      await succeed(post(host, "publish-price", { ...dearer, idempotency_key: randomUUID() }, service(host)));
      const { projectId: project_id } = person;
      const { task_id, held_microusd } = await succeed(
        invoke<CreatedTask>(person, "create-task", { ...order, project_id, quote_id }),
      );
      assert.equal(held_microusd, cost_microusd);
      const { attempt } = await claimTask(host, service(host), task_id);
      const done = await complete(host, service(host), task_id, { worker_id: "worker-1", attempt });
      assert.equal(done.cost_microusd, cost_microusd);

      const receipt = await succeed(invoke(person, "get-receipt", { task_id }));
      assert.equal(receipt["total_microusd"], cost_microusd);
      const page = await post(host, "get-receipt", { task_id, format: "html" }, person.credentials);
      assert.equal(page.headers.get("content-type"), "text/html; charset=utf-8");
      assert.ok(page.text.includes(String(receipt["receipt_number"])));

      const csv = await post(host, "credit-statement", { format: "csv" }, person.credentials);
      assert.equal(csv.headers.get("content-type"), "text/csv; charset=utf-8");
      const [header, spend, welcome, end] = csv.text.split("\r\n");
      assert.match(header ?? "", /^sequence,created_at,type,amount_cents,/);
      assert.match(spend ?? "", /^2,[^,]+,spend,-3\.9,-39000,496\.1,4961000,0,/);
      assert.match(welcome ?? "", /^1,[^,]+,manual,500,5000000,500,5000000,0,,Welcome bonus,/);
      assert.equal(end, "");
      const balance = await succeed(invoke(person, "credit-balance", {}));
      assert.deepEqual([balance["credits"], balance["held"]], [496.1, 0]);
    });

    test("the price list is there without any key, for caches, and for an old session", async () => {
      const url = `${host.apiUrl}/functions/v1/list-prices`;
      for (const headers of [{}, { authorization: "Bearer an.old.session" }]) {
        const response = await fetch(url, { headers });
        assert.equal(response.status, 200);
        assert.equal(response.headers.get("cache-control"), "public, max-age=60");
        const { prices } = (await response.json()) as { prices: unknown[] };
        assert.ok(prices.length > 10);
      }
    });

    test("low_balance is told once, when the balance falls to the threshold", async () => {
      const person = await personWithProject(host);
      const threshold = { low_balance_threshold: 499 };
      await person.client.from("users").update(threshold).eq("id", person.userId).throwOnError();
      const events = await listen(person, `credits:${person.userId}`);
      for (let turn = 0; turn < 3; turn++) await finishTask(host, person);
      await until(events, (seen) => seen.some(({ balance_microusd }) => balance_microusd === 4_980_500));
      const warnings = events.filter(({ event }) => event !== "balance");
      assert.deepEqual(
        warnings.map(({ event, user_id, credits, balance_microusd }) => [
          event,
          user_id,
          credits,
          balance_microusd,
        ]),
        [["low_balance", person.userId, 498.7, 4_987_000]],
      );
    });
  });
}
