import assert from "node:assert/strict";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { claim, complete, emptyQueue, queueTask } from "../../../test/support/factories.ts";
import { runDoctorEndpoint } from "./endpoint.ts";

type Fault = Record<string, unknown>;

describeEndpoint(runDoctorEndpoint, {
  accepted: ({ service }) => Promise.resolve({ body: { limit: 10 }, credentials: service }),
  cases: {
    "200: healthy after real work; the books add up to zero": async ({ sql, call, person, service }) => {
      const owner = await person();
      const done = await queueTask(sql, owner);
      await claim(sql, "cloud-1");
      await complete(sql, done);
      await queueTask(sql, owner);
      const { body } = await call({}, service);
      assert.deepEqual([body["healthy"], body["fault_count"], body["faults"]], [true, 0, []]);
      assert.equal(body["open_holds"], 1);
      const books = Object.values(body["books_microusd"] as Record<string, number>);
      assert.equal(
        books.reduce((sum, side) => sum + side, 0),
        0,
      );
      assert.match(String(body["chain_digest"]), /^[0-9a-f]{64}$/);
    },
    "200: what was changed behind its back is named, with rule, row and user, at most so many": async ({
      sql,
      call,
      person,
      service,
    }) => {
      await emptyQueue(sql);
      const { userId } = await person({ balanceMicrousd: 5_000 });
      const [entry] = await sql<{ id: string }[]>`select id from credits_ledger where user_id = ${userId}`;
      const digest = (await call({}, service)).body["chain_digest"];
      const change = (metadata: object) =>
        sql.transaction(async (transaction) => {
          await transaction`set local session_replication_role = 'replica'`;
          await transaction`update credits_ledger set metadata = ${sql.json(metadata as never)} where user_id = ${userId}`;
        });
      await change({ description: "never said" });
      const { body } = await call({}, service);
      assert.equal(body["healthy"], false);
      assert.deepEqual(
        (body["faults"] as Fault[]).map(({ room, rule, user_id, row_id }) => [room, rule, user_id, row_id]),
        [["credits", "entry_changed", userId, entry?.id]],
      );
      const counted = await call({ limit: 0 }, service);
      assert.deepEqual(
        [counted.body["healthy"], counted.body["fault_count"], counted.body["faults"]],
        [false, 1, []],
      );
      await change({});
      assert.equal((await call({}, service)).body["chain_digest"], digest);
    },
    "400 invalid_request": async ({ refused, service }) => {
      for (const limit of [-1, 1.5, 10_001]) await refused("invalid_request", { limit }, service);
    },
  },
});
