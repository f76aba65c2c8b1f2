import type { Mutant } from "./mutant.ts";

const prompts = "supabase/functions/_shared/prompts";

/** Prompts: only an answer is an answer. */
export const mutants: Mutant[] = [
  {
    check: 76,
    breaks: "an answer without a visible character is an answer",
    file: `${prompts}/language-model.ts`,
    line: "          if (!isVisible(text)) throw new MalformedAnswer(`${model} answered nothing`);\n",
    broken: "",
    tests: "prompts/language-model",
    named: "a model that says nothing",
  },
  {
    check: 76,
    breaks: "a stream that ends without a piece is an answer",
    file: `${prompts}/language-model.ts`,
    line: "          if (first === undefined) throw new MalformedAnswer(`${model} answered nothing`);",
    broken: '          if (first === undefined) return { reading, first: "" };',
    tests: "prompts/language-model",
    named: "a model that says nothing",
  },
  {
    check: 76,
    breaks: "a block of thoughts ends with the first end within it",
    file: `${prompts}/think-filter.ts`,
    line: "      this.#depth--;",
    broken: "      this.#depth = 0;",
    tests: "prompts/think-filter",
    named: "thoughts are removed",
  },
  {
    check: 76,
    breaks: "a tag that is split over pieces is let through",
    file: `${prompts}/think-filter.ts`,
    line: "      } else if (lower.length === text.length && tags.some((one) => one.startsWith(lower))) {",
    broken: "      } else if (lower.length < 2 && tags.some((one) => one.startsWith(lower))) {",
    tests: "prompts/think-filter",
    named: "wherever it is split",
  },
  {
    check: 76,
    breaks: "gpt-oss is told a format that it does not take",
    file: `${prompts}/reasoning.ts`,
    line: `{ reasoning_effort: "low", include_reasoning: false }`,
    broken: `{ reasoning_effort: "low", reasoning_format: "hidden" }`,
    tests: "prompts/language-model",
    named: "each model is told only what it takes",
  },
  {
    check: 76,
    breaks: "a model that was decommissioned is not told to the operator",
    file: `${prompts}/model-health.ts`,
    line: `  "model_decommissioned",\n`,
    broken: "",
    tests: "prompts/language-model",
    named: "named in the log once",
  },
];
