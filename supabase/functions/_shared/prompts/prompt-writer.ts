import type { Log } from "../observability/log.ts";
import { resolveByHost, type Resolve } from "../outgoing/target.ts";
import { createLanguageModel, type LanguageModel, usualWaits, type Waits } from "./language-model.ts";
import type { PromptVariables } from "./variables.ts";

/** A model, or the rules that stand in for one where the operator allows it. */
export interface PromptWriter {
  model: LanguageModel;
  /** `AI_PROMPT_LOCAL=1`: without a key, answer by rules. */
  allowsLocal: boolean;
  /** Where pictures are that a provider would fetch. */
  resolve: Resolve;
}

export interface PromptWriterOptions {
  waits?: Waits;
  log?: Log | undefined;
  resolve?: Resolve;
}

export function createPromptWriter(
  variables: PromptVariables,
  { waits = usualWaits, log, resolve = resolveByHost }: PromptWriterOptions = {},
): PromptWriter {
  return {
    model: createLanguageModel(variables, { waits, log }),
    allowsLocal: variables.AI_PROMPT_LOCAL === "1",
    resolve,
  };
}
