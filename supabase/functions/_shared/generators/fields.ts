import { z } from "zod";
import { text } from "../http/fields.ts";

export const greatestSeed = 2 ** 31 - 1;
/** Images, or other outputs, of one request. */
export const maxTasks = 100;

/** Fields that many generators take. */
export const prompt = text(10_000);
export const seed = z.int().min(0).max(greatestSeed);
export const onePrompt = prompt.trim().min(1, "is blank");

/** A prompt as a text, or as browsers keep it. */
export const somePrompt = z.union([
  onePrompt,
  z
    .object({ fullPrompt: onePrompt.optional(), prompt: onePrompt.optional() })
    .transform(({ fullPrompt, prompt }) => fullPrompt ?? prompt ?? "")
    .refine((value) => value !== "", "has no prompt"),
]);

export const modelName = text(200).trim().min(1);

/** An address that a worker will fetch; whoever fetches looks where it leads. */
export const mediaUrl = text(4000).refine(isWebAddress, "must be an http or https address");

/** A number or its text. */
export const loraStrength = z.union([
  z.number(),
  z
    .string()
    .trim()
    .regex(/^-?\d{1,3}(\.\d{1,6})?$/)
    .transform(Number),
]);

/** LoRAs in either spelling of the shipped clients: `strength` or `scale`, a number or its text. */
export const loras = z
  .array(
    z
      .object({ path: mediaUrl, strength: loraStrength.optional(), scale: loraStrength.optional() })
      .transform(({ path, strength, scale }) => ({ path, strength: strength ?? scale ?? 1 }))
      .refine(({ strength }) => strength >= 0 && strength <= 2, "the strength is not from 0 to 2"),
  )
  .max(20);

export type Lora = z.output<typeof loras>[number];

/** `{path: strength}`, as workers read it; undefined when there are none. */
export function loraMap(given: Lora[] | null | undefined): Record<string, number> | undefined {
  if (!given?.length) return undefined;
  return Object.fromEntries(given.map(({ path, strength }) => [path, strength]));
}

function isWebAddress(value: string): boolean {
  try {
    return ["http:", "https:"].includes(new URL(value).protocol);
  } catch {
    return false;
  }
}
