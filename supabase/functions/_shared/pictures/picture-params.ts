/** What params ask of a picture. Params may hold any value: a wrong one reads as nothing here, and is refused where it is used. */
type Params = Record<string, unknown>;

/** Each param of a picture under the names that clients use for it. */
export const paramNames = {
  prompt: ["prompt", "base_prompt"],
  negative_prompt: ["negative_prompt"],
  steps: ["num_inference_steps", "steps"],
  guidance_scale: ["guidance_scale"],
  output_format: ["output_format"],
  resolution: ["resolution", "image_size"],
  image: ["image_url", "image", "reference_image"],
  references: ["style_reference_image", "subject_reference_image"],
  strength: ["strength", "denoising_strength", "denoise_strength"],
  images: ["num_images", "num_generations"],
} as const;

/** What GPU workers read, and no endpoint at FAL takes. */
const gpuParams = [
  "hires_scale",
  "hires_steps",
  "hires_denoise",
  "hires_upscale_method",
  "lightning_lora_strength_phase_1",
  "lightning_lora_strength_phase_2",
  "phase_config",
  "flow_shift",
  "guidance2_scale",
  "sample_solver",
  "control_net_weight",
  "system_prompt",
] as const;

/** The params with what `orchestrator_details` says beneath them, as workers look parameters up. */
export function flatParams(params: Params): Params {
  return { ...said(params["orchestrator_details"]), ...said(params) };
}

function said(value: unknown): Params {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return {};
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== null && item !== ""));
}

/** The first of several names that the params say, and the value. */
export function paramOf(params: Params, names: readonly string[]): { field: string; value: unknown } {
  const field = names.find(
    (name) => params[name] !== undefined && params[name] !== null && params[name] !== "",
  );
  return { field: field ?? names[0] ?? "", value: field === undefined ? undefined : params[field] };
}

/** A number, or a text of one; undefined for anything else. */
export function numberOf(value: unknown): number | undefined {
  const given = typeof value === "string" && /^-?\d{1,9}(\.\d{1,9})?$/.test(value) ? Number(value) : value;
  return typeof given === "number" && Number.isFinite(given) ? given : undefined;
}

/** How many LoRAs the params name: `additional_loras {url: strength}` and `loras [{path or url, …}]`. */
export function countLoras(params: Params): number {
  const { additional_loras: byUrl, loras: list } = params;
  const named =
    typeof byUrl === "object" && byUrl !== null && !Array.isArray(byUrl) ? Object.keys(byUrl) : [];
  return named.length + (Array.isArray(list) ? list.length : 0);
}

export function hasImage(params: Params): boolean {
  return typeof paramOf(params, paramNames.image).value === "string";
}

export interface Size {
  width: number;
  height: number;
}

/** The sizes that FAL has names for. */
export const namedSizes: Record<string, Size> = {
  square_hd: { width: 1024, height: 1024 },
  square: { width: 512, height: 512 },
  portrait_4_3: { width: 768, height: 1024 },
  portrait_16_9: { width: 576, height: 1024 },
  landscape_4_3: { width: 1024, height: 768 },
  landscape_16_9: { width: 1024, height: 576 },
};

/** The size that the params ask for: `"902x508"`, `{width, height}`, `[width, height]`, or a name; `auto` asks for none. */
export function sizeOf(params: Params): Size | undefined {
  const { value } = paramOf(params, paramNames.resolution);
  if (typeof value === "string") {
    if (Object.hasOwn(namedSizes, value)) return namedSizes[value];
    const [, width, height] = /^\s*(\d{1,6})\s*[x×*]\s*(\d{1,6})\s*$/i.exec(value) ?? [];
    return width && height ? { width: Number(width), height: Number(height) } : undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const [width, height] = Array.isArray(value)
    ? (value as unknown[])
    : [(value as Params)["width"], (value as Params)["height"]];
  return typeof width === "number" && typeof height === "number" ? { width, height } : undefined;
}

/** The params that only GPU workers read, of those that are there. */
export function onlyOnGpu(params: Params): string[] {
  return gpuParams.filter((name) => params[name] !== undefined && params[name] !== null);
}
