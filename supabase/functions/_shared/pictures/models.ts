import type { PictureEndpointId } from "./endpoints.ts";

/** A model of `single_image`: its names, and the endpoints that run it. */
export interface PictureModel {
  /** The first is the one that messages name. The price list lists all of them, with the same factor. */
  names: readonly [string, ...string[]];
  fromText: PictureEndpointId;
  fromTextWithLoras?: PictureEndpointId;
  /** Where the model can start from a picture. */
  fromImage?: PictureEndpointId;
  fromImageWithLoras?: PictureEndpointId;
}

export const defaultPictureModel = "optimised-t2i";

/** The models that `single_image` runs at FAL. docs/fal.md has the table for people. */
export const pictureModels: readonly PictureModel[] = [
  {
    names: ["optimised-t2i", "optimized-t2i", "wan-2.2", "wan-2.2-t2i"],
    fromText: "fal-ai/wan/v2.2-a14b/text-to-image",
    fromTextWithLoras: "fal-ai/wan/v2.2-a14b/text-to-image/lora",
    fromImage: "fal-ai/wan/v2.2-a14b/image-to-image",
  },
  {
    names: ["flux-dev", "flux", "flux-1-dev"],
    fromText: "fal-ai/flux/dev",
    fromTextWithLoras: "fal-ai/flux-lora",
    // It takes a size, which `fal-ai/flux/dev/image-to-image` does not: so a picture is never larger than it is paid.
    fromImage: "fal-ai/flux-lora/image-to-image",
    fromImageWithLoras: "fal-ai/flux-lora/image-to-image",
  },
  { names: ["flux-schnell", "flux-1-schnell"], fromText: "fal-ai/flux/schnell" },
  { names: ["flux-pro", "flux-1.1-pro", "flux-pro-1.1"], fromText: "fal-ai/flux-pro/v1.1" },
  {
    names: ["kontext", "flux-kontext", "flux-kontext-pro", "flux-pro-kontext"],
    fromText: "fal-ai/flux-pro/kontext/text-to-image",
    fromImage: "fal-ai/flux-pro/kontext",
  },
  {
    names: ["kontext-dev", "flux-kontext-dev"],
    fromText: "fal-ai/flux-kontext-lora/text-to-image",
    fromTextWithLoras: "fal-ai/flux-kontext-lora/text-to-image",
    fromImage: "fal-ai/flux-kontext/dev",
    fromImageWithLoras: "fal-ai/flux-kontext-lora",
  },
  {
    names: ["qwen-image", "qwen"],
    fromText: "fal-ai/qwen-image",
    fromTextWithLoras: "fal-ai/qwen-image",
    fromImage: "fal-ai/qwen-image/image-to-image",
    fromImageWithLoras: "fal-ai/qwen-image/image-to-image",
  },
  {
    names: ["qwen-image-2512"],
    fromText: "fal-ai/qwen-image-2512",
    fromTextWithLoras: "fal-ai/qwen-image-2512/lora",
  },
  {
    names: ["z-image", "z-image-turbo"],
    fromText: "fal-ai/z-image/turbo",
    fromTextWithLoras: "fal-ai/z-image/turbo/lora",
    fromImage: "fal-ai/z-image/turbo/image-to-image",
    fromImageWithLoras: "fal-ai/z-image/turbo/image-to-image/lora",
  },
];

/** The model of this name, as `read_quantity()` reads names: case, and what stands between words, do not matter. */
export function pictureModel(name: string): PictureModel | undefined {
  const wanted = spelling(name);
  return pictureModels.find(({ names }) => names.some((known) => spelling(known) === wanted));
}

export function spelling(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "");
}

/** The endpoint that runs a model; LoRAs and a picture count only where the model takes them. */
export function endpointOf(
  model: PictureModel,
  { hasLoras, hasImage }: { hasLoras: boolean; hasImage: boolean },
): PictureEndpointId {
  if (hasImage && model.fromImage) {
    return (hasLoras ? model.fromImageWithLoras : undefined) ?? model.fromImage;
  }
  return (hasLoras ? model.fromTextWithLoras : undefined) ?? model.fromText;
}
