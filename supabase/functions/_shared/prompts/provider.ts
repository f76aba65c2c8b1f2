import { AppError } from "../errors/app-error.ts";
import type { PromptVariables } from "./variables.ts";

/** Who is asked, and for which of their models. */
export interface Provider {
  apiKey: string;
  /** Without a slash at its end; one that ends in `/v1` is a server of the API as OpenAI has it. */
  baseUrl: string;
  /** Whether it is Groq's own API, which has parameters of its own. */
  isGroq: boolean;
  /** Of each use the first model, and the one that stands in for it. */
  models: Readonly<Record<ModelUse, readonly string[]>>;
}

/** Texts, texts about pictures, and what is said in a recording. */
export type ModelUse = "writing" | "vision" | "transcription";

/** What Groq serves by its documentation and the types of its SDK 1.6.0. */
const groq = {
  baseUrl: "https://api.groq.com",
  writing: ["openai/gpt-oss-120b", "openai/gpt-oss-20b"],
  vision: ["qwen/qwen3.6-27b", "qwen/qwen3.8-27b"],
  transcription: ["whisper-large-v3-turbo", "whisper-large-v3"],
} as const;

const openAi = {
  baseUrl: "https://api.openai.com/v1",
  writing: ["gpt-4.1-mini", "gpt-4o-mini"],
  vision: ["gpt-4.1-mini", "gpt-4o-mini"],
  transcription: ["whisper-1"],
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
    isGroq: !baseUrl.replace(/\/+$/, "").endsWith("/v1"),
    models: {
      writing: inTurn(usual.writing, variables.AI_PROMPT_MODEL, variables.AI_PROMPT_FALLBACK_MODEL),
      vision: inTurn(
        usual.vision,
        variables.AI_PROMPT_VISION_MODEL,
        variables.AI_PROMPT_VISION_FALLBACK_MODEL,
      ),
      transcription: inTurn(
        usual.transcription,
        variables.AI_TRANSCRIPTION_MODEL,
        variables.AI_TRANSCRIPTION_FALLBACK_MODEL,
      ),
    },
  };
}

/** The operator's models before the usual ones; none twice. */
function inTurn(usual: readonly string[], first: string | undefined, fallback: string | undefined): string[] {
  const models = [first ?? usual[0], fallback ?? usual[1]];
  return [...new Set(models.filter((model) => model !== undefined))];
}

function notConfigured(variable: keyof PromptVariables): AppError {
  return new AppError("provider_not_configured", { variable, retry_after: 60 });
}
