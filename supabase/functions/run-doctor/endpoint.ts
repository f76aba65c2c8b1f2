import { z } from "zod";
import { runDoctor } from "../_shared/credits/run-doctor.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { timestamp, uuid } from "../_shared/http/fields.ts";

const count = z.int();
const amount = z.int().describe("micro-dollars");

const body = z.object({
  limit: z.int().min(0).max(10_000).nullish().describe("faults to list; 1000 unless said"),
});

/** 200 what was found, faults or none */
export const runDoctorEndpoint = endpoint({
  name: "run-doctor",
  summary: "Proves from the tables alone that books, tasks and queue are right, or lists what is wrong.",
  callers: ["service"],
  body,
  bodyOptional: true,
  requestsPerMinute: 10,
  answers: {
    200: {
      description: "Healthy, or not. It reads every entry and task: with millions, use the command `doctor`.",
      schema: z.object({
        healthy: z.boolean(),
        checked_at: timestamp,
        fault_count: count.describe("all of them, also beyond the limit"),
        faults: z.array(
          z.object({
            room: z.enum(["credits", "billing", "tasks", "queue"]),
            rule: z.string().describe("what does not hold"),
            user_id: uuid.nullable(),
            row_id: z.string(),
            details: z.record(z.string(), z.unknown()),
          }),
        ),
        accounts: count,
        entries: count,
        open_holds: count,
        tasks: count,
        books_microusd: z
          .object({
            customers: amount,
            revenue: amount,
            purchases: amount,
            grants: amount,
            write_off: amount,
            debt: amount,
          })
          .describe("the sides of all entries; they add up to zero"),
        chain_digest: z.string().describe("stands for every entry: kept elsewhere, it shows a changed past"),
      }),
    },
  },
  errors: [],
  async run({ body, database }) {
    return json(200, await runDoctor(database, body.limit ?? 1000));
  },
});
