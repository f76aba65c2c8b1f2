import { z } from "zod";
import { getReceipt } from "../_shared/credits/get-receipt.ts";
import { receiptPage } from "../_shared/credits/receipt-page.ts";
import { receiptFields } from "../_shared/credits/receipt-shapes.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { uuid } from "../_shared/http/fields.ts";

const body = z
  .object({
    entry_id: uuid.nullish().describe("an entry of the ledger"),
    task_id: uuid.nullish().describe("or a task: its charge"),
    format: z.enum(["json", "html"]).nullish().describe("json unless said"),
  })
  .superRefine(({ entry_id, task_id }, context) => {
    if (Boolean(entry_id) !== Boolean(task_id)) return;
    context.addIssue({ code: "custom", path: ["entry_id"], message: "send either entry_id or task_id" });
  });

/** 200 the receipt · 404 no such entry, no charge for this task, another's */
export const getReceiptEndpoint = endpoint({
  name: "get-receipt",
  summary: "Shows what one ledger entry, or the charge for one task, was for: as JSON or as a page to print.",
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
    const of = body.entry_id ? { entryId: body.entry_id } : { taskId: body.task_id ?? "" };
    const receipt = await getReceipt(database, caller, of, receiptSeller);
    const response = body.format === "html" ? await receiptPage(receipt) : json(200, receipt);
    response.headers.set("cache-control", "private, no-store");
    return response;
  },
});
