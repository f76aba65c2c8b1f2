import type { z } from "zod";
import type { Database } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";
import type { receiptFields } from "./receipt-shapes.ts";

export type Receipt = z.output<typeof receiptFields>;

/** What a receipt is of: an entry of the ledger, or the charge for a task or a paid call. */
export type ReceiptOf = { entryId: string } | { taskId: string } | { callId: string };

/** The receipt of one entry: what it was for, line by line. */
export async function getReceipt(
  database: Pick<Database, "call">,
  caller: Caller,
  of: ReceiptOf,
  seller: string | undefined,
): Promise<Receipt> {
  const receipt = await database.call<Omit<Receipt, "seller">>("get_receipt", {
    for_user: forUser(caller),
    for_entry: "entryId" in of ? of.entryId : null,
    for_task: "taskId" in of ? of.taskId : null,
    for_call: "callId" in of ? of.callId : null,
  });
  return { ...receipt, seller: linesOf(seller) };
}

/** Lines are parted by a line break, or by `\n` as environment files write it. */
function linesOf(seller: string | undefined): string[] {
  const lines = (seller ?? "").split(/\r?\n|\\n/).map((line) => line.trim());
  return lines.filter((line) => line !== "");
}
