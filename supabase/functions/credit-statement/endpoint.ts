import { z } from "zod";
import { creditStatement, statementAsCsv } from "../_shared/credits/credit-statement.ts";
import { ledgerEntry } from "../_shared/credits/ledger-shapes.ts";
import { AppError } from "../_shared/errors/app-error.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { uuid } from "../_shared/http/fields.ts";

const most = { json: 200, csv: 10_000 };
const usual = { json: 50, csv: 10_000 };

const time = z.iso.datetime({ offset: true }).nullish();

const body = z.object({
  user_id: uuid.nullish().describe("whose; the service must say it, others have their own"),
  from: time.describe("only entries of this time or later"),
  to: time.describe("only entries before this time"),
  before: z.coerce
    .number()
    .int()
    .min(1)
    .nullish()
    .describe("`next_before` of the page before; only entries with a smaller sequence"),
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(most.csv)
    .nullish()
    .describe("JSON: at most 200, 50 unless said; CSV: at most 10,000, as many unless said"),
  format: z.enum(["json", "csv"]).nullish().describe("json unless said"),
});

/** 200 a page of entries, or CSV · 403 another's, no scope · 404 unknown user */
export const creditStatementEndpoint = endpoint({
  name: "credit-statement",
  summary: "Lists an account's ledger entries, the newest first, in pages or as a CSV file.",
  methods: ["GET", "POST"],
  callers: ["service", "user", "personal-access-token"],
  scope: "tasks:read",
  body,
  bodyOptional: true,
  requestsPerMinute: 120,
  answers: {
    200: {
      description:
        "The page. CSV comes as an attachment, and says by the header `x-next-before` that there is more.",
      schema: z.object({
        user_id: uuid,
        entries: z.array(ledgerEntry),
        next_before: z.int().nullable().describe("`before` of the next page; null on the last"),
      }),
      otherTypes: ["text/csv"],
    },
  },
  errors: ["insufficient_scope", "user_not_found"],
  async run({ body, caller, database }) {
    const format = body.format ?? "json";
    const limit = body.limit ?? usual[format];
    if (limit > most[format]) {
      throw new AppError("invalid_request", {
        issues: [{ path: "limit", message: `is more than ${most[format]}` }],
      });
    }
    const statement = await creditStatement(database, caller, {
      userId: body.user_id ?? undefined,
      from: body.from ?? undefined,
      to: body.to ?? undefined,
      before: body.before ?? undefined,
      limit,
    });
    const response =
      format === "json"
        ? json(200, statement)
        : new Response(statementAsCsv(statement), {
            headers: {
              "content-type": "text/csv; charset=utf-8",
              "content-disposition": 'attachment; filename="credit-statement.csv"',
              ...(statement.next_before !== null && { "x-next-before": String(statement.next_before) }),
            },
          });
    response.headers.set("cache-control", "private, no-store");
    return response;
  },
});
