import { type Mapping, requestOf } from "./mapping.ts";
import { boundMotion } from "./paid-inputs.ts";
import { BadParams, choice, file, flag, type Params, seed } from "./params.ts";
import type { FalRequest } from "./recipe.ts";

/** Task types that one job makes: the models and their inputs. docs/fal.md says the same in words; pictures are in pictures/. */
export const mappings: Record<string, Mapping> = {
  animate_character: {
    model: (params) => `fal-ai/wan/v2.2-14b/animate/${params["mode"] === "replace" ? "replace" : "move"}`,
    input: {
      image_url: file(["character_image_url"], "image"),
      video_url: file(["motion_video_url"], "video"),
      resolution: choice(["resolution"], ["480p", "580p", "720p"]),
      seed: seed(),
      enable_safety_checker: flag(["enable_safety_checker"]),
    },
    bound: boundMotion,
  },
};

/** @throws BadParams where the params are not what the model takes */
export function falRequest(taskType: string, params: Params): FalRequest {
  const mapping = Object.hasOwn(mappings, taskType) ? mappings[taskType] : undefined;
  if (!mapping) throw new BadParams([{ field: "task_type", message: "is not run at FAL" }]);
  return requestOf(mapping, params);
}
