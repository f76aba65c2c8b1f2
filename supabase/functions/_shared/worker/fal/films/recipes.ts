import type { FalRecipe } from "../recipe.ts";
import { runEnhancement } from "./enhance.ts";
import { runJoin } from "./join.ts";
import { runSegment } from "./segment.ts";
import { runInterpolation, runPose } from "./tools.ts";
import { runTurboTravel } from "./turbo-travel.ts";

/** How FAL runs the task types that make films, and what goes with them. */
export const filmRecipes: Readonly<Record<string, FalRecipe>> = {
  wan_2_2_i2v: runTurboTravel,
  travel_segment: runSegment,
  individual_travel_segment: runSegment,
  join_clips_segment: runJoin,
  edit_video_segment: runJoin,
  video_enhance: runEnhancement,
  generate_openpose: runPose,
  rife_interpolate_images: runInterpolation,
};
