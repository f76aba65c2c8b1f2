import { z } from "zod";
import { idempotencyKey, text, uuid } from "../http/fields.ts";

/** Recordings that transcription takes, by their type's beginning: browsers add codecs. */
const recordings = ["audio/", "video/webm", "video/mp4", "application/octet-stream"];
export const recordingLimitBytes = 10 * 1024 * 1024;

const field = text(10_000)
  .nullish()
  .transform((value) => value ?? "");

/** What `ai-voice-prompt` takes: a recording as a form, or what was said as text. */
export const voiceRequest = z
  .object({
    audio: z
      .file()
      .min(1, "is empty")
      .max(recordingLimitBytes)
      .refine(({ type }) => recordings.some((known) => type.startsWith(known)), "is no recording")
      .optional()
      .describe("webm, mp4, wav, ogg, mp3 or flac, at most 10 MiB; only as multipart/form-data"),
    textInstructions: field.describe("what would have been said; instead of a recording"),
    task: text(100)
      .nullish()
      .transform((value) => (value === "transcribe_only" ? "transcribe_only" : "transcribe_and_write"))
      .describe("transcribe_only, or transcribe_and_write (also for anything else)"),
    context: field.describe("what the text is for"),
    example: field,
    existingValue: field.describe("the text as it is now"),
    idempotency_key: idempotencyKey,
    user_id: uuid.nullish().describe("whom the service has pay; nobody unless said"),
  })
  .superRefine(({ audio, textInstructions }, context) => {
    if (audio || textInstructions.trim()) return;
    context.addIssue({ code: "custom", path: ["textInstructions"], message: "is required, or send audio" });
  });

/** The same without who pays. */
export type VoiceRequest = Omit<z.output<typeof voiceRequest>, "idempotency_key" | "user_id">;
