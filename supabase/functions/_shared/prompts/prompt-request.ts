import { z } from "zod";
import { text } from "../http/fields.ts";

const longText = text(10_000);
const required = longText.trim().min(1, "is required");
const optional = longText.nullish().transform((value) => value ?? "");
const image = text(4000).refine((value) => {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  return url !== undefined && ["http:", "https:"].includes(url.protocol);
}, "must be an http or https address");

/** The creativity level of the product: 0 to 2; what is beyond counts as the nearest. */
function temperature(usual: number) {
  return z
    .number()
    .nullish()
    .transform((value) => Math.min(Math.max(value ?? usual, 0), 2))
    .describe(`creativity level, 0 to 2; ${usual} unless said`);
}

const stream = z.boolean().nullish().describe("answer in pieces, as server-sent events");

const generatePrompts = z.object({
  task: z.literal("generate_prompts"),
  overallPromptText: optional.describe("what the pictures are of"),
  rulesToRememberText: optional.describe("what all of them keep to"),
  numberToGenerate: z
    .int()
    .min(1)
    .max(50)
    .nullish()
    .transform((value) => value ?? 3)
    .describe("3 unless said"),
  existingPrompts: z
    .array(z.union([longText, z.object({ text: longText }).transform((given) => given.text)]))
    .max(100)
    .nullish()
    .transform((given) => given ?? [])
    .describe("not to be repeated; texts or {text}"),
  temperature: temperature(0.8),
  stream,
});

const editPrompt = z.object({
  task: z.literal("edit_prompt"),
  originalPromptText: required,
  editInstructions: required,
  temperature: temperature(0.7),
  stream,
});

const generateSummary = z.object({ task: z.literal("generate_summary"), promptText: required, stream });

const enhanceSegmentPrompt = z
  .object({
    task: z.literal("enhance_segment_prompt"),
    prompt: required.nullish(),
    prompts: z.array(longText).min(1).max(50).nullish().describe("several; then prompt is ignored"),
    images: z
      .union([z.array(image).max(2), z.array(z.array(image).max(2)).max(50)])
      .nullish()
      .describe("first and last frame; for `prompts` a list of such for each"),
    temperature: temperature(0.7),
    stream,
  })
  .transform(({ images, ...request }, context) => {
    if (!request.prompt && !request.prompts) {
      context.addIssue({ code: "custom", path: ["prompt"], message: "is required" });
      return z.NEVER;
    }
    const lists = (images ?? []).filter((item): item is string[] => Array.isArray(item));
    const frames = (images ?? []).filter((item): item is string => typeof item === "string");
    return { ...request, images: lists.length > 0 ? lists : [frames] };
  });

/** What `ai-prompt` takes, by its task. */
export const promptRequest = z.discriminatedUnion("task", [
  generatePrompts,
  editPrompt,
  generateSummary,
  enhanceSegmentPrompt,
]);

export type PromptRequest = z.output<typeof promptRequest>;
