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
    "400 unknown_field: a misspelt restriction makes no token that may do everything for ever": async (
      under,
    ) => {
      const { session, userId } = await under.person();
      const meant: [object, string, string][] = [
        [{ scope: ["tasks:read"], expires_days: 1 }, "scope", "scopes"],
        [{ expires_days: 1 }, "expires_days", "expires_in_days"],
        [{ scopes: ["tasks:read"], expiresInDays: 1 }, "expiresInDays", "expires_in_days"],
        [{ Scopes: ["tasks:read"] }, "Scopes", "scopes"],
        [{ "expires-in-days": 1 }, "expires-in-days", "expires_in_days"],
      ];
      for (const [sent, field, close] of meant) {
        const { status, body } = await under.refused("unknown_field", sent, session);
        assert.deepEqual([status, body["field"], body["did_you_mean"]], [400, field, close]);
      }
      for (const text of ['{"scopes": ["tasks:read"],}', "scopes=tasks:read", '["tasks:read"]']) {
        await under.refused("invalid_json", text, session);
      }
      const kept = await under.sql`select from personal_access_tokens where user_id = ${userId}`;
      assert.equal(kept.length, 0);
    },
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
