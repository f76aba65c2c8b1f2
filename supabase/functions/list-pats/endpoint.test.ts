import assert from "node:assert/strict";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { listPatsEndpoint } from "./endpoint.ts";

describeEndpoint(listPatsEndpoint, {
  async accepted(under) {
    return { body: {}, credentials: (await under.person()).session };
  },
  cases: {
    "200: the caller's own, newest first, without their texts": async ({ call, person }) => {
      const [owner, other] = [await person(), await person()];
      const made = [await owner.token(["tasks:read"]), await owner.token(["tasks:run"])];
      await other.token();
      const { body, text } = await call(undefined, owner.session);
      const tokens = body["tokens"] as { id: string }[];
      assert.deepEqual(
        tokens.map(({ id }) => id),
        made.map(({ id }) => id).toReversed(),
      );
      assert.doesNotMatch(text, /dr_pat_|hash/);
    },
    "200: a token's spend cap, and what of it is used this month": async ({ sql, call, person }) => {
      const { userId, session, token } = await person();
      const [capped, free] = [await token(), await token()];
      await sql`select set_spend_cap(${userId}, null, ${capped.id}, 50000)`;
      await sql`update spend_caps set committed_microusd = 700 where token_id = ${capped.id}`;
      const month = `${new Date().toISOString().slice(0, 7)}-01`;
      const cap = async (id: string) => {
        const { body } = await call(undefined, session);
        return (body["tokens"] as { id: string; spend_cap: unknown }[]).find((shown) => shown.id === id)
          ?.spend_cap;
      };
      const shown = { cap_credits: 5, cap_microusd: 50_000, month, committed_microusd: 700 };
      assert.deepEqual([await cap(capped.id), await cap(free.id)], [shown, null]);
      await sql`update spend_caps set month = month - interval '1 month' where token_id = ${capped.id}`;
      assert.deepEqual(await cap(capped.id), { ...shown, committed_microusd: 0 });
    },
  },
});
