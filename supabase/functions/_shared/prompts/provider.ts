import { AppError } from "../errors/app-error.ts";
import type { PromptVariables } from "./variables.ts";

/** Who is asked, and for which of their models. */
export interface Provider {
  apiKey: string;
  /** Without a slash at its end; one that ends in `/v1` is a server of the API as OpenAI has it. */
  baseUrl: string;
  /** Texts: the first, and the one that stands in for it. */
  writing: readonly [string, string];
  /** Looks at pictures. */
  vision: string;
  transcription: string;
}

const groq = {
  baseUrl: "https://api.groq.com",
  writing: ["moonshotai/kimi-k2-instruct-0905", "llama-3.3-70b-versatile"],
  vision: "meta-llama/llama-4-scout-17b-16e-instruct",
  transcription: "whisper-large-v3-turbo",
} as const;

const openAi = {
  baseUrl: "https://api.openai.com/v1",
  writing: ["gpt-4.1-mini", "gpt-4o-mini"],
  vision: "gpt-4.1-mini",
  transcription: "whisper-1",
} as const;

/** Groq where it has a key, else OpenAI where that has one. */
export function isConfigured(variables: PromptVariables): boolean {
  return variables.GROQ_API_KEY !== undefined || variables.OPENAI_API_KEY !== undefined;
}

/** @throws AppError `provider_not_configured`, which names the variable */
export function providerOf(variables: PromptVariables): Provider {
  const { GROQ_API_KEY: groqKey, OPENAI_API_KEY: openAiKey } = variables;
  const apiKey = groqKey ?? openAiKey;
  if (apiKey === undefined) throw notConfigured("GROQ_API_KEY");
  const usual = groqKey === undefined ? openAi : groq;
  const variable = groqKey === undefined ? "OPENAI_BASE_URL" : "GROQ_BASE_URL";
  const baseUrl = variables[variable] ?? usual.baseUrl;
  if (!/^https?:$/.test(URL.canParse(baseUrl) ? new URL(baseUrl).protocol : ""))
    throw notConfigured(variable);
  return {
    apiKey,
    baseUrl: baseUrl.replace(/\/+$/, ""),
    writing: [
      variables.AI_PROMPT_MODEL ?? usual.writing[0],
      variables.AI_PROMPT_FALLBACK_MODEL ?? usual.writing[1],
    ],
    vision: variables.AI_PROMPT_VISION_MODEL ?? usual.vision,
    transcription: variables.AI_TRANSCRIPTION_MODEL ?? usual.transcription,
  };
}

function notConfigured(variable: keyof PromptVariables): AppError {
  return new AppError("provider_not_configured", { variable, retry_after: 60 });
}
