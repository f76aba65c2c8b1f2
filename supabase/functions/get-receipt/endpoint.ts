import { z } from "zod";
import { getReceipt, type ReceiptOf } from "../_shared/credits/get-receipt.ts";
import { receiptPage } from "../_shared/credits/receipt-page.ts";
import { receiptFields } from "../_shared/credits/receipt-shapes.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { uuid } from "../_shared/http/fields.ts";

const body = z
  .object({
    entry_id: uuid.nullish().describe("an entry of the ledger"),
    task_id: uuid.nullish().describe("or a task: its charge"),
    call_id: uuid.nullish().describe("or a paid call, such as a prompt: its charge"),
    format: z.enum(["json", "html"]).nullish().describe("json unless said"),
  })
  .superRefine(({ entry_id, task_id, call_id }, context) => {
    if ([entry_id, task_id, call_id].filter(Boolean).length === 1) return;
    context.addIssue({
      code: "custom",
      path: ["entry_id"],
      message: "send one of entry_id, task_id and call_id",
    });
  });

function receiptOf({ entry_id, task_id, call_id }: z.output<typeof body>): ReceiptOf {
  if (entry_id) return { entryId: entry_id };
  return call_id ? { callId: call_id } : { taskId: task_id ?? "" };
}

/** 200 the receipt · 404 no such entry, no charge for this task or call, another's */
export const getReceiptEndpoint = endpoint({
  name: "get-receipt",
  summary:
    "Shows what one ledger entry, or the charge for one task or call, was for: as JSON or as a page to print.",
  methods: ["GET", "POST"],
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:read",
  body,
  requestsPerMinute: 300,
  answers: {
    200: { description: "The receipt.", schema: receiptFields, otherTypes: ["text/html"] },
  },
  errors: ["insufficient_scope", "entry_not_found"],
  async run({ body, caller, database, receiptSeller }) {
    const receipt = await getReceipt(database, caller, receiptOf(body), receiptSeller);
    const response = body.format === "html" ? await receiptPage(receipt) : json(200, receipt);
    response.headers.set("cache-control", "private, no-store");
    return response;
  },
});
