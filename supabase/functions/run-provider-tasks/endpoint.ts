import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { beginProviderRun } from "../_shared/providers/task-runner.ts";

const body = z.object({
  seconds: z
    .int()
    .min(1)
    .max(3600)
    .nullish()
    .describe("how long to run at most; default, and the most: FAL_RUN_SECONDS"),
  wait: z
    .boolean()
    .nullish()
    .describe("answer when the run has ended; on Supabase the default is to answer when it has begun"),
});

const count = z.int().min(0);

/** 200 what the run did, or that it did not begin · 202 it has begun · 503 no key of a provider, or the provider refuses it */
export const runProviderTasksEndpoint = endpoint({
  name: "run-provider-tasks",
  summary:
    "Claims tasks that FAL can run, and runs them for a while: what a timer calls where no worker process runs.",
  callers: ["service"],
  body,
  bodyOptional: true,
  requestsPerMinute: 600,
  answers: {
    200: {
      description: "What the run did.",
      schema: z.object({
        started: z
          .boolean()
          .describe("false: as many runs as may are under way, or this process is about to end"),
        worker_id: z.string().nullable().describe("the name under which tasks were claimed"),
        claimed: count,
        completed: count,
        delegated: count.describe("orchestrators whose parts were created"),
        given_back: count.describe("tasks that go on, with their jobs, in a later run"),
        failed: count.describe("runs that failed"),
      }),
    },
    202: {
      description: "The run has begun and goes on after this answer.",
      schema: z.object({ started: z.literal(true), worker_id: z.string() }),
    },
  },
  errors: ["provider_not_configured", "provider_unavailable"],
  async run({ body, database, providerRuns, log }) {
    const milliseconds = body.seconds ? body.seconds * 1000 : undefined;
    const begun = await beginProviderRun({ database, runs: providerRuns }, { milliseconds });
    const nothing = { claimed: 0, completed: 0, delegated: 0, given_back: 0, failed: 0 };
    if (!begun) return json(200, { started: false, worker_id: null, ...nothing });
    const { workerId } = begun;
    const ended = begun.end();
    if (!providerRuns?.keepAlive || body.wait) {
      return json(200, { started: true, worker_id: workerId, ...(await ended) });
    }
    providerRuns.keepAlive(
      ended.then(
        (report) => log.info({ worker_id: workerId, ...report }, "a run of provider tasks has ended"),
        (error: unknown) =>
          log.error({ err: error, worker_id: workerId }, "a run of provider tasks has failed"),
      ),
    );
    return json(202, { started: true, worker_id: workerId });
  },
});
