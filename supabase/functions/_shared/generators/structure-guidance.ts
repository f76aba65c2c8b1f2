import { z } from "zod";
import { text } from "../http/fields.ts";
import { mediaUrl } from "./fields.ts";
import { optional } from "./family.ts";
import { present } from "./payload.ts";

const frame = z.int().min(0).max(1_000_000);
const strength = z.number().min(0).max(10);
const share = z.number().min(0).max(1);
const treatment = z.enum(["adjust", "clip"]);
const preprocessing = z.enum(["flow", "canny", "depth", "none"]);
/** `raw` is the older word for `none`. */
const structureType = z.enum(["uni3c", "flow", "canny", "depth", "raw", "none"]);

const video = z.object({
  path: mediaUrl,
  start_frame: frame.nullish(),
  end_frame: frame.nullish(),
  treatment: treatment.nullish(),
});

const guidance = z.object({
  target: z.enum(["uni3c", "vace"]),
  videos: z.array(video).min(1).max(100),
  strength: strength.nullish(),
  step_window: z.tuple([share, share]).nullish(),
  frame_policy: text(50).min(1).nullish(),
  zero_empty_frames: z.boolean().nullish(),
  preprocessing: preprocessing.nullish(),
});

const olderVideo = video.extend({
  structure_type: structureType.nullish(),
  motion_strength: strength.nullish(),
  uni3c_start_percent: share.nullish(),
  uni3c_end_percent: share.nullish(),
});

const converted = "becomes structure_guidance";

/** Videos whose movement another follows: `structure_guidance`, or the older flat fields, which become it. */
export const guidanceFields = {
  structure_guidance: optional(
    guidance,
    "none. strength 1; frames from 0 to the end, treatment adjust. uni3c: step_window [0, 1], frame_policy fit, zero_empty_frames true; vace: preprocessing flow",
    "structure_guidance, with what counts written out",
  ),
  structure_videos: optional(z.array(olderVideo).min(1).max(100), "none", converted),
  structure_video_path: optional(mediaUrl, "none", converted),
  structure_video_treatment: optional(treatment, "adjust", converted),
  structure_video_type: optional(structureType, "flow; uni3c with use_uni3c", converted),
  structure_video_motion_strength: optional(strength, "1", converted),
  use_uni3c: optional(z.boolean(), "false", converted),
  uni3c_guide_video: optional(mediaUrl, "structure_video_path", converted),
  uni3c_strength: optional(strength, "structure_video_motion_strength", converted),
  uni3c_start_percent: optional(share, "0", converted),
  uni3c_end_percent: optional(share, "1", converted),
};

type GuidanceInput = z.output<z.ZodObject<typeof guidanceFields>>;
type Guidance = z.output<typeof guidance>;

/** What workers read of it; undefined without a video. */
export function structureGuidance(input: GuidanceInput): Record<string, unknown> | undefined {
  const given = input.structure_guidance ?? guidanceOfVideos(input) ?? guidanceOfFlatFields(input);
  if (!given) return undefined;
  return {
    target: given.target,
    videos: given.videos.map(({ path, start_frame, end_frame, treatment }) => ({
      path,
      start_frame: start_frame ?? 0,
      end_frame: end_frame ?? null,
      treatment: treatment ?? "adjust",
    })),
    strength: given.strength ?? 1,
    ...(given.target === "uni3c"
      ? {
          step_window: given.step_window ?? [0, 1],
          frame_policy: given.frame_policy ?? "fit",
          zero_empty_frames: given.zero_empty_frames ?? true,
        }
      : { preprocessing: given.preprocessing ?? "flow" }),
  };
}

function guidanceOfVideos({ structure_videos: videos }: GuidanceInput): Guidance | undefined {
  const [first] = videos ?? [];
  if (!videos || !first) return undefined;
  return {
    ...targetOf(first.structure_type, first.uni3c_start_percent, first.uni3c_end_percent),
    videos,
    strength: first.motion_strength,
  };
}

function guidanceOfFlatFields(input: GuidanceInput): Guidance | undefined {
  const path = input.uni3c_guide_video ?? input.structure_video_path;
  if (!path) return undefined;
  const usesUni3c = input.use_uni3c || Boolean(input.uni3c_guide_video);
  return {
    ...targetOf(
      usesUni3c ? "uni3c" : input.structure_video_type,
      input.uni3c_start_percent,
      input.uni3c_end_percent,
    ),
    videos: [present({ path, treatment: input.structure_video_treatment }) as z.output<typeof video>],
    strength: input.uni3c_strength ?? input.structure_video_motion_strength,
  };
}

function targetOf(
  type: z.output<typeof structureType> | null | undefined,
  start: number | null | undefined,
  end: number | null | undefined,
): Pick<Guidance, "target" | "step_window" | "preprocessing"> {
  if (type === "uni3c") return { target: "uni3c", step_window: [start ?? 0, end ?? 1] };
  return { target: "vace", preprocessing: type === "raw" ? "none" : (type ?? "flow") };
}
