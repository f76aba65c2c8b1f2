import { type CallToPay, openPaidCall } from "../credits/paid-call.ts";
import type { Database } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import type { Caller } from "../http/endpoint.ts";
import type { Storage } from "../media/storage.ts";
import type { Completed, Completion, LanguageModel } from "./language-model.ts";
import {
  localEdit,
  localEnhancement,
  localModel,
  localMotion,
  localPrompts,
  localSummary,
} from "./local-prompts.ts";
import {
  askForEdit,
  askForEnhancement,
  askForMotion,
  askForPrompts,
  askForSummary,
  promptsIn,
} from "./messages.ts";
import { paidAnswer, type PromptAnswer, type Written } from "./paid-answer.ts";
import { checkPictures, type Pictures } from "./pictures.ts";
import type { PromptRequest } from "./prompt-request.ts";
import type { PromptWriter } from "./prompt-writer.ts";
import { plainField, plainLine, plainText } from "./written-text.ts";

/** A piece of an answer that is still being written. */
export type PromptPiece = { text: string } | { index: number; enhanced_prompt: string };

export interface PromptServices {
  database: Pick<Database, "call">;
  storage: Storage;
  writer: PromptWriter;
}

export type PromptOrder = Pick<CallToPay, "userId" | "idempotencyKey"> & {
  /** Else the model is asked for all at once, and there are no pieces of a text. */
  inPieces: boolean;
};

/** An answer that is being written; `leaving` ends that. */
export interface PromptInWriting {
  pieces: AsyncGenerator<PromptPiece, PromptAnswer>;
  /** Undefined where it is written to the end in any case: it is paid, and its caller may come again with the key. */
  leaving: AbortController | undefined;
}

const atOnce = 5;
/** Less than hosts give an answer; also for one in pieces. */
const longestMilliseconds = 100_000;

/** Covers one request, and begins to answer it. @throws AppError those of `openPaidCall` */
export async function writePrompt(
  { database, storage, writer }: PromptServices,
  caller: Caller,
  request: PromptRequest,
  { inPieces, ...order }: PromptOrder,
): Promise<PromptInWriting> {
  const questions = request.task === "enhance_segment_prompt" ? request.questions.length : 1;
  const { call, answer } = await openPaidCall(database, caller, {
    ...order,
    type: "ai-prompt",
    units: writer.model.isConfigured ? questions : 0,
    modelCalls: questions,
    content: request,
  });
  const leaving = new AbortController();
  if (answer) return { pieces: alone({ ...answer, deduplicated: true }), leaving };
  if (!writer.model.isConfigured && writer.allowsLocal) {
    return { pieces: alone(localAnswer(request)), leaving };
  }
  const signal = AbortSignal.any([leaving.signal, AbortSignal.timeout(longestMilliseconds)]);
  const sources = { storage, resolve: writer.resolve };
  const work = answerInPieces(writer.model, request, sources, { inPieces, signal });
  const unitsOf = (pieces: number) => Math.min(pieces, questions);
  return {
    pieces: paidAnswer(call, work, unitsOf, leaving.signal),
    leaving: call && order.idempotencyKey !== undefined ? undefined : leaving,
  };
}

// oxlint-disable-next-line require-yield -- an answer without pieces
async function* alone(answer: PromptAnswer): AsyncGenerator<PromptPiece, PromptAnswer> {
  return answer;
}

interface Asking {
  inPieces: boolean;
  signal: AbortSignal;
}

async function* answerInPieces(
  model: LanguageModel,
  request: PromptRequest,
  sources: Parameters<typeof checkPictures>[2],
  { inPieces, signal }: Asking,
): AsyncGenerator<PromptPiece, Written> {
  if (request.task !== "enhance_segment_prompt") {
    const question = questionOf(request);
    return answerOf(
      request,
      inPieces ? yield* textPieces(model, question, signal) : await model.complete(question, signal),
    );
  }
  const images = request.questions.map((question) => question.images);
  const pathOf = (prompt: number, picture: number) =>
    request.isList ? `images.${prompt}.${picture}` : `images.${picture}`;
  const pictures = await checkPictures(images, pathOf, sources);
  if (request.isList) return yield* enhanceMany(model, request, pictures, signal);
  const [prompt = ""] = request.questions.map((question) => question.prompt);
  const question = askForMotion(prompt, await pictures.of(0, signal), request.temperature);
  return enhanced(
    inPieces ? yield* textPieces(model, question, signal) : await model.complete(question, signal),
  );
}

