import { z } from "zod";
import { type Lora, loras, loraStrength, mediaUrl } from "./fields.ts";

/** LoRAs of edits, which browsers name by `url` there; `path` counts as well. */
export const editLoras = z
  .array(
    z.object({
      url: mediaUrl.optional(),
      path: mediaUrl.optional(),
      strength: loraStrength.optional(),
      scale: loraStrength.optional(),
    }),
  )
  .max(20)
  .transform((given) => given.map(({ url, path, ...rest }) => ({ path: url ?? path, ...rest })))
  .pipe(loras);

/** `[{url, strength}]`, as workers read it; undefined when there are none. */
export function editLoraList(
  given: Lora[] | null | undefined,
): { url: string; strength: number }[] | undefined {
  return given?.length ? given.map(({ path, strength }) => ({ url: path, strength })) : undefined;
}

export const qwenEditModel = z.enum(["qwen-edit", "qwen-edit-2509", "qwen-edit-2511"]);
