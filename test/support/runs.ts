import { type Claimed, claim, queueTask, setStatus, type TaskOptions } from "./factories.ts";
import type { EndpointUnderTest } from "./endpoint-suite.ts";
import type { PersonUnderTest } from "./environment.ts";

export interface Run extends Claimed {
  person: PersonUnderTest;
  worker: string;
}

/** A task of a person (a new one, unless said), in progress with the cloud's worker or, `byOwner`, with their own. */
export async function running(
  { sql, person: newPerson }: EndpointUnderTest,
  { byOwner = false, of, ...options }: TaskOptions & { byOwner?: boolean; of?: PersonUnderTest } = {},
): Promise<Run> {
  const person = of ?? (await newPerson());
  const taskId = await queueTask(sql, person, options);
  const worker = `worker-of-${taskId}`;
  for (;;) {
    const claimed = await claim(sql, worker, byOwner ? person.userId : undefined);
    if (!claimed) throw new Error("the task cannot be claimed");
    if (claimed.task_id === taskId) return { ...claimed, person, worker };
    // Left over by another test: out of the way.
    await setStatus(sql, claimed.task_id, "Cancelled");
  }
}

/** What a run that was given to another answers, for endpoints that a worker calls about its run. */
export async function requeued(under: EndpointUnderTest): Promise<Run> {
  const run = await running(under);
  await setStatus(under.sql, run.task_id, "Queued");
  return run;
}
