import { z } from "zod";
import { text, uuid } from "../http/fields.ts";
import { defineFamily, optional, required } from "./family.ts";
import { loraMap, loras, maxTasks, mediaUrl, modelName, prompt, seed, somePrompt } from "./fields.ts";
import { hiresFields, hiresParams } from "./hires.ts";
import { newRun, present } from "./payload.ts";
import { aspectRatio, resolution, resolutionFor } from "./resolution.ts";
import { seedOfImage } from "./seeds.ts";

/** Models that have a task type of their own; they draw larger than a project's base size, and read references. */
const namedModels = ["qwen-image", "qwen-image-2512", "z-image"];

/** What makes a thing stand in the scene of a reference: a LoRA of the studio that the clients were written for. */
const inThisScene =
  "https://huggingface.co/peteromallet/random_junk/resolve/main/in_scene_different_object_000010500.safetensors";
const usualSceneStrength = 0.5;

const imagesPerPrompt = z.int().min(1).max(16);
const strength = z.number().min(0).max(2);
const ofReference = "the key of the same name, as reference_mode lets it through";

const input = z
  .object({
    prompts: required(
      z.array(somePrompt).min(1).max(maxTasks),
      "prompt, of as many tasks as there are prompts × images",
    ),
    imagesPerPrompt: optional(imagesPerPrompt, "images_per_prompt", "how many tasks; at most 100 in all"),
    images_per_prompt: optional(imagesPerPrompt, "1", "the same"),
    model_name: optional(
      modelName,
      "optimised-t2i",
      "model, and the task type: qwen-image → qwen_image (with a style reference qwen_image_style), qwen-image-2512 → qwen_image_2512, z-image → z_image_turbo, else wan_2_2_t2i",
    ),
    negative_prompt: optional(prompt, "empty", "negative_prompt"),
    resolution: optional(resolution, "of the aspect ratio, × resolution_scale", "resolution"),
    resolution_mode: optional(
      z.enum(["project", "custom"]),
      "project",
      "whose aspect ratio counts: the project's, or custom_aspect_ratio",
    ),
    custom_aspect_ratio: optional(aspectRatio, "required by custom", "resolution"),
    resolution_scale: optional(
      z.number().min(0.25).max(4),
      "1.5 for qwen-image, qwen-image-2512 and z-image; others are not scaled",
      "resolution, in whole pixels",
    ),
    seed: optional(seed, "random for each image", "seed; each further image adds 1"),
    steps: optional(z.int().min(1).max(200), "12", "steps"),
    loras: optional(loras, "none", "additional_loras {path: strength}"),
    shot_id: optional(uuid, "no shot", "shot_id"),
    reference_mode: optional(
      z.enum(["style", "subject", "style-character", "scene", "custom"]),
      "custom",
      "which references count: style, its strength alone; subject, style 1.1 and subject 0.5 with its description; style-character, both as sent; scene, style 1.1 and in this scene at 0.5; custom, all as sent",
    ),
    style_reference_image: optional(
      mediaUrl,
      "no references",
      "style_reference_image; of the three named models, like all of this",
    ),
    subject_reference_image: optional(mediaUrl, "style_reference_image", "subject_reference_image"),
    style_reference_strength: optional(strength, "the worker's", ofReference),
    subject_strength: optional(strength, "the worker's", ofReference),
    subject_description: optional(text(2000), "none", ofReference),
    in_this_scene: optional(
      z.boolean(),
      "false",
      `${ofReference}; if true, a LoRA for it is among additional_loras`,
    ),
    in_this_scene_strength: optional(
      strength,
      "0.5",
      "in_this_scene_strength, scene_reference_strength, and the LoRA's strength",
    ),
    scene_reference_strength: optional(strength, "in_this_scene_strength", ofReference),
    ...hiresFields,
  })
  .superRefine((request, context) => {
    const refuse = (path: string, message: string) =>
      context.addIssue({ code: "custom", path: [path], message });
    if (request.prompts.length * imagesOf(request) > maxTasks) {
      refuse("images_per_prompt", "asks for more than 100 images");
    }
    if (request.resolution_mode === "custom" && !request.resolution && !request.custom_aspect_ratio) {
      refuse("custom_aspect_ratio", "is required by the resolution mode custom");
    }
    if (request.subject_reference_image && !request.style_reference_image) {
      refuse("style_reference_image", "is required with subject_reference_image");
    }
  });

