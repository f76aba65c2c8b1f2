import { z } from "zod";
import { marginAsCsv, providerMargin } from "../_shared/credits/provider-margin.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";

const usualDays = 30;
const mostDays = 366;
const dayMilliseconds = 86_400_000;

const body = z
  .object({
    from: z.iso.date().nullish().describe(`the first day (UTC); default: ${usualDays} days before \`to\``),
    to: z.iso.date().nullish().describe("the day after the last; default: tomorrow"),
    format: z.enum(["json", "csv"]).nullish().describe("default: json"),
  })
  .transform(({ from, to, format }, context) => {
    const end = to ? Date.parse(to) : Math.floor(Date.now() / dayMilliseconds + 1) * dayMilliseconds;
    const start = from ? Date.parse(from) : end - usualDays * dayMilliseconds;
    if (end <= start || end - start > mostDays * dayMilliseconds) {
      context.addIssue({
        code: "custom",
        path: ["to"],
        message: `must be 1 to ${mostDays} days after \`from\``,
      });
    }
    return { from: dayOf(start), to: dayOf(end), format: format ?? "json" };
  });

function dayOf(milliseconds: number): string {
  return new Date(milliseconds).toISOString().slice(0, 10);
}

const figures = {
  tasks: z.int(),
  jobs: z.int().describe("at the provider"),
  revenue_microusd: z.int().describe("what the tasks cost their users"),
  provider_cost_microusd: z.int().describe("what the provider bills for their jobs"),
  margin_microusd: z.int(),
};

/** 200 the report, as JSON or CSV */
export const providerMarginEndpoint = endpoint({
  name: "provider-margin",
  summary: "Reports revenue, provider cost and margin of tasks that ran at a provider, by day and task type.",
  methods: ["GET", "POST"],
  callers: ["service"],
  body,
  bodyOptional: true,
  requestsPerMinute: 60,
  answers: {
    200: {
      description: "The report. A task counts on the day (UTC) of its first job. CSV comes as an attachment.",
      schema: z.object({
        currency: z.literal("usd"),
        from_day: z.iso.date(),
        to_day: z.iso.date(),
        ...figures,
        lines: z.array(z.object({ day: z.iso.date(), task_type: z.string(), ...figures })),
      }),
      otherTypes: ["text/csv"],
    },
  },
  errors: [],
  async run({ body, database }) {
    const report = await providerMargin(database, body);
    const response =
      body.format === "json"
        ? json(200, report)
        : new Response(marginAsCsv(report), {
            headers: {
              "content-type": "text/csv; charset=utf-8",
              "content-disposition": `attachment; filename="provider-margin-${body.from}-${body.to}.csv"`,
            },
          });
    response.headers.set("cache-control", "private, no-store");
    return response;
  },
});
