import type { FileInput } from "../params.ts";
import type { FalRequest } from "../recipe.ts";
import { endpoints } from "./endpoints.ts";
import type { Lora, Sampling } from "./film-params.ts";
import { billedSeconds, type MakeableLength, turboFrames } from "./lengths.ts";
import { type FalSize, pixelsOf, type ResolutionName } from "./sizes.ts";

/** A file that a request names: an address of FAL's, or one that a param gave. */
export interface Source {
  url: string;
  /** The param that named it; undefined for what a job of FAL's made. */
  field?: string;
}

/** One film that a model makes, from one image or from a first and a last one. */
export interface Passage {
  prompt: string | undefined;
  negativePrompt: string | undefined;
  start: Source;
  end: Source | undefined;
  length: MakeableLength;
  framesPerSecond: number;
  size: FalSize;
  seed: number | undefined;
  loras: readonly Lora[];
  sampling: Sampling;
  enableSafetyChecker: boolean | undefined;
  /** Whether FAL elaborates the prompt, as workers do with `enhance_prompt`. */
  expandsPrompt: boolean;
}

const megapixel = 1_000_000;

/** The job that makes a passage of any length. */
export function passageRequest(passage: Passage): FalRequest {
  const { length, framesPerSecond, sampling, loras } = passage;
  const request: FalRequest = {
    model: endpoints.imageToVideo,
    input: {
      ...commonInput(passage),
      ...(passage.negativePrompt !== undefined && { negative_prompt: passage.negativePrompt }),
      num_frames: length.generated,
      frames_per_second: framesPerSecond,
      // FAL interpolates by default, and doubles the rate.
      num_interpolated_frames: length.interpolated,
      interpolator_model: length.interpolated > 0 ? "film" : "none",
      adjust_fps_for_interpolation: false,
      ...(sampling.steps !== undefined && { num_inference_steps: sampling.steps }),
      ...(sampling.guidance !== undefined && { guidance_scale: sampling.guidance }),
      ...(sampling.secondGuidance !== undefined && { guidance_scale_2: sampling.secondGuidance }),
      ...(sampling.shift !== undefined && { shift: sampling.shift }),
    },
    files: [],
    units: unitsOf(length.total, passage.size.resolution),
  };
  if (loras.length > 0) {
    const entries = loras.map(({ path, scale, transformer }) => ({ path, scale, transformer }));
    request.input["loras"] = entries;
    for (const [index, { field, path }] of loras.entries()) {
      request.files.push({
        field,
        url: path,
        medium: "weights",
        place: (url) => {
          const entry = entries[index];
          if (entry) entry.path = url;
        },
      });
    }
  }
  placeImages(request, passage);
  return request;
}

/** The job of the turbo endpoint, which makes 81 frames. */
export function turboRequest(passage: Passage): FalRequest {
  const request: FalRequest = {
    model: endpoints.turbo,
    input: commonInput(passage),
    files: [],
    units: unitsOf(turboFrames, passage.size.resolution),
  };
  placeImages(request, passage);
  return request;
}

function commonInput(passage: Passage): Record<string, unknown> {
  const { size, seed, enableSafetyChecker, expandsPrompt } = passage;
  return {
    // FAL wants a text.
    prompt: passage.prompt ?? " ",
    resolution: size.resolution,
    aspect_ratio: size.aspectRatio,
    ...(seed !== undefined && { seed }),
    ...(enableSafetyChecker !== undefined && { enable_safety_checker: enableSafetyChecker }),
    ...(expandsPrompt && { enable_prompt_expansion: true }),
  };
}

function placeImages(request: FalRequest, { start, end }: Passage): void {
  placeFile(request, "image_url", start, "image");
  if (end) placeFile(request, "end_image_url", end, "image");
}

/** Names a file in a request; one that a param gave is checked and placed before the job is submitted. */
export function placeFile(
  { input, files }: FalRequest,
  name: string,
  { url, field }: Source,
  medium: FileInput["medium"],
): void {
  input[name] = url;
  if (field !== undefined) files.push({ field, url, medium, place: (placed) => (input[name] = placed) });
}

function unitsOf(frames: number, resolution: ResolutionName): FalRequest["units"] {
  return {
    seconds: billedSeconds(frames),
    megapixels: megapixelsOf(frames, pixelsOf(resolution)),
    variant: resolution,
  };
}

/** Megapixels of all frames of a film together, rounded up. */
export function megapixelsOf(frames: number, pixels: number): number {
  return Math.ceil((frames * pixels) / megapixel);
}
