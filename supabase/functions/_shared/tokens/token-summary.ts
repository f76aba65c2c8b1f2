import { z } from "zod";
import { scopes } from "../http/endpoint.ts";
import { timestamp, uuid } from "../http/fields.ts";

/** What is shown of a token. */
export const tokenSummary = z.object({
  id: uuid,
  label: z.string(),
  last_four: z.string(),
  scopes: z.array(z.enum(scopes)),
  created_at: timestamp,
  expires_at: timestamp.nullable(),
  last_used_at: timestamp.nullable(),
  revoked_at: timestamp.nullable(),
  spend_cap: z
    .object({
      cap_credits: z.number(),
      cap_microusd: z.int(),
      month: z.string().describe("the first day of the month that counts"),
      committed_microusd: z.int().describe("spent or held this month"),
    })
    .nullable()
    .describe("see set-spend-cap; null: none"),
});
