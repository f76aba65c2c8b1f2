import { AppError } from "../errors/app-error.ts";
import type { Completed, Completion, LanguageModel } from "./language-model.ts";
import { localEdit, localModel, localMotion, localPrompts, localSummary } from "./local-prompts.ts";
import { askForEdit, askForMotion, askForPrompts, askForSummary, promptsIn } from "./messages.ts";
import type { PromptRequest } from "./prompt-request.ts";
import type { PromptWriter } from "./prompt-writer.ts";

export type PromptAnswer = Record<string, unknown>;

/** A piece of an answer that is still being written. */
export type PromptPiece = { text: string } | { index: number; enhanced_prompt: string };

const atOnce = 5;

/** The answer to one request. */
export async function writePrompt(writer: PromptWriter, request: PromptRequest): Promise<PromptAnswer> {
  const pieces = streamPrompt(writer, request, false);
  for (;;) {
    const { done, value } = await pieces.next();
    if (done) return value;
  }
}

/**
 * The same, in pieces as they are written; returns the whole answer. `inPieces` false asks the model for all at once.
 */
export async function* streamPrompt(
  { model, allowsLocal }: PromptWriter,
  request: PromptRequest,
  inPieces = true,
): AsyncGenerator<PromptPiece, PromptAnswer> {
  if (!model.isConfigured && allowsLocal) return localAnswer(request);
  if (request.task === "enhance_segment_prompt" && request.prompts) {
    return yield* enhanceMany(model, request.prompts, request.images, request.temperature);
  }
  const question = questionOf(request);
  return answerOf(request, inPieces ? yield* textPieces(model, question) : await model.complete(question));
}

async function* textPieces(
  model: LanguageModel,
  question: Completion,
): AsyncGenerator<PromptPiece, Completed> {
  const stream = model.stream(question);
  for (;;) {
    const { done, value } = await stream.next();
    if (done) return value;
    yield { text: value };
  }
}

function questionOf(request: PromptRequest): Completion {
  switch (request.task) {
    case "generate_prompts":
      return askForPrompts(request);
    case "edit_prompt":
      return askForEdit(request.originalPromptText, request.editInstructions, request.temperature);
    case "generate_summary":
      return askForSummary(request.promptText);
    case "enhance_segment_prompt":
      return askForMotion(request.prompt ?? "", request.images[0] ?? [], request.temperature);
  }
}

function answerOf(request: PromptRequest, { text, usage, model }: Completed): PromptAnswer {
  const told = { usage, model, local: false };
  const written = text.trim();
  switch (request.task) {
    case "generate_prompts":
      return { prompts: promptsIn(text, request.numberToGenerate), ...told };
    case "edit_prompt":
      return { success: true, newText: written || request.originalPromptText, ...told };
    case "generate_summary":
      return { summary: written || null, ...told };
    case "enhance_segment_prompt":
      return { enhanced_prompt: written || request.prompt, ...told };
  }
}

/** Several at once; one that fails keeps its text and is named. All failing is a failure. */
async function* enhanceMany(
  model: LanguageModel,
  prompts: string[],
  images: string[][],
  temperature: number,
): AsyncGenerator<PromptPiece, PromptAnswer> {
  const texts = [...prompts];
  const usage: unknown[] = prompts.map(() => null);
  const failed: number[] = [];
  let usedModel: string | undefined;
  let failure: unknown;
  for (let start = 0; start < prompts.length; start += atOnce) {
    const batch = prompts.slice(start, start + atOnce).map(async (prompt, offset) => {
      const index = start + offset;
      try {
        const answer = await model.complete(askForMotion(prompt, images[index] ?? [], temperature));
        texts[index] = answer.text.trim() || prompt;
        usage[index] = answer.usage;
        usedModel = answer.model;
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        failure = error;
        failed.push(index);
      }
      return index;
    });
    for (const index of await Promise.all(batch)) {
      if (!failed.includes(index)) yield { index, enhanced_prompt: texts[index] ?? "" };
    }
    // A provider that answers nothing is not asked for the rest.
    if (failed.length === Math.min(start + atOnce, prompts.length)) throw failure;
  }
  return {
    enhanced_prompts: texts,
    usage,
    failed: failed.sort((a, b) => a - b),
    model: usedModel,
    local: false,
  };
}

function localAnswer(request: PromptRequest): PromptAnswer {
  const told = { usage: null, model: localModel, local: true };
  switch (request.task) {
    case "generate_prompts": {
      const { overallPromptText, rulesToRememberText, numberToGenerate, existingPrompts } = request;
      return {
        prompts: localPrompts(overallPromptText, rulesToRememberText, numberToGenerate, existingPrompts),
        ...told,
      };
    }
    case "edit_prompt":
      return {
        success: true,
        newText: localEdit(request.originalPromptText, request.editInstructions),
        ...told,
      };
    case "generate_summary":
      return { summary: localSummary(request.promptText), ...told };
    case "enhance_segment_prompt":
      if (!request.prompts) return { enhanced_prompt: localMotion(request.prompt ?? ""), ...told };
      return {
        enhanced_prompts: request.prompts.map(localMotion),
        failed: [],
        ...told,
        usage: request.prompts.map(() => null),
      };
  }
}
