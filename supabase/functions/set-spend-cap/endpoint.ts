import { z } from "zod";
import { credits, microusdOf } from "../_shared/credits/amounts.ts";
import { setSpendCap } from "../_shared/credits/set-spend-cap.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { uuid } from "../_shared/http/fields.ts";

const mostCredits = 1_000_000_000;

const body = z
  .object({
    project_id: uuid.nullish().describe("a project"),
    token_id: uuid.nullish().describe("or an access token"),
    cap: credits(mostCredits)
      .nullable()
      .optional()
      .describe("credits (US cents) a month; null lifts the cap"),
    cap_microusd: z
      .int()
      .min(0)
      .max(microusdOf(mostCredits))
      .nullable()
      .optional()
      .describe("the same in micro-dollars; one of both"),
  })
  .superRefine(({ project_id, token_id, cap, cap_microusd }, context) => {
    if (Boolean(project_id) === Boolean(token_id)) {
      context.addIssue({
        code: "custom",
        path: ["project_id"],
        message: "send either project_id or token_id",
      });
    }
    if ((cap === undefined) === (cap_microusd === undefined)) {
      context.addIssue({ code: "custom", path: ["cap"], message: "send either cap or cap_microusd" });
    }
  });

/** 200 the cap · 404 another's project or token */
export const setSpendCapEndpoint = endpoint({
  name: "set-spend-cap",
  summary: "Limits what a project, or an access token, may spend in a calendar month (UTC).",
  callers: ["service", "user"],
  body,
  unknownFields: "refused",
  requestsPerMinute: 60,
  answers: {
    200: {
      description: "The cap. What runs already goes on.",
      schema: z.object({
        project_id: uuid.nullable(),
        token_id: uuid.nullable(),
        cap_credits: z.number().nullable().describe("null: no cap"),
        cap_microusd: z.int().nullable(),
        month: z.string().describe("the first day of the month that counts"),
        committed_microusd: z.int().nullable().describe("spent or held this month; null without a cap"),
      }),
    },
  },
  errors: ["project_not_found", "token_not_found"],
  async run({ body, caller, database }) {
    const of = body.project_id ? { projectId: body.project_id } : { tokenId: body.token_id ?? "" };
    const inCredits = typeof body.cap === "number" ? microusdOf(body.cap) : null;
    return json(200, await setSpendCap(database, caller, of, body.cap_microusd ?? inCredits));
  },
});
