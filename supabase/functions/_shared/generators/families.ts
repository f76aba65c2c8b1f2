import { characterAnimate } from "./character-animate.ts";
import { crossfadeJoin } from "./crossfade-join.ts";
import { editVideoOrchestrator } from "./edit-video-orchestrator.ts";
import type { Family } from "./family.ts";
import { imageGeneration } from "./image-generation.ts";
import { imageUpscale } from "./image-upscale.ts";
import { individualTravelSegment } from "./individual-travel-segment.ts";
import { joinClips } from "./join-clips.ts";
import { magicEdit } from "./magic-edit.ts";
import { maskedEdit } from "./masked-edit.ts";
import { travelBetweenImages } from "./travel-between-images.ts";
import { videoEnhance } from "./video-enhance.ts";
import { zImageTurboI2i } from "./z-image-turbo-i2i.ts";

/** Everything that `family` may name. */
export const families: Readonly<Record<string, Family>> = {
  image_generation: imageGeneration,
  z_image_turbo_i2i: zImageTurboI2i,
  magic_edit: magicEdit,
  masked_edit: maskedEdit,
  image_upscale: imageUpscale,
  video_enhance: videoEnhance,
  travel_between_images: travelBetweenImages,
  individual_travel_segment: individualTravelSegment,
  join_clips: joinClips,
  crossfade_join: crossfadeJoin,
  edit_video_orchestrator: editVideoOrchestrator,
  character_animate: characterAnimate,
};

/** A family by its name, in either spelling (`-` and `_`). */
export function familyOf(spelled: string): { name: string; family: Family } | undefined {
  const name = spelled.replaceAll("-", "_");
  const family = Object.hasOwn(families, name) ? families[name] : undefined;
  return family && { name, family };
}
