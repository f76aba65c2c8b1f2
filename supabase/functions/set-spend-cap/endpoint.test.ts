import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { queueTask } from "../../../test/support/factories.ts";
import { setSpendCapEndpoint } from "./endpoint.ts";

describeEndpoint(setSpendCapEndpoint, {
  async accepted(under) {
    const { projectId, session } = await under.person();
    return { body: { project_id: projectId, cap: 12.5 }, credentials: session };
  },
  cases: {
    "200: a project's cap; what it holds this month counts already": async ({ sql, call, person }) => {
      const owner = await person();
      await queueTask(sql, owner);
      const { body } = await call({ project_id: owner.projectId, cap: 0.0278 }, owner.session);
      const month = `${new Date().toISOString().slice(0, 7)}-01`;
      assert.deepEqual(
        { ...body },
        {
          project_id: owner.projectId,
          token_id: null,
          cap_credits: 0.0278,
          cap_microusd: 278,
          month,
          committed_microusd: 6_500,
        },
      );
    },
    "200: a token's, by its owner and by the service; null lifts it": async ({
      sql,
      call,
      person,
      service,
    }) => {
      const { userId, session, token } = await person();
      const { id } = await token();
      const caps = () => sql`select cap_microusd::int as cap from spend_caps where token_id = ${id}`;
      await call({ token_id: id, cap_microusd: 0 }, session);
      assert.deepEqual([...(await caps())], [{ cap: 0 }]);
      await call({ token_id: id, cap: 5 }, service);
      assert.deepEqual([...(await caps())], [{ cap: 50_000 }]);
      const lifted = await call({ token_id: id, cap: null }, session);
      assert.deepEqual([lifted.body["cap_microusd"], lifted.body["committed_microusd"]], [null, null]);
      assert.deepEqual([...(await caps())], []);
      const [account] = await sql`select has_spend_caps from credit_accounts where user_id = ${userId}`;
      assert.deepEqual({ ...account }, { has_spend_caps: false });
    },
    "400 invalid_request: of nothing, of both, no amount, two, finer than a micro-dollar": async ({
      refused,
      person,
    }) => {
      const { projectId, session } = await person();
      for (const wrong of [
        { cap: 1 },
        { project_id: projectId, token_id: randomUUID(), cap: 1 },
        { project_id: projectId },
        { project_id: projectId, cap: 1, cap_microusd: 10_000 },
        { project_id: projectId, cap: null, cap_microusd: 1 },
        { project_id: projectId, cap: 0.00001 },
        { project_id: projectId, cap: -1 },
        { project_id: projectId, cap_microusd: 0.5 },
      ]) {
        await refused("invalid_request", wrong, session);
      }
    },
    "403 forbidden: a token does not change its own cap": async ({ refused, person }) => {
      const { token } = await person();
      const { id, credentials } = await token();
      await refused("forbidden", { token_id: id, cap: 1_000 }, credentials);
    },
    "404: unknown and foreign alike, and a token that was revoked": async ({
      sql,
      refused,
      person,
      service,
    }) => {
      const [{ session }, other] = [await person(), await person()];
      for (const project_id of [randomUUID(), other.projectId]) {
        await refused("project_not_found", { project_id, cap: 1 }, session);
      }
      const { id } = await other.token();
      for (const token_id of [randomUUID(), id])
        await refused("token_not_found", { token_id, cap: 1 }, session);
      assert.equal((await sql`select from spend_caps where user_id = ${other.userId}`).length, 0);
      await sql`update personal_access_tokens set revoked_at = now() where id = ${id}`;
      await refused("token_not_found", { token_id: id, cap: 1 }, service);
    },
  },
});
