import { z } from "zod";
import { AppError } from "../_shared/errors/app-error.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { timestamp, uuid } from "../_shared/http/fields.ts";
import { revokeToken } from "../_shared/tokens/personal-access-tokens.ts";

const body = z.object({ tokenId: uuid.nullish(), token_id: uuid.nullish() });

/** 200 ended, now or before · 404 not a token of this user */
export const revokePatEndpoint = endpoint({
  name: "revoke-pat",
  summary: "Ends a personal access token of the signed-in user at once.",
  callers: ["user"],
  body,
  unknownFields: "refused",
  requestsPerMinute: 60,
  answers: {
    200: {
      description: "The token is no longer valid.",
      schema: z.object({ success: z.literal(true), revoked_at: timestamp }),
    },
  },
  errors: ["token_not_found"],
  async run({ body, database }) {
    const tokenId = body.tokenId ?? body.token_id;
    if (!tokenId) {
      throw new AppError("invalid_request", { issues: [{ path: "tokenId", message: "is required" }] });
    }
    return json(200, await revokeToken(database, tokenId));
  },
});
