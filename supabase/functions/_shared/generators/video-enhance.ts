import { z } from "zod";
import { uuid } from "../http/fields.ts";
import { defineFamily, optional, required } from "./family.ts";
import { mediaUrl } from "./fields.ts";
import { lineageNames } from "./lineage.ts";
import { present } from "./payload.ts";
import { resolution } from "./resolution.ts";

const flag = z.boolean();
const quality = z.enum(["low", "medium", "high", "maximum"]);
const writeMode = z.enum(["fast", "balanced", "small"]);

/** Frames between the frames of a film. */
const interpolation = z.object({
  num_frames: z.int().min(1).max(4).nullish(),
  use_calculated_fps: flag.nullish(),
  fps: z.int().min(1).max(60).nullish(),
  use_scene_detection: flag.nullish(),
  loop: flag.nullish(),
  video_quality: quality.nullish(),
  video_write_mode: writeMode.nullish(),
});

const upscale = z.object({
  upscale_factor: z.number().min(1).max(4).nullish(),
  acceleration: z.enum(["regular", "high", "full"]).nullish(),
  quality: z.number().min(0).max(100).nullish(),
  color_fix: flag.nullish(),
  output_format: z.enum(["X264 (.mp4)", "VP9 (.webm)", "PRORES4444 (.mov)", "GIF"]).nullish(),
  output_quality: quality.nullish(),
  output_write_mode: writeMode.nullish(),
  preserve_audio: flag.nullish(),
});

export const videoEnhance = defineFamily({
  summary: "A film made larger, smoother, or both, by `video_enhance`.",
  input: z
    .object({
      video_url: required(mediaUrl, "video_url"),
      enable_upscale: optional(flag, "false", "enable_upscale; it or enable_interpolation must be true"),
      enable_interpolation: optional(flag, "false", "enable_interpolation"),
      upscale: optional(
        upscale,
        "upscale_factor 2, color_fix true, output_quality high",
        "upscale, with enable_upscale",
      ),
      interpolation: optional(
        interpolation,
        "num_frames 1, use_calculated_fps true, video_quality high",
        "interpolation, with enable_interpolation",
      ),
      seconds: optional(
        z.number().min(1).max(3600),
        "5, as many as the price includes",
        "seconds: how much of the film is paid, begun seconds; a longer film is refused",
      ),
      resolution: optional(
        resolution,
        "2 megapixels, as many as the price includes",
        "resolution: how large a result is paid; a larger one is refused",
      ),
      based_on: optional(
        uuid,
        "a generation of its own",
        "based_on, and is_primary true: the generation shows the result",
      ),
      source_variant_id: optional(uuid, "not said", "source_variant_id"),
      shot_id: optional(uuid, "no shot", "shot_id"),
    })
    .superRefine((request, context) => {
      if (request.enable_upscale || request.enable_interpolation) return;
      const message = "must be true, or enable_interpolation";
      context.addIssue({ code: "custom", path: ["enable_upscale"], message });
    }),
  names: { ...lineageNames, based_on: "generation" },
  build(request) {
    const { upscale: larger, interpolation: smoother } = request;
    const params = present({
      tool_type: "video-enhance",
      video_url: request.video_url,
      enable_interpolation: request.enable_interpolation ?? false,
      enable_upscale: request.enable_upscale ?? false,
      interpolation: request.enable_interpolation
        ? present({
            ...smoother,
            num_frames: smoother?.num_frames ?? 1,
            use_calculated_fps: smoother?.use_calculated_fps ?? true,
            video_quality: smoother?.video_quality ?? "high",
          })
        : undefined,
      upscale: request.enable_upscale
        ? present({
            ...larger,
            upscale_factor: larger?.upscale_factor ?? 2,
            color_fix: larger?.color_fix ?? true,
            output_quality: larger?.output_quality ?? "high",
          })
        : undefined,
      seconds: request.seconds,
      resolution: request.resolution || undefined,
      shot_id: request.shot_id,
      based_on: request.based_on,
      is_primary: request.based_on ? true : undefined,
      source_variant_id: request.source_variant_id,
    });
    return { tasks: [{ task_type: "video_enhance", params }], meta: {} };
  },
});
