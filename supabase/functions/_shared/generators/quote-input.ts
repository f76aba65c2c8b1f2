import { type Database, json } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";
import type { FamilyInput } from "./family.ts";
import { findPlace, type Place } from "./generate.ts";

/** What a quote could not know; `field` is the field to send. */
export interface QuoteWarning {
  code: string;
  field: string;
  message: string;
}

/**
 * What creating the tasks of an input would cost: the sum of all, and a quote for each of them. Without a project the tasks are
 * built as for a project without an aspect ratio, and rows that the input names are not looked up.
 */
export async function quoteInput(
  database: Pick<Database, "call">,
  caller: Caller,
  input: FamilyInput,
  projectId: string,
): Promise<Record<string, unknown>> {
  const { tasks } = input.build(await placeOf(database, caller, input, projectId));
  const [first] = tasks;
  if (!first) throw new Error("the input built no task");
  const quote = await database.call<Record<string, unknown>>("calculate_task_cost", {
    for_user: forUser(caller),
    for_task_type: first.task_type,
    params: json(first.params),
    is_of_family: true,
    task_count: tasks.length,
  });
  const warnings = projectId === "" ? assumedSize(input.fields) : [];
  return { ...quote, ...(warnings.length > 0 && { warnings }) };
}

async function placeOf(
  database: Pick<Database, "call">,
  caller: Caller,
  input: FamilyInput,
  projectId: string,
): Promise<Place> {
  if (projectId === "") return { project_id: "", aspect_ratio: null };
  const place = await findPlace(database, caller, { projectId, named: input.named });
  if ("first_answer" in place) throw new Error("a quote has no key");
  return place;
}

/** The project's aspect ratio decides the size where none is sent, and the price may depend on the size. */
function assumedSize({ resolution }: Record<string, unknown>): QuoteWarning[] {
  if (resolution) return [];
  const message =
    "The size is that of a project without an aspect ratio. Send project_id or a resolution for an exact quote.";
  return [{ code: "size_assumed", field: "project_id", message }];
}
