import type { z } from "zod";
import type { Database } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import type { Caller } from "../http/endpoint.ts";
import { totalAmounts } from "../credits/amount-shapes.ts";
import { params, text, uuid } from "../http/fields.ts";
import { familyOf } from "./families.ts";
import type { FamilyInput } from "./family.ts";
import { generate, type QueueOptions } from "./generate.ts";
import { quoteInput } from "./quote-input.ts";

export const familyFields = {
  family: text(100)
    .min(1)
    .nullish()
    .describe("what to make, instead of a task type: see docs/generators.md; needs project_id and input"),
  input: params.nullish().describe("the family's input, from which the server builds params"),
};

export interface FamilyRequest {
  family: string;
  /** Empty for a quote without a project. */
  projectId: string;
  /** Undefined for a family that there is none of. */
  input: FamilyInput | undefined;
}

/**
 * Reads the input of a body that names a family; what is wrong becomes an issue of the field. Undefined for other bodies.
 */
export function readFamily(
  body: { family?: string | null | undefined; input?: unknown; project_id?: string | null | undefined },
  context: z.RefinementCtx,
  { needsProject = true }: { needsProject?: boolean } = {},
): FamilyRequest | undefined {
  if (body.family === null || body.family === undefined) return undefined;
  const refuse = (path: string, message: string) =>
    context.addIssue({ code: "custom", path: [path], message });
  const projectId = uuid.safeParse(body.project_id).data;
  if (!projectId && needsProject) refuse("project_id", "is required by a family");
  const found = familyOf(body.family);
  if (body.input === null || body.input === undefined) refuse("input", "is required by a family");
  const read = found?.family.read(body.input ?? {});
  if (body.input && read && !read.success) {
    for (const issue of read.error.issues) {
      context.addIssue({ ...issue, path: ["input", ...issue.path] } as Parameters<
        typeof context.addIssue
      >[0]);
    }
  }
  return { family: found?.name ?? body.family, projectId: projectId ?? "", input: read?.data };
}

export interface FamilyAnswer {
  task_id: string;
  task_ids: string[];
  status: string;
  tasks: Record<string, unknown>[];
  meta: Record<string, unknown>;
  deduplicated: boolean;
  [field: string]: unknown;
}

/** Creates the tasks of a family's request, all or none. @throws AppError `unknown_family` */
export async function createFamily(
  database: Pick<Database, "call">,
  caller: Caller,
  request: FamilyRequest,
  { idempotencyKey, queue }: { idempotencyKey: string | undefined; queue: QueueOptions },
): Promise<FamilyAnswer> {
  const input = inputOf(request);
  const { rows: _none, ...created } = await generate(database, caller, {
    projectId: request.projectId,
    named: input.named,
    idempotencyKey,
    sent: { family: request.family, project_id: request.projectId, input: input.fields, ...queue },
    queue,
    withRows: false,
    build: (place) => input.build(place),
  });
  const all = (field: string) => created.tasks.every((task) => task[field] === true);
  const total = (field: string) => created.tasks.reduce((sum, task) => sum + Number(task[field]), 0);
  return {
    ...created.tasks[0],
    ...created,
    status: all("reused") ? "Task complete" : "Task queued",
    reused: all("reused"),
    exact: all("exact"),
    task_id: created.task_ids[0] ?? "",
    family: request.family,
    ...totalAmounts(created.tasks),
    held_microusd: total("held_microusd"),
  };
}

/** What such a request would cost. @throws AppError `unknown_family` */
export async function quoteFamily(
  database: Pick<Database, "call">,
  caller: Caller,
  request: FamilyRequest,
): Promise<Record<string, unknown>> {
  const quote = await quoteInput(database, caller, inputOf(request), request.projectId);
  return { ...quote, family: request.family };
}

function inputOf({ family, input }: FamilyRequest): FamilyInput {
  if (!input) throw new AppError("unknown_family", { family });
  return input;
}
