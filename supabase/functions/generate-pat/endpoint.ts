import { z } from "zod";
import { endpoint, json, scopes } from "../_shared/http/endpoint.ts";
import { text } from "../_shared/http/fields.ts";
import { generateToken } from "../_shared/tokens/personal-access-tokens.ts";
import { tokenSummary } from "../_shared/tokens/token-summary.ts";

const body = z.object({
  label: text(100).trim().nullish(),
  scopes: z.array(z.enum(scopes)).min(1).max(scopes.length).nullish().describe("all of them unless said"),
  expires_in_days: z.int().min(1).max(3650).nullish().describe("never expires unless said"),
});

/** 200 the token, shown once · 403 not by a token · 422 too many tokens */
export const generatePatEndpoint = endpoint({
  name: "generate-pat",
  summary: "Makes a personal access token for a worker of the signed-in user.",
  callers: ["user"],
  body,
  bodyOptional: true,
  unknownFields: "refused",
  requestsPerMinute: 10,
  answers: {
    200: {
      description: "The token's text, this once, and what is kept of it.",
      schema: tokenSummary.extend({ token: z.string() }),
    },
  },
  errors: ["user_not_found", "token_limit_reached"],
  async run({ body, database }) {
    const options = {
      label: body.label || "API Token",
      scopes: [...new Set(body.scopes ?? scopes)],
      lifetimeDays: body.expires_in_days ?? undefined,
    };
    return json(200, await generateToken(database, options));
  },
});
