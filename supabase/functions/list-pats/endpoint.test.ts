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
  },
});
