import assert from "node:assert/strict";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { providerMarginEndpoint } from "./endpoint.ts";

type Lines = Record<string, unknown>[];

describeEndpoint(providerMarginEndpoint, {
  accepted: ({ service }) =>
    Promise.resolve({ body: { from: "2026-01-01", to: "2026-01-31", format: "json" }, credentials: service }),
  cases: {
    "200: revenue, cost and margin by day and type, as JSON and as CSV; the last 30 days where none are named":
      async ({ sql, call, service }) => {
        const today = new Date().toISOString().slice(0, 10);
        for (const [type, day, cost] of [
          ["qwen_image", today, 700],
          ["qwen_image", today, 300],
          ["z_image_turbo", today, 5],
          ["z_image_turbo", "2020-05-01", 9],
        ] as const) {
          await sql`
          insert into task_provider_costs (task_id, user_id, task_type, day, jobs, provider_cost_microusd)
          values (gen_random_uuid(), gen_random_uuid(), ${type}, ${day}::date, 2, ${cost})`;
        }
        const { body } = await call({}, service);
        const lines = (body["lines"] as Lines).map(({ task_type, tasks, jobs, margin_microusd }) => [
          task_type,
          tasks,
          jobs,
          margin_microusd,
        ]);
        assert.deepEqual(lines, [
          ["qwen_image", 2, 4, -1000],
          ["z_image_turbo", 1, 2, -5],
        ]);
        assert.deepEqual(
          [body["tasks"], body["provider_cost_microusd"], body["revenue_microusd"]],
          [3, 1005, 0],
        );
        const query = "?from=2020-05-01&to=2020-05-02&format=csv";
        const csv = await call(undefined, service, { method: "GET", query });
        assert.match(csv.headers.get("content-type") ?? "", /^text\/csv/);
        assert.match(
          csv.headers.get("content-disposition") ?? "",
          /provider-margin-2020-05-01-2020-05-02\.csv/,
        );
        assert.equal(
          csv.text,
          "day,task_type,tasks,jobs,revenue_microusd,provider_cost_microusd,margin_microusd\r\n" +
            "2020-05-01,z_image_turbo,1,2,0,9,-9\r\n",
        );
      },
    "400 invalid_request: no day between, more than a year, days that are none": async ({
      refused,
      service,
    }) => {
      for (const wrong of [
        { from: "2026-01-02", to: "2026-01-02" },
        { from: "2026-01-02", to: "2026-01-01" },
        { from: "2025-01-01", to: "2026-01-03" },
        { from: "2026-02-30", to: "2026-03-01" },
        { from: "today" },
        { format: "xlsx" },
      ]) {
        await refused("invalid_request", wrong, service);
      }
    },
  },
});