async function* textPieces(
  model: LanguageModel,
  question: Completion,
  signal: AbortSignal,
): AsyncGenerator<PromptPiece, Completed> {
  const stream = model.stream(question, signal);
  try {
    for (;;) {
      const { done, value } = await stream.next();
      if (done) return value;
      const text = plainText(value);
      if (text !== "") yield { text };
    }
  } finally {
    await stream.return(undefined as never);
  }
}

type OfOneText = Exclude<PromptRequest, { task: "enhance_segment_prompt" }>;

function questionOf(request: OfOneText): Completion {
  switch (request.task) {
    case "generate_prompts":
      return askForPrompts(request);
    case "edit_prompt":
      return askForEdit(request.originalPromptText, request.editInstructions, request.temperature);
    case "generate_summary":
      return askForSummary(request.promptText);
    case "enhance_prompt":
      return askForEnhancement(request.prompt, request.temperature);
  }
}

const longestText = 10_000;
const longestSummary = 200;
const longestMotion = 4_000;

function answerOf(request: OfOneText, completed: Completed): Written {
  const { text, usage, model, isCut } = completed;
  const told = { usage, model, local: false };
  const details = { task: request.task, model };
  switch (request.task) {
    case "generate_prompts": {
      const prompts = promptsIn(plainText(text), request.numberToGenerate, isCut);
      // Nothing to choose from is no answer.
      if (prompts.length === 0) throw new AppError("provider_failed");
      return { answer: { prompts, ...told }, units: 1, details };
    }
    case "edit_prompt": {
      return {
        answer: { success: true, newText: plainField(text, longestText), ...told },
        units: 1,
        details,
      };
    }
    case "generate_summary": {
      return { answer: { summary: plainLine(text, longestSummary), ...told }, units: 1, details };
    }
    case "enhance_prompt": {
      const answer = {
        success: true,
        enhanced_prompt: plainLine(text, longestMotion),
        creativity_level: request.temperature,
        ...told,
      };
      return { answer, units: 1, details };
    }
  }
}

function enhanced({ text, usage, model }: Completed): Written {
  return {
    answer: { enhanced_prompt: plainLine(text, longestMotion), usage, model, local: false },
    units: 1,
    details: { task: "enhance_segment_prompt", model },
  };
}

type OfManyTexts = Extract<PromptRequest, { task: "enhance_segment_prompt" }>;

/** Several at once; one that fails keeps its text and is named. All failing is a failure. */
async function* enhanceMany(
  model: LanguageModel,
  { questions, temperature }: OfManyTexts,
  pictures: Pictures,
  signal: AbortSignal,
): AsyncGenerator<PromptPiece, Written> {
  const texts = questions.map(({ prompt }) => plainText(prompt));
  const usage: unknown[] = questions.map(() => null);
  const written = new Set<number>();
  const failed: number[] = [];
  let usedModel: string | undefined;
  let failure: unknown;
  for (let start = 0; start < questions.length; start += atOnce) {
    const batch = questions.slice(start, start + atOnce).map(async ({ prompt }, offset) => {
      const index = start + offset;
      try {
        const question = askForMotion(prompt, await pictures.of(index, signal), temperature);
        const answer = await model.complete(question, signal);
        const text = plainLine(answer.text, longestMotion);
        usage[index] = answer.usage;
        usedModel = answer.model;
        texts[index] = text;
        written.add(index);
      } catch (error) {
        // What is wrong with the request is wrong with all of it.
        if (!(error instanceof AppError) || error.status < 500) throw error;
        failure = error;
        failed.push(index);
      }
      return index;
    });
    for (const index of await Promise.all(batch)) {
      if (written.has(index)) yield { index, enhanced_prompt: texts[index] ?? "" };
    }
    // A provider that answers nothing is not asked for the rest, nor anybody after the time.
    if (failed.length === Math.min(start + atOnce, questions.length)) throw failure;
    if (signal.aborted) {
      for (let rest = start + atOnce; rest < questions.length; rest++) failed.push(rest);
      break;
    }
  }
  return {
    answer: {
      enhanced_prompts: texts,
      usage,
      failed: failed.sort((a, b) => a - b),
      model: usedModel,
      local: false,
    },
    units: written.size,
    details: { task: "enhance_segment_prompt", ...(usedModel !== undefined && { model: usedModel }) },
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
    case "enhance_prompt":
      return {
        success: true,
        enhanced_prompt: localEnhancement(request.prompt, request.temperature),
        creativity_level: request.temperature,
        ...told,
      };
    case "enhance_segment_prompt": {
      const texts = request.questions.map(({ prompt }) => localMotion(prompt));
      if (!request.isList) return { enhanced_prompt: texts[0], ...told };
      return { enhanced_prompts: texts, failed: [], ...told, usage: texts.map(() => null) };
    }
  }
}
