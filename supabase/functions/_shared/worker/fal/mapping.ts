import type { BilledValues, ClaimedTask } from "../client.ts";
import type { RenderedOutput } from "../provider.ts";
import { hasLoras, inputOf, loras, type Params, type Readers } from "./params.ts";
import type { FalRecipe, FalRequest } from "./recipe.ts";

/** How params become the input of one model. */
export interface Mapping {
  model: string | ((params: Params) => string);
  /** The model that takes LoRAs, where that is another one; undefined where none does. */
  withLoras?: string | ((params: Params) => string);
  input: Readers;
  /** Keeps the job within what is paid, and sets the units that FAL bills: see paid-inputs.ts. */
  bound: (request: FalRequest, billed: BilledValues) => void;
}

/** The request of a mapping, with its units not yet known. @throws BadParams where the params are not what the model takes */
export function requestOf(mapping: Mapping, params: Params): FalRequest {
  const { withLoras } = mapping;
  const isWeighted = withLoras !== undefined && hasLoras(params);
  const model = isWeighted ? withLoras : mapping.model;
  return {
    model: typeof model === "string" ? model : model(params),
    ...inputOf(isWeighted ? { ...mapping.input, loras: loras() } : mapping.input, params),
    units: {},
  };
}

/** The recipe of a task type that one job makes: the files of its result are the output, as many as are paid. */
export function singleJob(mapping: Mapping): FalRecipe {
  return async (task: ClaimedTask, jobs): Promise<RenderedOutput> => {
    const request = requestOf(mapping, task.params);
    mapping.bound(request, task.billed ?? {});
    const { data } = await jobs.run(0, { ...request, completes: true });
    return await jobs.output(data);
  };
}
