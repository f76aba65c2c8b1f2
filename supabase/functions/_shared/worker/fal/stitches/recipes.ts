import { finalStitch, travelStitch } from "../../orchestration/stitch.ts";
import { detailsOf, number } from "../../orchestration/task-params.ts";
import { sizeWarning } from "../films/sizes.ts";
import { BadParams } from "../params.ts";
import type { FalRecipe } from "../recipe.ts";
import { extractFrame } from "./extract-frame.ts";
import { stitchFilm } from "./stitch-film.ts";

const largestScale = 4;

const stitchTravel: FalRecipe = async (task, jobs, context) => {
  const scale = number(task.params["upscale_factor"]) ?? 0;
  if (scale > largestScale) {
    throw new BadParams([{ field: "upscale_factor", message: `is more than ${largestScale}` }]);
  }
  const stitch = await travelStitch(task, context.client);
  return await stitchFilm(task, jobs, context, { stitch, scale: Math.max(1, scale) });
};

const stitchJoins: FalRecipe = async (task, jobs, context) => {
  const stitch = await finalStitch(task, context.client);
  const details = detailsOf(task.params);
  const keepsSize = details["use_input_video_resolution"] === true;
  const size = keepsSize ? undefined : sizeOf(details["resolution"]);
  const warning = keepsSize || size ? undefined : sizeWarning([details["resolution"]]);
  if (warning !== undefined) jobs.warn(warning);
  return await stitchFilm(task, jobs, context, { stitch, size });
};

/** The task types that make films of films at FAL. */
export const stitchRecipes: Record<string, FalRecipe> = {
  travel_stitch: stitchTravel,
  join_final_stitch: stitchJoins,
  extract_frame: extractFrame,
};

/** `[902, 508]` or `"902x508"`. */
function sizeOf(value: unknown): { width: number; height: number } | undefined {
  const sides =
    typeof value === "string" ? value.split(/[x×*]/i) : Array.isArray(value) ? (value as unknown[]) : [];
  const [width, height] = [number(sides[0]), number(sides[1])];
  const isSide = (side: number | undefined): side is number =>
    side !== undefined && side >= 16 && side <= 4096;
  return sides.length === 2 && isSide(width) && isSide(height) ? { width, height } : undefined;
}
