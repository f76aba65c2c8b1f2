import { z } from "zod";
import { type Lora, loraStrength, mediaUrl } from "./fields.ts";

/** LoRAs of edits, which browsers name by `url` there; `path` counts as well. */
export const editLoras = z
  .array(
    z
      .object({
        url: mediaUrl.optional(),
        path: mediaUrl.optional(),
        strength: loraStrength.optional(),
        scale: loraStrength.optional(),
      })
      .transform(({ url, path, strength, scale }) => ({
        path: url ?? path ?? "",
        strength: strength ?? scale ?? 1,
      }))
      .refine(({ path }) => path !== "", "has no url")
      .refine(({ strength }) => strength >= 0 && strength <= 2, "the strength is not from 0 to 2"),
  )
  .max(20);

/** `[{url, strength}]`, as workers read it; undefined when there are none. */
export function editLoraList(
  given: Lora[] | null | undefined,
): { url: string; strength: number }[] | undefined {
  return given?.length ? given.map(({ path, strength }) => ({ url: path, strength })) : undefined;
}

export const qwenEditModel = z.enum(["qwen-edit", "qwen-edit-2509", "qwen-edit-2511"]);
