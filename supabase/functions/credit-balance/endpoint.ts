import { z } from "zod";
import { creditBalance } from "../_shared/credits/credit-balance.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { timestamp, uuid } from "../_shared/http/fields.ts";

const body = z.object({
  user_id: uuid.nullish().describe("whose; the service must say it, others have their own"),
});

const credits = (description: string) => z.number().describe(`credits (US cents): ${description}`);

/** 200 the balance · 403 another's, no scope · 404 unknown user */
export const creditBalanceEndpoint = endpoint({
  name: "credit-balance",
  summary: "Tells what an account has, what is held and available of it, and what expires when.",
  methods: ["GET", "POST"],
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:read",
  body,
  bodyOptional: true,
  requestsPerMinute: 600,
  answers: {
    200: {
      description: "The account as it stands now.",
      schema: z.object({
        user_id: uuid,
        credits: credits("all of it"),
        balance_microusd: z.int(),
        held: credits("reserved for work that waits or runs"),
        held_microusd: z.int(),
        available: credits("for new work"),
        available_microusd: z.int(),
        debt: credits("owed for credit that was taken back after it was spent"),
        debt_microusd: z.int(),
        paid_microusd: z.int().describe("what of the balance was paid for"),
        promotional_microusd: z.int().describe("what of the balance was given; it is spent first"),
        expiring: z
          .array(z.object({ amount: z.number(), amount_microusd: z.int(), expires_at: timestamp }))
          .describe("what of the balance expires, the soonest first"),
        low_balance_threshold: z.number().nullable().describe("credits at which `low_balance` is broadcast"),
      }),
    },
  },
  errors: ["insufficient_scope", "user_not_found"],
  async run({ body, caller, database }) {
    const response = json(200, await creditBalance(database, caller, body.user_id ?? undefined));
    response.headers.set("cache-control", "private, no-store");
    return response;
  },
});
