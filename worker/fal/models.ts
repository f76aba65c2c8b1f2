import { type Mapping, requestOf } from "./mapping.ts";
import { boundMotion, boundUpscale } from "./paid-inputs.ts";
import {
  BadParams,
  choice,
  file,
  files,
  flag,
  number,
  type Params,
  prompt,
  type Readers,
  seed,
  size,
  text,
} from "./params.ts";
import type { FalRequest } from "./recipe.ts";

const anyFormat = choice(["output_format"], ["jpeg", "png", "webp"]);
const twoFormats = choice(["output_format"], ["jpeg", "png"]);
const steps = (most: number) =>
  number(["num_inference_steps", "steps"], { least: 1, most, isWhole: true, isClamped: true });
const guidance = number(["guidance_scale"], { least: 0, most: 20 });

/** What every model of pictures takes. */
const pictures: Readers = {
  seed: seed(),
  num_images: number(["num_images", "num_generations"], { least: 1, most: 4, isWhole: true }),
  enable_safety_checker: flag(["enable_safety_checker"]),
  acceleration: choice(["acceleration"], ["none", "regular", "high"]),
};
const qwenImage: Readers = {
  prompt: prompt(),
  negative_prompt: text(["negative_prompt"]),
  image_size: size(),
  num_inference_steps: steps(50),
  guidance_scale: guidance,
  output_format: twoFormats,
  ...pictures,
};
const qwenEdit: Readers = { ...qwenImage, prompt: prompt({ isOptional: true }) };
const zImage: Readers = {
  prompt: prompt(),
  image_size: size(),
  num_inference_steps: steps(8),
  output_format: anyFormat,
  enable_prompt_expansion: flag(["enable_prompt_expansion"]),
  ...pictures,
};

/** Task types that one job makes: the models and their inputs. docs/fal.md says the same in words. */
export const mappings: Record<string, Mapping> = {
  qwen_image: { model: "fal-ai/qwen-image", withLoras: "fal-ai/qwen-image", input: qwenImage },
  qwen_image_2512: {
    model: "fal-ai/qwen-image-2512",
    withLoras: "fal-ai/qwen-image-2512/lora",
    input: { ...qwenImage, output_format: anyFormat },
  },
  qwen_image_style: {
    model: (params) => (references(params).length > 0 ? "fal-ai/qwen-image-edit-2509" : "fal-ai/qwen-image"),
    withLoras: (params) =>
      references(params).length > 0 ? "fal-ai/qwen-image-edit-2509-lora" : "fal-ai/qwen-image",
    input: {
      ...qwenImage,
      prompt: (params) => styledPrompt(params),
      image_urls: (params) => files(references(params).map(({ name }) => name))(params),
    },
  },
  z_image_turbo: { model: "fal-ai/z-image/turbo", withLoras: "fal-ai/z-image/turbo/lora", input: zImage },
  z_image_turbo_i2i: {
    model: "fal-ai/z-image/turbo/image-to-image",
    withLoras: "fal-ai/z-image/turbo/image-to-image/lora",
    input: {
      ...zImage,
      prompt: prompt({ isOptional: true }),
      image_url: file(["image_url", "image"], "image"),
      strength: number(["strength", "denoising_strength", "denoise_strength"], { least: 0, most: 1 }),
    },
  },
  image_inpaint: {
    model: "fal-ai/qwen-image-edit/inpaint",
    input: {
      ...qwenEdit,
      image_url: file(["image_url", "image"], "image"),
      mask_url: file(["mask_url"], "image"),
      strength: number(["strength"], { least: 0, most: 1 }),
    },
  },
  annotated_image_edit: {
    model: (params) => editModel(params),
    withLoras: (params) => `${editModel(params)}${editModel(params).endsWith("2511") ? "/lora" : "-lora"}`,
    input: { ...qwenEdit, output_format: anyFormat, image_urls: files(["image_url", "mask_url"]) },
  },
  image_upscale: {
    model: "fal-ai/esrgan",
    input: {
      image_url: file(["image", "image_url"], "image"),
      // As the price has it where nobody said how much; never the model's own idea of it.
      scale: (params) =>
        number(["scale_factor", "upscale_factor", "scale"], { least: 1, most: 8 })(params) ?? 2,
      output_format: twoFormats,
    },
    bound: boundUpscale,
  },
  animate_character: {
    model: (params) => `fal-ai/wan/v2.2-14b/animate/${params["mode"] === "replace" ? "replace" : "move"}`,
    input: {
      image_url: file(["character_image_url"], "image"),
      video_url: file(["motion_video_url"], "video"),
      resolution: choice(["resolution"], ["480p", "580p", "720p"]),
      seed: seed(),
      enable_safety_checker: flag(["enable_safety_checker"]),
    },
    bound: boundMotion,
  },
};

/** @throws BadParams where the params are not what the model takes */
export function falRequest(taskType: string, params: Params): FalRequest {
  const mapping = Object.hasOwn(mappings, taskType) ? mappings[taskType] : undefined;
  if (!mapping) throw new BadParams([{ field: "task_type", message: "is not run at FAL" }]);
  return requestOf(mapping, params);
}

/** Which Qwen editor; those that take several pictures, for the annotations are one of their own. */
function editModel(params: Params): string {
  return params["qwen_edit_model"] === "qwen-edit-2511"
    ? "fal-ai/qwen-image-edit-2511"
    : "fal-ai/qwen-image-edit-2509";
}

/** The pictures that a style task names, and how much each counts. */
function references(params: Params): { name: string; role: "style" | "subject" }[] {
  const asked = (name: string, strength: string) => {
    const given = params[strength];
    return (
      typeof params[name] === "string" && params[name] !== "" && !(typeof given === "number" && given <= 0)
    );
  };
  return [
    ...(asked("style_reference_image", "style_reference_strength")
      ? [{ name: "style_reference_image", role: "style" as const }]
      : []),
    ...(asked("subject_reference_image", "subject_strength") &&
    params["subject_reference_image"] !== params["style_reference_image"]
      ? [{ name: "subject_reference_image", role: "subject" as const }]
      : []),
  ];
}

/** The editor is told by words what each picture is for. */
function styledPrompt(params: Params): string {
  const wanted = prompt()(params);
  const described = text(["subject_description"])(params);
  const said = references(params).map(({ role }, index) => {
    const picture = `image ${index + 1}`;
    if (role === "style") return `Use the visual style of ${picture}, not what it shows.`;
    const subject = described ? `the subject of ${picture} (${described})` : `the subject of ${picture}`;
    return params["in_this_scene"] === true
      ? `Show ${subject}, in the scene of ${picture}.`
      : `Show ${subject}.`;
  });
  return [...said, wanted].join(" ");
}
