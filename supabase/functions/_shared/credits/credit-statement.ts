import type { z } from "zod";
import type { Database } from "../database/database.ts";
import type { Caller } from "../http/endpoint.ts";
import { accountOf, assertAsked } from "./account-of.ts";
import { asCsv } from "./csv.ts";
import type { ledgerEntry } from "./ledger-shapes.ts";

export interface StatementOptions {
  userId: string | undefined;
  /** ISO 8601, this time included. */
  from: string | undefined;
  /** ISO 8601, this time excluded. */
  to: string | undefined;
  /** Only entries with a smaller sequence. */
  before: number | undefined;
  limit: number;
}

export interface Statement {
  user_id: string;
  entries: z.output<typeof ledgerEntry>[];
  /** `before` of the next page; null on the last. */
  next_before: number | null;
}

const entriesPerCall = 1000;

/** An account's entries, the newest first; any number, read in parts of bounded size. */
export async function creditStatement(
  database: Pick<Database, "call">,
  caller: Caller,
  { userId, from, to, before, limit }: StatementOptions,
): Promise<Statement> {
  const account = accountOf(caller, userId);
  const statement: Statement = { user_id: "", entries: [], next_before: before ?? null };
  do {
    const page = await database.call<Statement>("credit_statement", {
      for_user: account,
      from_time: from ?? null,
      to_time: to ?? null,
      before: statement.next_before,
      at_most: Math.min(limit - statement.entries.length, entriesPerCall),
    });
    assertAsked(userId, page.user_id);
    statement.user_id = page.user_id;
    statement.entries.push(...page.entries);
    statement.next_before = page.next_before;
  } while (statement.next_before !== null && statement.entries.length < limit);
  return statement;
}

/** The entries as a file for spreadsheets. */
export function statementAsCsv({ entries }: Statement): string {
  const rows = entries.map((entry) => ({
    sequence: entry.sequence,
    created_at: entry.created_at,
    type: entry.type,
    amount_cents: entry.amount,
    amount_microusd: entry.amount_microusd,
    balance_after_cents: entry.balance_after_microusd / 10_000,
    balance_after_microusd: entry.balance_after_microusd,
    debt_microusd: entry.debt_microusd,
    task_id: entry.task_id,
    description: entry.metadata["description"] ?? entry.metadata["task_type"],
    entry_id: entry.id,
    call_id: entry.call_id,
  }));
  return asCsv(rows, [
    "sequence",
    "created_at",
    "type",
    "amount_cents",
    "amount_microusd",
    "balance_after_cents",
    "balance_after_microusd",
    "debt_microusd",
    "task_id",
    "description",
    "entry_id",
    "call_id",
  ]);
}
