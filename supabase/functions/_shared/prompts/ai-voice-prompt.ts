import { AppError } from "../errors/app-error.ts";
import type { PromptAnswer } from "./ai-prompt.ts";
import { localModel } from "./local-prompts.ts";
import { askForField } from "./messages.ts";
import type { PromptWriter } from "./prompt-writer.ts";
import type { VoiceRequest } from "./voice-request.ts";

/**
 * What somebody said, and the text that they want of it. What was said is worth more than nothing: where only the
 * writing fails, it is the answer, with a warning.
 */
export async function writeFromVoice(
  { model, allowsLocal }: PromptWriter,
  { audio, textInstructions, task, context, example, existingValue }: VoiceRequest,
): Promise<PromptAnswer> {
  const isLocal = !model.isConfigured && allowsLocal && !audio;
  if (isLocal) {
    const prompt = [existingValue.trim(), textInstructions.trim()].filter(Boolean).join(", ");
    return {
      success: true,
      transcription: textInstructions,
      prompt,
      usage: null,
      model: localModel,
      local: true,
    };
  }
  const transcription = (audio ? await model.transcribe(audio) : textInstructions).trim();
  if (transcription === "") throw new AppError("no_speech_detected");
  if (audio && task === "transcribe_only") return { success: true, transcription, usage: null, local: false };
  try {
    const written = await model.complete(
      askForField({ spoken: transcription, context, example, existingValue }),
    );
    const { text, usage, model: used } = written;
    return {
      success: true,
      transcription,
      prompt: text.trim() || transcription,
      usage,
      model: used,
      local: false,
    };
  } catch (error) {
    if (!(error instanceof AppError) || error.code === "provider_not_configured") throw error;
    return {
      success: true,
      transcription,
      prompt: transcription,
      usage: null,
      local: false,
      warning: "AI enhancement failed, returning raw transcription",
    };
  }
}