type ImageGenerationInput = z.output<typeof input>;

export const imageGeneration = defineFamily({
  summary: "Images from prompts: prompts × images per prompt, all or none.",
  input,
  names: { shot_id: "shot" },
  build(request, place) {
    const each = imagesOf(request);
    const model = request.model_name ?? "optimised-t2i";
    const taskType = taskTypeOf(request);
    const ratio = request.resolution_mode === "custom" ? request.custom_aspect_ratio : place.aspect_ratio;
    const scale = namedModels.includes(model) ? (request.resolution_scale ?? 1.5) : 1;
    const size = resolutionFor(request.resolution, ratio, scale);
    const references = namedModels.includes(model) ? referencesOf(request) : {};
    const sceneStrength = references.in_this_scene ? references.in_this_scene_strength : undefined;
    const allLoras = [
      ...(request.loras ?? []),
      ...(sceneStrength ? [{ path: inThisScene, strength: sceneStrength }] : []),
    ];
    const tasks = request.prompts.flatMap((prompt, row) =>
      Array.from({ length: each }, (_, column) => ({
        task_type: taskType,
        params: present({
          task_id: newRun(taskType).readableId,
          model,
          prompt,
          resolution: size,
          seed: seedOfImage(request.seed, row * each + column),
          negative_prompt: request.negative_prompt ?? "",
          steps: request.steps ?? 12,
          additional_loras: loraMap(allLoras),
          add_in_position: false,
          shot_id: request.shot_id,
          ...references,
          ...hiresParams(request),
        }),
      })),
    );
    return { tasks, meta: { resolution: size, seeds: tasks.map(({ params }) => params["seed"]) } };
  },
});

function imagesOf(request: Pick<ImageGenerationInput, "imagesPerPrompt" | "images_per_prompt">): number {
  return request.imagesPerPrompt ?? request.images_per_prompt ?? 1;
}

function taskTypeOf({ model_name: model, style_reference_image: style }: ImageGenerationInput): string {
  if (model === "qwen-image") return style ? "qwen_image_style" : "qwen_image";
  if (model === "qwen-image-2512") return "qwen_image_2512";
  return model === "z-image" ? "z_image_turbo" : "wan_2_2_t2i";
}

interface References {
  in_this_scene?: boolean;
  in_this_scene_strength?: number;
}

/** The references, and what of their settings counts in this mode. */
function referencesOf(request: ImageGenerationInput): References {
  if (!request.style_reference_image) return {};
  return present({
    style_reference_image: request.style_reference_image,
    subject_reference_image: request.subject_reference_image ?? request.style_reference_image,
    ...settingsOf(request),
  });
}

function settingsOf(request: ImageGenerationInput): Record<string, unknown> {
  const description = request.subject_description?.trim() ? request.subject_description : undefined;
  switch (request.reference_mode) {
    case "style":
      return { style_reference_strength: request.style_reference_strength };
    case "subject":
      return { style_reference_strength: 1.1, subject_strength: 0.5, subject_description: description };
    case "style-character":
      return {
        style_reference_strength: request.style_reference_strength,
        subject_strength: request.subject_strength,
        subject_description: description,
      };
    case "scene":
      return { style_reference_strength: 1.1, ...sceneAt(usualSceneStrength) };
    default:
      return {
        style_reference_strength: request.style_reference_strength,
        subject_strength: request.subject_strength,
        subject_description: description,
        in_this_scene: request.in_this_scene,
        ...(request.in_this_scene && sceneAt(request.in_this_scene_strength ?? usualSceneStrength)),
        ...present({ scene_reference_strength: request.scene_reference_strength }),
      };
  }
}

function sceneAt(strength: number): Record<string, unknown> {
  return { in_this_scene: true, in_this_scene_strength: strength, scene_reference_strength: strength };
}
