import { createLanguageModel, type LanguageModel } from "./language-model.ts";
import type { PromptVariables } from "./variables.ts";

/** A model, or the rules that stand in for one where the operator allows it. */
export interface PromptWriter {
  model: LanguageModel;
  /** `AI_PROMPT_LOCAL=1`: without a key, answer by rules. */
  allowsLocal: boolean;
}

export function createPromptWriter(variables: PromptVariables): PromptWriter {
  return { model: createLanguageModel(variables), allowsLocal: variables.AI_PROMPT_LOCAL === "1" };
}
