import { z } from "zod";
import { idempotencyKey, text, uuid } from "../http/fields.ts";

const longText = text(10_000);
const required = longText.trim().min(1, "is required");
const optional = longText.nullish().transform((value) => value ?? "");
const image = text(4000).refine((value) => {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  return url !== undefined && ["http:", "https:"].includes(url.protocol);
}, "must be an http or https address");

/** Of all texts of one question together: more than a model reads is refused by its provider, not by us. */
const longestQuestion = 60_000;

/** The stops of the web app's creativity slider. */
export const creativityLevels = {
  predictable: 0.4,
  interesting: 0.6,
  balanced: 0.8,
  chaotic: 1,
  insane: 1.2,
} as const;

const names = Object.keys(creativityLevels) as (keyof typeof creativityLevels)[];

const wrongLevel = `must be a number, or one of ${names.join(", ")}`;

/** A number, as a number or a text, or a stop of the slider by its name; values beyond 0 to 2 count as the nearest. */
const level = z
  .union([
    z.number({ error: wrongLevel }),
    z
      .string()
      .trim()
      .regex(/^\d{1,3}(\.\d{1,6})?$/, wrongLevel)
      .transform(Number),
    z
      .string()
      .trim()
      .toLowerCase()
      .pipe(z.enum(names))
      .transform((name) => creativityLevels[name]),
  ])
  .transform((value) => Math.min(Math.max(value, 0), 2));

/** The creativity level under each of its names; the model's temperature. */
function creativity(usual: number) {
  const same = level.nullish().describe("another name of creativity_level");
  return {
    creativity_level: level.nullish().describe(`0 to 2, or one of ${names.join(", ")}; default: ${usual}`),
    creativityLevel: same,
    creativity: same,
    temperature: same,
  };
}

type CreativityField = keyof ReturnType<typeof creativity>;

/** The request with its level in one place: the first name that was sent counts. */
function withTemperature(usual: number) {
  return <Request extends Partial<Record<CreativityField, number | null | undefined>>>({
    creativity_level: first,
    creativityLevel: second,
    creativity: third,
    temperature: fourth,
    ...request
  }: Request) => ({ ...request, temperature: first ?? second ?? third ?? fourth ?? usual });
}

/** What all tasks take: how the answer comes, and who pays for it. */
const order = {
  stream: z.boolean().nullish().describe("answer in pieces, as server-sent events"),
  idempotency_key: idempotencyKey,
  user_id: uuid.nullish().describe("whom the service has pay; nobody unless said"),
};

const generatePrompts = z
  .object({
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
    ...creativity(0.8),
    ...order,
  })
  .superRefine(({ overallPromptText, rulesToRememberText, existingPrompts }, context) => {
    const length = [overallPromptText, rulesToRememberText, ...existingPrompts].join("").length;
    if (length <= longestQuestion) return;
    context.addIssue({
      code: "custom",
      path: ["existingPrompts"],
      message: `all texts together have more than ${longestQuestion} characters`,
    });
  })
  .transform(withTemperature(0.8));

const editPrompt = z
  .object({
    task: z.literal("edit_prompt"),
    originalPromptText: required,
    editInstructions: required,
    ...creativity(0.7),
    ...order,
  })
  .transform(withTemperature(0.7));

const enhancePrompt = z
  .object({
    task: z.literal("enhance_prompt").nullish().describe("default: enhance_prompt"),
    prompt: required.nullish().describe("the prompt to enhance"),
    base_prompt: required.nullish().describe("another name of prompt"),
    basePrompt: required.nullish().describe("another name of prompt"),
    ...creativity(creativityLevels.balanced),
    ...order,
  })
  .transform(({ task: _task, prompt, base_prompt: second, basePrompt: third, ...request }, context) => {
    const text = prompt ?? second ?? third;
    if (!text) {
      context.addIssue({ code: "custom", path: ["prompt"], message: "is required; or send a task" });
      return z.NEVER;
    }
    return { task: "enhance_prompt" as const, prompt: text, ...withTemperature(0.8)(request) };
  });

const generateSummary = z.object({ task: z.literal("generate_summary"), promptText: required, ...order });

const enhanceSegmentPrompt = z
  .object({
    task: z.literal("enhance_segment_prompt"),
    prompt: required.nullish(),
    prompts: z.array(longText).min(1).max(50).nullish().describe("several; then prompt is ignored"),
    images: z
      .union([z.array(image).max(2), z.array(z.array(image).max(2)).max(50)])
      .nullish()
      .describe("first and last frame; for `prompts` a list of such for each"),
    ...creativity(0.7),
    ...order,
  })
  .transform(({ images, prompt, prompts, ...request }, context) => {
    const refuse = (path: string, message: string) => {
      context.addIssue({ code: "custom", path: [path], message });
      return z.NEVER;
    };
    const texts = prompts ?? (prompt ? [prompt] : []);
    if (texts.length === 0) return refuse("prompt", "is required");
    const given = images ?? [];
    const lists = given.filter((item): item is string[] => Array.isArray(item));
    const frames = given.filter((item): item is string => typeof item === "string");
    if (prompts && frames.length > 0) return refuse("images", "must have a list for each of `prompts`");
    if (lists.length > texts.length) return refuse("images", "has more lists than there are prompts");
    return {
      ...withTemperature(0.7)(request),
      isList: Boolean(prompts),
      questions: texts.map((each, index) => ({ prompt: each, images: lists[index] ?? frames })),
    };
  });

/** What `ai-prompt` takes, by its task; a body without a task asks for an enhanced prompt. */
export const promptRequest = z.discriminatedUnion("task", [
  generatePrompts,
  editPrompt,
  generateSummary,
  enhanceSegmentPrompt,
  enhancePrompt,
]);

type WithoutOrder<Request> = Request extends unknown ? Omit<Request, keyof typeof order> : never;

/** The same without how it is answered and who pays. */
export type PromptRequest = WithoutOrder<z.output<typeof promptRequest>>;
