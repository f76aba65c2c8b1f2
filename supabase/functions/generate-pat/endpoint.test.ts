import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { sessionToken } from "../../../test/support/session-token.ts";
import { generatePatEndpoint } from "./endpoint.ts";

describeEndpoint(generatePatEndpoint, {
  async accepted(under) {
    const { session } = await under.person();
    return { body: { label: "studio", scopes: ["tasks:run"], expires_in_days: 30 }, credentials: session };
  },
  cases: {
    "200: a token with all scopes unless said, shown this once": async ({ sql, call, person }) => {
      const { session, userId } = await person();
      for (const sent of [{}, undefined, { label: " " }]) {
        const { body } = await call(sent, session);
        assert.match(String(body["token"]), /^dr_pat_[0-9A-Za-z]{36}$/);
        assert.equal(body["last_four"], String(body["token"]).slice(-4));
        assert.deepEqual([body["label"], body["expires_at"]], ["API Token", null]);
        assert.deepEqual(body["scopes"], ["tasks:read", "tasks:write", "tasks:run"]);
      }
      const rows =
        await sql`select row_to_json(token)::text as row from personal_access_tokens as token where user_id = ${userId}`;
      assert.equal(rows.length, 3);
      assert.ok(rows.every(({ row }) => !String(row).includes("dr_pat_")));
    },
    "400 invalid_request: no scope, an unknown one, a lifetime that is none": async ({ refused, person }) => {
      const { session } = await person();
      for (const body of [
        { scopes: [] },
        { scopes: ["admin"] },
        { expires_in_days: 0 },
        { label: "l".repeat(101) },
      ]) {
        await refused("invalid_request", body, session);
      }
    },
    "404 user_not_found: a session that outlived its account": async (under) => {
      const session = await sessionToken(under, randomUUID());
      await under.refused("user_not_found", {}, { authorization: `Bearer ${session}` });
    },
    "422 token_limit_reached: the fifty-first": async ({ refused, person }) => {
      const { session, token } = await person();
      for (let made = 0; made < 50; made++) await token();
      const { body } = await refused("token_limit_reached", {}, session);
      assert.equal(body["limit"], 50);
    },
  },
});
