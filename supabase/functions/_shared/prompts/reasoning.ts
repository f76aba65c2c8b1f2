/** What a model is told about its reasoning, and how many tokens it needs for it beside its answer. */
export interface Reasoning {
  parameters: {
    reasoning_effort?: "none" | "low";
    reasoning_format?: "hidden";
    include_reasoning?: false;
  };
  /** Reasoning counts as answer: without room for it the limit is used up before the answer begins. */
  tokens: number;
}

/** For a model that reasons a little, or of which nothing is known. */
export const roomForReasoning = 2_048;

/**
 * Models that reason, by the beginning of their names, and what each family takes; Groq refuses a parameter that a model
 * does not take. gpt-oss always reasons, and has `include_reasoning` instead of `reasoning_format`
 * (console.groq.com/docs/reasoning).
 */
const families: readonly [prefix: string, reasoning: Reasoning][] = [
  [
    "openai/gpt-oss-",
    { parameters: { reasoning_effort: "low", include_reasoning: false }, tokens: roomForReasoning },
  ],
  ["qwen/qwen3", { parameters: { reasoning_effort: "none", reasoning_format: "hidden" }, tokens: 0 }],
];

/** Of a model that is not known here: nothing is sent, and it may reason. */
const unfamiliar: Reasoning = { parameters: {}, tokens: roomForReasoning };

export function reasoningOf(model: string): Reasoning {
  return families.find(([prefix]) => model.startsWith(prefix))?.[1] ?? unfamiliar;
}
