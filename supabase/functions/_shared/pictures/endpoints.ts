/** A whole or broken number within these, both included. */
export interface Range {
  least: number;
  most: number;
}

/**
 * What an endpoint of FAL that makes pictures takes, beside a prompt and a seed. A test holds the table against the official
 * client's types, and docs/fal.md names the endpoints.
 */
export interface PictureEndpoint {
  /** How the size is asked for: in pixels, or as one of the aspect ratios, at about one megapixel. */
  size: "image_size" | "aspect_ratio" | "resolution_mode";
  /** Of a picture from text, where no size is asked for. */
  usualPixels: number;
  /** How many pictures one job makes at most. An endpoint of one has no field for the number. */
  mostImages: 1 | 4;
  /** The fields of the pictures that it starts from. */
  source?: "image_url" | "image_urls";
  takesMask?: true;
  takesStrength?: true;
  takesNegativePrompt?: true;
  takesPromptExpansion?: true;
  steps?: Range;
  guidance?: Range;
  /** A checker that can be switched off, the same for what comes in and what goes out, or a tolerance from 1 to 6. */
  safety: "switch" | "two_switches" | "tolerance";
  format?: { field: "output_format" | "image_format"; values: readonly string[] };
  /** `transformer`: each LoRA says which of the model's two halves it is for. */
  loras?: { most: number; transformer?: true };
  acceleration?: readonly string[];
}

/** `landscape_4_3` and `square_hd`. */
const landscapePixels = 1024 * 768;
const squarePixels = 1024 * 1024;
const jpegOrPng = { field: "output_format", values: ["jpeg", "png"] } as const;
const anyFormat = { field: "output_format", values: ["jpeg", "png", "webp"] } as const;
const twoSpeeds = ["none", "regular"] as const;
const threeSpeeds = ["none", "regular", "high"] as const;
/** More would be merged, and each is fetched and held in memory there. */
const threeLoras = { most: 3 };

const flux = {
  size: "image_size",
  usualPixels: landscapePixels,
  mostImages: 4,
  steps: { least: 1, most: 50 },
  guidance: { least: 1, most: 20 },
  safety: "switch",
  format: jpegOrPng,
  acceleration: threeSpeeds,
} as const satisfies PictureEndpoint;
const fluxLora = {
  ...flux,
  loras: threeLoras,
  acceleration: twoSpeeds,
} as const satisfies PictureEndpoint;
const fluxPro = {
  size: "image_size",
  usualPixels: landscapePixels,
  mostImages: 4,
  safety: "tolerance",
  format: jpegOrPng,
} as const satisfies PictureEndpoint;
const kontextPro = {
  ...fluxPro,
  size: "aspect_ratio",
  guidance: { least: 1, most: 20 },
} as const satisfies PictureEndpoint;
const kontextDev = {
  ...flux,
  size: "resolution_mode",
  source: "image_url",
  steps: { least: 10, most: 50 },
} as const satisfies PictureEndpoint;
const wan = {
  size: "image_size",
  usualPixels: squarePixels,
  mostImages: 1,
  takesNegativePrompt: true,
  takesPromptExpansion: true,
  steps: { least: 2, most: 40 },
  guidance: { least: 1, most: 10 },
  safety: "two_switches",
  acceleration: twoSpeeds,
} as const satisfies PictureEndpoint;
const imageFormat = { field: "image_format", values: ["jpeg", "png"] } as const;
const qwen = {
  size: "image_size",
  usualPixels: landscapePixels,
  mostImages: 4,
  takesNegativePrompt: true,
  steps: { least: 2, most: 50 },
  guidance: { least: 0, most: 20 },
  safety: "switch",
  format: jpegOrPng,
  acceleration: threeSpeeds,
} as const satisfies PictureEndpoint;
const qwen2512 = {
  ...qwen,
  format: anyFormat,
  steps: { least: 1, most: 50 },
} as const satisfies PictureEndpoint;
const qwenEditor = {
  ...qwen2512,
  source: "image_urls",
} as const satisfies PictureEndpoint;
const zImage = {
  size: "image_size",
  usualPixels: landscapePixels,
  mostImages: 4,
  takesPromptExpansion: true,
  steps: { least: 1, most: 8 },
  safety: "switch",
  format: anyFormat,
  acceleration: threeSpeeds,
} as const satisfies PictureEndpoint;
const zImageFromImage = {
  ...zImage,
  source: "image_url",
  takesStrength: true,
} as const satisfies PictureEndpoint;

export const pictureEndpoints = {
  "fal-ai/flux/dev": flux,
  "fal-ai/flux/schnell": { ...flux, steps: { least: 1, most: 12 } },
  "fal-ai/flux-lora": fluxLora,
  "fal-ai/flux-lora/image-to-image": { ...fluxLora, source: "image_url", takesStrength: true },
  "fal-ai/flux-pro/v1.1": fluxPro,
  "fal-ai/flux-pro/kontext": { ...kontextPro, source: "image_url" },
  "fal-ai/flux-pro/kontext/text-to-image": kontextPro,
  "fal-ai/flux-kontext/dev": kontextDev,
  "fal-ai/flux-kontext-lora": { ...kontextDev, loras: threeLoras },
  "fal-ai/flux-kontext-lora/text-to-image": fluxLora,
  "fal-ai/wan/v2.2-a14b/text-to-image": wan,
  "fal-ai/wan/v2.2-a14b/text-to-image/lora": {
    ...wan,
    format: imageFormat,
    loras: { ...threeLoras, transformer: true },
  },
  "fal-ai/wan/v2.2-a14b/image-to-image": {
    ...wan,
    source: "image_url",
    takesStrength: true,
    format: imageFormat,
  },
  "fal-ai/qwen-image": { ...qwen, loras: threeLoras },
  "fal-ai/qwen-image/image-to-image": {
    ...qwen,
    source: "image_url",
    takesStrength: true,
    loras: threeLoras,
  },
  "fal-ai/qwen-image-2512": qwen2512,
  "fal-ai/qwen-image-2512/lora": { ...qwen2512, loras: threeLoras },
  "fal-ai/qwen-image-edit": { ...qwen, source: "image_url" },
  "fal-ai/qwen-image-edit-lora": { ...qwen, source: "image_url", loras: threeLoras },
  "fal-ai/qwen-image-edit-2509": qwenEditor,
  "fal-ai/qwen-image-edit-2509-lora": { ...qwenEditor, loras: threeLoras },
  "fal-ai/qwen-image-edit-2511": qwenEditor,
  "fal-ai/qwen-image-edit-2511/lora": { ...qwenEditor, loras: threeLoras },
  "fal-ai/qwen-image-edit/inpaint": { ...qwen, source: "image_url", takesMask: true, takesStrength: true },
  "fal-ai/z-image/turbo": zImage,
  "fal-ai/z-image/turbo/lora": { ...zImage, loras: threeLoras },
  "fal-ai/z-image/turbo/image-to-image": zImageFromImage,
  "fal-ai/z-image/turbo/image-to-image/lora": { ...zImageFromImage, loras: threeLoras },
} as const satisfies Record<string, PictureEndpoint>;

export type PictureEndpointId = keyof typeof pictureEndpoints;

/** The same for every endpoint, whichever fields of the table's row there are. */
export function pictureEndpoint(id: PictureEndpointId): PictureEndpoint {
  return pictureEndpoints[id];
}
