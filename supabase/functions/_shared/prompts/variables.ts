/** What an operator sets for prompts; `.env.example` and docs/prompts.md say what each is for. */
export const promptVariables = [
  "GROQ_API_KEY",
  "GROQ_BASE_URL",
  "OPENAI_API_KEY",
  "OPENAI_BASE_URL",
  "AI_PROMPT_MODEL",
  "AI_PROMPT_FALLBACK_MODEL",
  "AI_PROMPT_VISION_MODEL",
  "AI_PROMPT_VISION_FALLBACK_MODEL",
  "AI_TRANSCRIPTION_MODEL",
  "AI_TRANSCRIPTION_FALLBACK_MODEL",
  "AI_PROMPT_LOCAL",
] as const;

export type PromptVariable = (typeof promptVariables)[number];
export type PromptVariables = Partial<Record<PromptVariable, string | undefined>>;

/** The variables as the environment has them; what is set to nothing is not set. */
export function readPromptVariables(valueOf: (name: string) => string | undefined): PromptVariables {
  return Object.fromEntries(promptVariables.map((name) => [name, valueOf(name)?.trim() || undefined]));
}
