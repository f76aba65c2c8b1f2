import { randomUUID } from "node:crypto";
import { openPool, type Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { connect, type Database, json } from "../../supabase/functions/_shared/database/database.ts";
import { checkedOutput, outputPath, storeOutputs } from "../peers/darkroom.ts";
import { models, runType } from "./seed.ts";

export interface ClaimedTask {
  task_id: string;
  task_type: string;
  attempt: number;
  params: { owner: string; project: string; model: string };
}

/** Arguments of claim_next_task(). */
export interface ClaimArguments {
  for_user?: string;
  for_worker?: string;
  for_run_type?: string;
  only_task_types?: string[];
  only_models?: string[];
  max_tasks?: number;
}

export interface NewTask {
  type: string;
  owner: string;
  project: string;
  model: string;
}

/** The queue's functions by the host's own driver: one prepared statement a call, as `service_role`. */
export class QueueClient {
  readonly #database: Database;
  readonly #owner: Pool;

  constructor(url: string, connections: number) {
    this.#database = connect({ url, connections });
    this.#owner = openPool({ url, name: "darkroom", connections });
  }

  async claim(request: ClaimArguments): Promise<ClaimedTask[]> {
    const claimed = await this.#database.call<ClaimedTask | { tasks: ClaimedTask[] } | null>(
      "claim_next_task",
      {
        ...request,
      },
    );
    if (claimed === null) return [];
    return "tasks" in claimed ? claimed.tasks : [claimed];
  }

  /** The row that an upload leaves, which completing looks for; an upload itself is not what is measured. */
  async storeOutput({ task_id, params }: ClaimedTask): Promise<void> {
    await storeOutputs(this.#owner, [outputPath(params.owner, task_id)]);
  }

  async complete(
    { task_id, attempt, params }: ClaimedTask,
    { for_user, for_worker }: ClaimArguments,
  ): Promise<void> {
    const path = outputPath(params.owner, task_id);
    await this.#database.call("complete_task", {
      for_user: for_user ?? null,
      for_task: task_id,
      output_path: path,
      output_location: `https://media.example/${path}`,
      checked_files: json(checkedOutput(path)),
      for_worker,
      for_attempt: attempt,
    });
  }

  /** @returns its id */
  async create({ type, owner, project, model }: NewTask): Promise<string> {
    const id = randomUUID();
    const params = { prompt: "a red fox in deep snow at dawn", model, owner, project };
    await this.#database.call("create_task", {
      for_user: null,
      requests: json([{ task_id: id, task_type: type, project_id: project, params }]),
      is_batch: false,
    });
    return id;
  }

  /** Another like this one, so that the queue keeps its depth. */
  async replace({ task_type, params }: ClaimedTask): Promise<void> {
    await this.create({ type: task_type, ...params });
  }

  async close(): Promise<void> {
    await Promise.all([this.#database.close(), this.#owner.end()]);
  }
}

/** A worker without a model, and one that is warm on each. */
export async function makeWorkers(sql: Sql): Promise<void> {
  await sql`insert into public.workers (id) values ('cold')`;
  await sql`
    insert into public.workers (id, current_model)
    select 'warm on ' || model, model from unnest(${models}::text[]) as model`;
}

/** A claim for the cloud; half of them are by warm workers, of each model in turn. */
export function serviceClaim(round: number): ClaimArguments {
  return round % 2 === 0 ? { for_worker: "cold", for_run_type: runType } : warmClaim(Math.floor(round / 2));
}

export function warmClaim(number: number): ClaimArguments {
  return { for_worker: `warm on ${models[number % models.length]}`, for_run_type: runType };
}

/** Tends the queue every five seconds, as a host does. @returns what stops it, with the failure if there was one */
export function tendQueue(url: string): () => Promise<void> {
  const sql = openPool({ url, name: "darkroom", connections: 1 });
  let failure: unknown;
  let running: Promise<unknown> = Promise.resolve();
  const tend = () => {
    running = running
      .then(() => sql`select public.tend_queue()`)
      .catch((error: unknown) => (failure ??= error));
  };
  tend();
  const timer = setInterval(tend, 5000);
  return async () => {
    clearInterval(timer);
    await running;
    await sql.end();
    if (failure) throw failure;
  };
}
