import type { Database } from "../database/database.ts";
import { type Caller, forToken, forUser } from "../http/endpoint.ts";

/** What a payload takes from the project it is for. */
export interface Place {
  project_id: string;
  aspect_ratio: string | null;
}

/** One task as a generator builds it; `params` are what the worker reads. */
export interface BuiltTask {
  task_type: string;
  params: Record<string, unknown>;
}

export interface GenerateOptions {
  projectId: string;
  shotId: string | undefined;
  idempotencyKey: string | undefined;
  /** The client's own request: what a repeated key is compared with, since payloads differ in ids and seeds. */
  sent: Record<string, unknown>;
  build(place: Place): BuiltTask[];
}

export interface GeneratedTasks {
  task_ids: string[];
  rows: Record<string, unknown>[];
  tasks: Record<string, unknown>[];
  deduplicated: boolean;
}

/** Builds payloads for a project of the caller and creates their tasks, all or none. */
export async function generate(
  database: Pick<Database, "call">,
  caller: Caller,
  { projectId, shotId, idempotencyKey, sent, build }: GenerateOptions,
): Promise<GeneratedTasks> {
  const place = await database.call<Place>("place_for_generation", {
    for_user: forUser(caller),
    for_project: projectId,
    for_shot: shotId,
  });
  return await database.call<GeneratedTasks>("create_task", {
    for_user: forUser(caller),
    for_token: forToken(caller),
    requests: build(place).map((task) => ({ ...task, project_id: place.project_id })),
    is_batch: true,
    idempotency_key: idempotencyKey,
    sent,
    with_rows: true,
  });
}
