import { type Database, json } from "../database/database.ts";
import { type Caller, forToken, forUser } from "../http/endpoint.ts";
import type { NamedRow } from "./family.ts";
import type { Placeholder } from "./placeholder.ts";

/** What a payload takes from the project it is for. */
export interface Place {
  project_id: string;
  aspect_ratio: string | null;
}

/** One task as a generator builds it; `params` are what the worker reads. */
export interface BuiltTask {
  task_type: string;
  params: Record<string, unknown>;
  placeholder?: Placeholder;
}

/** How each of the built tasks is queued, as in create-task. */
export interface QueueOptions {
  dependant_on?: string[];
  priority?: number;
  run_after?: string;
  max_attempts?: number;
  quote_id?: string;
}

export interface GenerateOptions {
  projectId: string;
  /** Rows that the request names; they must be of the project. */
  named: NamedRow[];
  idempotencyKey: string | undefined;
  /** The client's own request: what a repeated key is compared with, since payloads differ in ids and seeds. */
  sent: Record<string, unknown>;
  queue?: QueueOptions;
  /** Whether the answer has the tasks' rows. */
  withRows: boolean;
  /** What the answer says besides comes from the first build, also when it is given again. */
  build(place: Place): { tasks: BuiltTask[]; meta?: Record<string, unknown> };
}

export interface GeneratedTasks {
  task_ids: string[];
  rows: Record<string, unknown>[];
  tasks: Record<string, unknown>[];
  meta: Record<string, unknown>;
  deduplicated: boolean;
}

/** Builds payloads for a project of the caller and creates their tasks, all or none. */
export async function generate(
  database: Pick<Database, "call">,
  caller: Caller,
  { projectId, named, idempotencyKey, sent, queue = {}, withRows, build }: GenerateOptions,
): Promise<GeneratedTasks> {
  const place = await findPlace(database, caller, { projectId, named, idempotencyKey, sent });
  if ("first_answer" in place) return place.first_answer;
  const { tasks, meta } = build(place);
  return await database.call<GeneratedTasks>("create_task", {
    for_user: forUser(caller),
    for_token: forToken(caller),
    requests: json(tasks.map((task) => ({ ...task, ...queue, project_id: place.project_id }))),
    is_batch: true,
    idempotency_key: idempotencyKey,
    sent: json(sent),
    with_rows: withRows,
    more: meta && json({ meta }),
  });
}

/** The project, or the answer that this request was given before. */
export async function findPlace(
  database: Pick<Database, "call">,
  caller: Caller,
  request: Pick<GenerateOptions, "projectId" | "named"> &
    Partial<Pick<GenerateOptions, "idempotencyKey" | "sent">>,
): Promise<Place | { first_answer: GeneratedTasks }> {
  return await database.call("place_for_generation", {
    for_user: forUser(caller),
    for_project: request.projectId,
    named: json(request.named),
    idempotency_key: request.idempotencyKey,
    sent: request.sent && json(request.sent),
  });
}
