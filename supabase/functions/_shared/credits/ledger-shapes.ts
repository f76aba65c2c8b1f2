import { z } from "zod";
import { timestamp, uuid } from "../http/fields.ts";

/** One entry of an account's ledger. */
export const ledgerEntry = z.object({
  id: uuid,
  user_id: uuid,
  sequence: z.int().describe("1, 2, 3… of the account"),
  task_id: uuid.nullable(),
  call_id: uuid.nullable().describe("of a paid call, such as a prompt"),
  type: z.enum([
    "stripe",
    "manual",
    "spend",
    "refund",
    "auto_topup",
    "expiry",
    "dispute",
    "debt",
    "write_off",
  ]),
  amount: z.number().describe("credits (US cents); negative takes"),
  amount_microusd: z.int(),
  balance_after_microusd: z.int(),
  debt_microusd: z.int().describe("by how much this raised what the account owes"),
  metadata: z.record(z.string(), z.unknown()),
  created_at: timestamp,
});
