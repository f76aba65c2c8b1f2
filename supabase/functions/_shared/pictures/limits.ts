import { type PictureEndpoint, pictureEndpoint, type PictureEndpointId, type Range } from "./endpoints.ts";
import { endpointOf, defaultPictureModel, pictureModel } from "./models.ts";
import {
  countLoras,
  flatParams,
  hasImage,
  numberOf,
  onlyOnGpu,
  type Size,
  sizeOf,
  paramOf,
  paramNames,
} from "./picture-params.ts";

type Params = Record<string, unknown>;

/** What was asked for and is not done, or is done otherwise. */
export interface PictureWarning {
  code: "not_supported" | "adjusted";
  field: string;
  message: string;
}

/** What the model cannot make at all: the task is refused. */
export interface PictureRefusal {
  field: string;
  message: string;
}

export const smallestSide = 64;
export const largestSide = 2048;
/** Models that take an aspect ratio make about so many pixels, whatever is asked for. */
export const pixelsOfRatio = 1024 * 1024;
/** FAL's endpoints with an aspect ratio know these. */
const ratios = ["21:9", "16:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16", "9:21"] as const;

export interface PicturePlan {
  endpoint: PictureEndpointId;
  warnings: PictureWarning[];
  refusals: PictureRefusal[];
}

/**
 * How FAL runs a `single_image` of these params, and what it cannot do of them. Undefined where the model is unknown: the price
 * of the type refuses it at creation.
 */
export function planSingleImage(params: Params): PicturePlan | undefined {
  const asked = flatParams(params);
  const { field, value } = paramOf(asked, ["model_name", "model", "model_type"]);
  const model = pictureModel(typeof value === "string" ? value : defaultPictureModel);
  if (!model) return undefined;
  const endpoint = endpointOf(model, { hasLoras: countLoras(asked) > 0, hasImage: hasImage(asked) });
  const warnings = warningsOf(endpoint, asked, model.names[0]);
  const type = asked["model_type"];
  if (field !== "model_type" && typeof type === "string" && pictureModel(type) !== model) {
    warnings.push(unsupported("model_type", `${model.names[0]} runs, as \`${field}\` says`));
  }
  return { endpoint, warnings, refusals: refusalsOf(endpoint, asked, model.names[0]) };
}

/** What an endpoint does not do of flat params, or does otherwise. `name` is how messages call the model. */
export function warningsOf(endpointId: PictureEndpointId, asked: Params, name: string): PictureWarning[] {
  const endpoint = pictureEndpoint(endpointId);
  return [
    ...ofText(endpoint, asked, name),
    ...ofNumber(endpoint.steps, paramOf(asked, paramNames.steps), name),
    ...ofNumber(endpoint.guidance, paramOf(asked, paramNames.guidance_scale), name),
    ...ofSafety(endpoint, asked, name),
    ...ofFormat(endpoint, asked, name),
    ...ofSpeed(endpoint, asked, name),
    ...ofFiles(endpoint, asked, name),
    ...ofSize(endpoint, asked, name),
    ...onlyOnGpu(asked).map((field) => unsupported(field, "it is for GPU workers")),
  ];
}

/** What an endpoint cannot make of flat params. */
export function refusalsOf(endpointId: PictureEndpointId, asked: Params, name: string): PictureRefusal[] {
  const { loras, size: askedBy } = pictureEndpoint(endpointId);
  const count = countLoras(asked);
  const size = sizeOf(asked);
  const field = paramOf(asked, paramNames.resolution).field;
  return [
    ...(loras && count > loras.most
      ? [{ field: "loras", message: `must be at most ${loras.most} for ${name}` }]
      : []),
    ...(size && [size.width, size.height].some((side) => side < smallestSide || side > largestSide)
      ? [{ field, message: `must have sides from ${smallestSide} to ${largestSide}` }]
      : []),
    ...(size && askedBy !== "image_size" && size.width * size.height > pixelsOfRatio
      ? [{ field, message: `must be at most one megapixel (1024x1024) for ${name}` }]
      : []),
  ];
}

function ofText(endpoint: PictureEndpoint, asked: Params, name: string): PictureWarning[] {
  const { value } = paramOf(asked, paramNames.negative_prompt);
  const isLost = typeof value === "string" && value.trim() !== "" && !endpoint.takesNegativePrompt;
  return isLost ? [unsupported("negative_prompt", `${name} takes none`)] : [];
}

