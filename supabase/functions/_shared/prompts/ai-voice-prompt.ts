import { type CallToPay, openPaidCall } from "../credits/paid-call.ts";
import type { Database } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import type { Caller } from "../http/endpoint.ts";
import { localModel } from "./local-prompts.ts";
import { askForField } from "./messages.ts";
import { paidAnswer, type PromptAnswer, wholeOf, type Written } from "./paid-answer.ts";
import type { PromptWriter } from "./prompt-writer.ts";
import { plainField } from "./written-text.ts";
import { checkedRecording } from "./recording.ts";
import type { VoiceRequest } from "./voice-request.ts";

export interface VoiceServices {
  database: Pick<Database, "call">;
  writer: PromptWriter;
}

/** For hearing and writing together. */
const longestMilliseconds = 40_000;
const longestText = 10_000;

/** Covers one request and answers it. @throws AppError those of `openPaidCall` */
export async function writeFromVoice(
  { database, writer }: VoiceServices,
  caller: Caller,
  request: VoiceRequest,
  order: Pick<CallToPay, "userId" | "idempotencyKey">,
): Promise<PromptAnswer> {
  const { call, answer } = await openPaidCall(database, caller, {
    ...order,
    type: "ai-voice-prompt",
    units: writer.model.isConfigured ? 1 : 0,
    // Hearing and writing are a call each.
    modelCalls: request.audio && request.task !== "transcribe_only" ? 2 : 1,
    content: request,
  });
  if (answer) return { ...answer, deduplicated: true };
  if (!writer.model.isConfigured && writer.allowsLocal && !request.audio) return localAnswer(request);
  const signal = AbortSignal.timeout(longestMilliseconds);
  // Nobody is asked to stop: whoever hangs up is written for all the same.
  const leaving = new AbortController();
  return await wholeOf(paidAnswer(call, answerTo(writer, request, signal), () => 0, leaving.signal));
}

/**
 * What somebody said, and the text that they want of it. What was said is worth more than nothing: where only the
 * writing fails, it is the answer, with a warning, and free.
 */
// oxlint-disable-next-line require-yield -- an answer without pieces
async function* answerTo(
  { model }: PromptWriter,
  { audio, textInstructions, task, context, example, existingValue }: VoiceRequest,
  signal: AbortSignal,
): AsyncGenerator<never, Written> {
  const transcription = audio
    ? plainField(await model.transcribe(await checkedRecording(audio), signal), longestText)
    : textInstructions.trim();
  if (transcription === "") throw new AppError("no_speech_detected");
  const heard = { success: true, transcription };
  if (audio && task === "transcribe_only") {
    return { answer: { ...heard, usage: null, local: false }, units: 1, details: { task } };
  }
  try {
    const question = askForField({ spoken: transcription, context, example, existingValue });
    const { text, usage, model: used } = await model.complete(question, signal);
    const written = plainField(text, longestText);
    return {
      answer: { ...heard, prompt: written, usage, model: used, local: false },
      units: 1,
      details: { task, model: used },
    };
  } catch (error) {
    if (!(error instanceof AppError) || error.code === "provider_not_configured") throw error;
    const warning = "AI enhancement failed, returning raw transcription";
    return {
      answer: { ...heard, prompt: transcription, usage: null, local: false, warning },
      units: 0,
      details: { task },
    };
  }
}

function localAnswer({ textInstructions, existingValue }: VoiceRequest): PromptAnswer {
  return {
    success: true,
    transcription: textInstructions,
    prompt: [existingValue.trim(), textInstructions.trim()].filter(Boolean).join(", "),
    usage: null,
    model: localModel,
    local: true,
  };
}
