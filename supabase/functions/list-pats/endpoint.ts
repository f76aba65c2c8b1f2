import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { listTokens } from "../_shared/tokens/personal-access-tokens.ts";
import { tokenSummary } from "../_shared/tokens/token-summary.ts";

/** 200 the signed-in user's tokens */
export const listPatsEndpoint = endpoint({
  name: "list-pats",
  summary: "Lists the signed-in user's personal access tokens, newest first, without their texts.",
  callers: ["user"],
  body: z.object({}),
  bodyOptional: true,
  requestsPerMinute: 120,
  answers: {
    200: {
      description: "Live and ended tokens; at most the newest 200.",
      schema: z.object({ tokens: z.array(tokenSummary) }),
    },
  },
  errors: [],
  async run({ database }) {
    return json(200, await listTokens(database));
  },
});
