import { z } from "zod";
import { type Database, json } from "../database/database.ts";
import { callingUser } from "../database/database.ts";
import { type Caller, forToken } from "../http/endpoint.ts";
import { uuid } from "../http/fields.ts";

/** What a call has cost. */
export const callCharge = z.object({
  call_id: uuid.describe("for get-receipt"),
  units: z.int().describe("what was answered, at the price of one each"),
  credits: z.number(),
  microusd: z.int(),
});

export type CallCharge = z.output<typeof callCharge>;

export interface CallToPay {
  /** The task type under which its price is published. */
  type: string;
  /** What a provider is asked for; 0 where none is asked. */
  units: number;
  /** How many calls to models that is, which count against the allowance where they are free. */
  modelCalls: number;
  /** Whom the service has pay; nobody when it does not say. */
  userId: string | undefined;
  idempotencyKey: string | undefined;
  /** What a repeated call must equal to have the first one's answer; a file counts by its bytes. */
  content: Record<string, unknown>;
}

/** A call that is covered: nothing is charged until it is closed. */
export interface PaidCall {
  /**
   * Charges so many units, gives back what the others held, and keeps the answer for whoever comes again with the key.
   * None answered, nothing charged.
   */
  close(
    units: number,
    answer?: Record<string, unknown>,
    details?: Record<string, unknown>,
  ): Promise<CallCharge>;
}

/**
 * What a caller gets: a call to make, or the answer of an earlier one with the same key. Nobody closes a call whose
 * process dies; what it held is given back after five minutes.
 */
export interface OpenedCall {
  /** Undefined where the call is free. */
  call?: PaidCall;
  answer?: Record<string, unknown>;
}

/**
 * Covers a call before a provider is asked.
 * @throws AppError `insufficient_credits`, `account_in_debt`, `spend_cap_reached`, `call_in_progress`,
 * `free_allowance_used`, `idempotency_key_reused`, `forbidden`, `user_not_found`
 */
export async function openPaidCall(
  database: Pick<Database, "call">,
  caller: Caller,
  { type, units, modelCalls, userId, idempotencyKey, content }: CallToPay,
): Promise<OpenedCall> {
  const opened = await database.call<{ call_id: string; answer: Record<string, unknown> | null } | null>(
    "open_paid_call",
    {
      for_user: caller.kind === "service" ? (userId ?? null) : callingUser,
      for_token: forToken(caller),
      asked_user: userId ?? null,
      for_type: type,
      for_units: units,
      idempotency_key: idempotencyKey ?? null,
      model_calls: modelCalls,
      content_hash: idempotencyKey === undefined ? null : await hashOf(content),
    },
  );
  if (!opened) return {};
  if (opened.answer) return { answer: opened.answer };
  return {
    call: {
      close: async (answered, answer, details) =>
        await database.call<CallCharge>("close_paid_call", {
          for_call: opened.call_id,
          answered_units: answered,
          answer: answer ? json(answer) : null,
          details: json(details ?? {}),
        }),
    },
  };
}

async function hashOf(content: Record<string, unknown>): Promise<Uint8Array> {
  const values = Object.entries(content).map(async ([name, value]) => [
    name,
    value instanceof File ? hexOf(await digestOf(await value.arrayBuffer())) : value,
  ]);
  return await digestOf(new TextEncoder().encode(JSON.stringify(await Promise.all(values))));
}

async function digestOf(bytes: BufferSource): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
