import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describeEndpoint } from "../../../test/support/endpoint-suite.ts";
import { revokePatEndpoint } from "./endpoint.ts";

describeEndpoint(revokePatEndpoint, {
  async accepted(under) {
    const { session, token } = await under.person();
    return { body: { tokenId: (await token()).id }, credentials: session };
  },
  cases: {
    "200: ended, now or before, under either name": async ({ call, person }) => {
      const { session, token } = await person();
      const { id } = await token();
      const first = await call({ tokenId: id }, session);
      assert.equal(first.body["success"], true);
      assert.deepEqual((await call({ token_id: id }, session)).body, first.body);
    },
    "400 invalid_request: no token named": async ({ refused, person }) => {
      await refused("invalid_request", {}, (await person()).session);
    },
    "404 token_not_found: unknown and foreign alike": async ({ refused, person }) => {
      const [{ session }, other] = [await person(), await person()];
      for (const tokenId of [randomUUID(), (await other.token()).id]) {
        await refused("token_not_found", { tokenId }, session);
      }
    },
  },
});
