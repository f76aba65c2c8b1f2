import { FalCallError, type FalQueue } from "./fal-queue.ts";

/** What became of a job that no task needs any more; `retry` when FAL did not say. */
export type WithdrawalOutcome = "withdrawn" | "ran" | "failed" | "retry";

export interface UnwantedJob {
  withdrawal_id: string;
  task_id: string;
  model: string;
  request_id: string;
  tries: number;
}

/** A job that was submitted while its task ended. */
export interface SubmittedJob {
  task_id: string;
  attempt: number;
  /** Default: 0. */
  step?: number | undefined;
  request_id: string;
}

export interface WithdrawalRequest {
  provider: string;
  submitted?: SubmittedJob | undefined;
  reports?: { withdrawal_id: string; outcome: WithdrawalOutcome }[] | undefined;
  /** How many jobs are asked for; none unless said. */
  at_most?: number | undefined;
}

export interface WithdrawalAnswer {
  /** Whether the submitted job waits to be withdrawn. */
  noted: boolean;
  settled: number;
  withdrawals: UnwantedJob[];
}

/** Says to the server what was withdrawn, and asks it what to withdraw; over HTTP or by its database. */
export type WithdrawalExchange = (request: WithdrawalRequest) => Promise<WithdrawalAnswer>;

interface Dependencies {
  exchange: WithdrawalExchange;
  fal: FalQueue;
  log: { warn(fields: object, message: string): void };
}

const provider = "fal";
/** Each is two calls at most, but the last one. */
const looks = 2;

/** Withdraws the jobs at FAL that are due, at most so many, all at once. @returns how many were given out and settled */
export async function withdrawDue(
  { exchange, fal, log }: Dependencies,
  { atMost = 20, submitted }: { atMost?: number; submitted?: SubmittedJob | undefined } = {},
): Promise<{ attempted: number; settled: number; noted: boolean }> {
  const { withdrawals, noted } = await exchange({ provider, submitted, at_most: atMost });
  const settled = await Promise.all(
    withdrawals.map(async (job) => {
      const { withdrawal_id, task_id, request_id, tries } = job;
      let outcome: WithdrawalOutcome = "retry";
      try {
        outcome = await withdrawJob(fal, job);
      } catch (error) {
        log.warn({ err: error, task_id, request_id, tries }, "a job could not be withdrawn at FAL");
      }
      return (await exchange({ provider, reports: [{ withdrawal_id, outcome }] })).settled;
    }),
  );
  return {
    attempted: withdrawals.length,
    settled: settled.reduce((total, count) => total + count, 0),
    noted,
  };
}

/**
 * Withdraws one job. FAL's answer to a cancel does not say whether the job had begun, so that is asked first; and a cancel whose
 * answer was lost is told from a job that ran by the job's result.
 * @throws FalCallError where FAL does not say
 */
async function withdrawJob(
  fal: FalQueue,
  { model, request_id: id }: UnwantedJob,
): Promise<WithdrawalOutcome> {
  for (let look = 1; look <= looks; look++) {
    const status = await unlessGone(fal.status(model, id));
    // Taken from the queue by an earlier cancel, or never there.
    if (status === "gone") return "withdrawn";
    if (status.state === "running") {
      // It is paid, and can still end sooner.
      await fal.cancel(model, id).catch(() => undefined);
      return "ran";
    }
    if (status.state === "ended")
      return (await hasResult(fal, model, id, status.hasFailed)) ? "ran" : "failed";
    if ((await fal.cancel(model, id)) !== "over") return "withdrawn";
  }
  return "retry";
}

async function unlessGone<Answer>(asked: Promise<Answer>): Promise<Answer | "gone"> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof FalCallError && error.kind === "gone") return "gone";
    throw error;
  }
}

/** Whether a job that has ended made something; FAL bills nothing for one that failed, or that never began. */
async function hasResult(fal: FalQueue, model: string, id: string, hasFailed: boolean): Promise<boolean> {
  try {
    await fal.result(model, id);
    return true;
  } catch (error) {
    if (!(error instanceof FalCallError)) throw error;
    const isFinal = error.kind === "callers" || error.kind === "gone" || (hasFailed && error.isSaid);
    if (!isFinal) throw error;
    return false;
  }
}
