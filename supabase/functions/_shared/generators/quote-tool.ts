import { type Database, json } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import { type Caller, forUser } from "../http/endpoint.ts";
import { quoteInput } from "./quote-input.ts";
import { chooseGenerator, generatorsOf, toolNames, typeByParams } from "./tools.ts";

export interface ToolRequest {
  /** A tool, a generator, a family or a task type. */
  tool: string;
  params: Record<string, unknown>;
  projectId: string | undefined;
}

interface ToolTypes {
  /** The canonical task type of this name, where it is one. */
  own_type: string | null;
  /** The task types of the tool of this name. */
  task_types: string[];
  /** Every tool that task types name. */
  tools: string[];
}

/** Stands for the project of a request that is only read, to be quoted. */
const unknownProject = "00000000-0000-4000-8000-000000000000";

/**
 * What creating with these parameters would cost: by the generator of the tool that takes them, or by the tool's task type that they
 * are of. docs/generators.md has the rule. @throws AppError `unknown_tool`, `unclear_task_type`, `invalid_request`
 */
export async function quoteTool(
  database: Pick<Database, "call">,
  caller: Caller,
  { tool, params, projectId }: ToolRequest,
): Promise<Record<string, unknown>> {
  const named = typeof params["task_type"] === "string" ? params["task_type"] : undefined;
  const chosen = chooseGenerator(generatorsOf(tool), params, projectId ?? unknownProject);
  // A type that is named beside the parameters is meant, unless the generator chooses its type by that field.
  if (chosen && "input" in chosen && (named === undefined || chosen.generator.fields.has("task_type"))) {
    const { name, isFamily } = chosen.generator;
    const quote = await quoteInput(database, caller, chosen.input, projectId ?? "");
    return { ...quote, tool_id: tool, ...(isFamily ? { family: name } : { generator: name }) };
  }
  const types = await database.call<ToolTypes>("task_types_of_tool", { tool });
  const type = typeOf(types, params, named);
  if (type !== undefined) {
    const quote = await database.call<Record<string, unknown>>("calculate_task_cost", {
      for_user: forUser(caller),
      for_task_type: type,
      params: json(params),
    });
    return { ...quote, tool_id: tool };
  }
  if (chosen && "issues" in chosen) {
    const issues = chosen.issues.map(({ path, message }) => ({
      path: ["params", ...path.map(String)].join("."),
      message,
    }));
    throw new AppError("invalid_request", { issues });
  }
  if (types.task_types.length > 0) {
    throw new AppError("unclear_task_type", { tool_id: tool, task_types: types.task_types });
  }
  const tools = [...new Set([...toolNames, ...types.tools])].sort();
  throw new AppError("unknown_tool", { tool_id: tool, tools });
}

/** The task type that is quoted where no generator takes the parameters. */
function typeOf(
  { own_type: own, task_types: types }: ToolTypes,
  params: Record<string, unknown>,
  named: string | undefined,
): string | undefined {
  if (named !== undefined) return types.includes(named) || named === own ? named : undefined;
  return own ?? typeByParams(types, params);
}