function ofNumber(
  range: Range | undefined,
  { field, value }: { field: string; value: unknown },
  name: string,
): PictureWarning[] {
  const given = numberOf(value);
  if (given === undefined) return [];
  if (!range) return [unsupported(field, `${name} has no such setting`)];
  const used = within(range, given);
  if (used === given) return [];
  return [
    adjusted(
      field,
      `\`${field}\` is ${used} instead of ${given}: ${name} takes ${range.least} to ${range.most}.`,
    ),
  ];
}

export function within({ least, most }: Range, value: number): number {
  return Math.min(most, Math.max(least, value));
}

function ofSafety(endpoint: PictureEndpoint, asked: Params, name: string): PictureWarning[] {
  if (endpoint.safety !== "tolerance" || asked["enable_safety_checker"] !== false) return [];
  return [
    adjusted(
      "enable_safety_checker",
      `The safety checker of ${name} cannot be switched off: its most tolerant setting is used.`,
    ),
  ];
}

function ofFormat({ format }: PictureEndpoint, asked: Params, name: string): PictureWarning[] {
  const { value } = paramOf(asked, paramNames.output_format);
  if (typeof value !== "string") return [];
  if (!format) return [unsupported("output_format", `${name} decides the format`)];
  if (formatOf(format.values, value) !== undefined) return [];
  return [
    adjusted(
      "output_format",
      `\`output_format\` is left to ${name}: it makes ${format.values.join(" or ")}.`,
    ),
  ];
}

/** The endpoint's word for a format; `jpg` is JPEG. */
export function formatOf(values: readonly string[], asked: unknown): string | undefined {
  const word = asked === "jpg" ? "jpeg" : asked;
  return values.find((value) => value === word);
}

function ofSpeed(endpoint: PictureEndpoint, asked: Params, name: string): PictureWarning[] {
  const { acceleration, enable_prompt_expansion: expansion } = asked;
  const speeds = endpoint.acceleration ?? [];
  return [
    ...(typeof acceleration === "string" && acceleration !== "none" && !speeds.includes(acceleration)
      ? [unsupported("acceleration", `${name} has no such speed`)]
      : []),
    ...(expansion === true && !endpoint.takesPromptExpansion
      ? [unsupported("enable_prompt_expansion", `${name} does not expand prompts`)]
      : []),
  ];
}

function ofFiles(endpoint: PictureEndpoint, asked: Params, name: string): PictureWarning[] {
  const image = paramOf(asked, paramNames.image);
  const strength = paramOf(asked, paramNames.strength);
  const references = endpoint.source === "image_urls" ? [] : paramNames.references;
  return [
    ...references
      .filter((field) => typeof asked[field] === "string")
      .map((field) => unsupported(field, `${name} takes no references`)),
    ...(countLoras(asked) > 0 && !endpoint.loras ? [unsupported("loras", `${name} takes none here`)] : []),
    ...(typeof image.value === "string" && !endpoint.source
      ? [unsupported(image.field, `${name} does not start from a picture`)]
      : []),
    ...(numberOf(strength.value) !== undefined && !endpoint.takesStrength
      ? [unsupported(strength.field, `${name} has no such setting here`)]
      : []),
  ];
}

function ofSize(endpoint: PictureEndpoint, asked: Params, name: string): PictureWarning[] {
  const size = sizeOf(asked);
  if (!size || endpoint.size === "image_size") return [];
  const { width, height } = size;
  const ratio = nearestRatio(size);
  // It is the size that is made, also where only the price has asked for it.
  if (width === height && width * height === pixelsOfRatio) return [];
  const message =
    `The picture has about one megapixel and the aspect ratio ${ratio} instead of ` +
    `${width}x${height}: ${name} takes no size.`;
  return [adjusted(paramOf(asked, paramNames.resolution).field, message)];
}

/** The aspect ratio nearest to a size, of those that endpoints know. */
export function nearestRatio({ width, height }: Size): string {
  const wanted = Math.log(width / height);
  const distance = (ratio: string) => {
    const [across = 1, down = 1] = ratio.split(":").map(Number);
    return Math.abs(Math.log(across / down) - wanted);
  };
  return [...ratios].sort((one, other) => distance(one) - distance(other))[0] ?? "1:1";
}

function unsupported(field: string, reason: string): PictureWarning {
  return { code: "not_supported", field, message: `\`${field}\` is not used: ${reason}.` };
}

function adjusted(field: string, message: string): PictureWarning {
  return { code: "adjusted", field, message };
}
