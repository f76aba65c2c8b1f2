import {
  type PictureEndpoint,
  pictureEndpoint,
  type PictureEndpointId,
} from "../../../pictures/endpoints.ts";
import { formatOf, nearestRatio } from "../../../pictures/limits.ts";
import { sizeOf, paramOf, paramNames } from "../../../pictures/picture-params.ts";
import {
  choice,
  file,
  files,
  flag,
  hasLoras,
  loras,
  number,
  type Params,
  prompt,
  type Reader,
  type Readers,
  seed,
  size,
  text,
} from "../params.ts";

/** The params that name a picture's files. */
export interface SourceNames {
  /** Of the pictures that it starts from; the first of several names for one that is there. */
  images: readonly (readonly string[])[];
  mask?: readonly string[];
}

/** How an endpoint's input is read from flat params; `promptReader` where the prompt is not just the one of the params. */
export function readersOf(
  id: PictureEndpointId,
  params: Params,
  { images, mask }: SourceNames,
  promptReader: Reader = prompt(),
): Readers {
  const endpoint = pictureEndpoint(id);
  return {
    prompt: promptReader,
    ...sizeReader(endpoint),
    seed: seed(),
    ...numbers(endpoint),
    ...safety(endpoint),
    ...(endpoint.takesNegativePrompt && { negative_prompt: text(paramNames.negative_prompt) }),
    ...(endpoint.takesPromptExpansion && { enable_prompt_expansion: flag(["enable_prompt_expansion"]) }),
    ...(endpoint.acceleration && { acceleration: choice(["acceleration"], endpoint.acceleration) }),
    ...(endpoint.format && { [endpoint.format.field]: formatReader(endpoint.format.values) }),
    ...(endpoint.loras && hasLoras(params) && { loras: lorasReader(endpoint.loras) }),
    ...(endpoint.source === "image_url" && { image_url: file(images[0] ?? paramNames.image, "image") }),
    ...(endpoint.source === "image_urls" && { image_urls: filesReader(images) }),
    ...(endpoint.takesMask && mask && { mask_url: file(mask, "image") }),
  };
}

function sizeReader({ size: askedBy }: PictureEndpoint): Readers {
  if (askedBy === "image_size") return { image_size: size() };
  return {
    [askedBy]: (params) => {
      const asked = sizeOf(params);
      return asked && nearestRatio(asked);
    },
  };
}

function numbers({ mostImages, steps, guidance, takesStrength }: PictureEndpoint): Readers {
  return {
    ...(mostImages > 1 && {
      num_images: number(paramNames.images, { least: 1, most: mostImages, isWhole: true }),
    }),
    ...(steps && {
      num_inference_steps: number(paramNames.steps, { ...steps, isWhole: true, isClamped: true }),
    }),
    ...(guidance && { guidance_scale: number(paramNames.guidance_scale, { ...guidance, isClamped: true }) }),
    ...(takesStrength && { strength: number(paramNames.strength, { least: 0, most: 1 }) }),
  };
}

function safety({ safety: kind }: PictureEndpoint): Readers {
  const checker = flag(["enable_safety_checker"]);
  switch (kind) {
    case "switch":
      return { enable_safety_checker: checker };
    case "two_switches":
      return { enable_safety_checker: checker, enable_output_safety_checker: checker };
    case "tolerance":
      return { safety_tolerance: (params) => (checker(params) === false ? "6" : undefined) };
  }
}

function formatReader(values: readonly string[]): Reader {
  return (params) => formatOf(values, paramOf(params, paramNames.output_format).value);
}

/** Several pictures, each under names of its own. */
function filesReader(names: readonly (readonly string[])[]): Reader {
  return (params) => files(names.map((spellings) => paramOf(params, spellings).field))(params);
}

function lorasReader({ transformer }: NonNullable<PictureEndpoint["loras"]>): Reader {
  if (!transformer) return loras();
  return (params) =>
    (loras()(params) as { path: { url: string }; scale: unknown }[]).map((lora) => ({
      ...lora,
      transformer: halfOf(lora.path.url),
    }));
}

/** Which half of Wan 2.2 a LoRA is for: files of pairs say so in their names, all others are for both. */
function halfOf(url: string): "high" | "low" | "both" {
  const name = url.split(/[?#]/)[0]?.split("/").at(-1)?.toLowerCase() ?? "";
  const isHigh = /high/.test(name);
  const isLow = /low(?!er)/.test(name);
  if (isHigh === isLow) return "both";
  return isHigh ? "high" : "low";
}
