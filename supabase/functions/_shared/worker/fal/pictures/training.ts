import { zipSync, type Zippable } from "fflate";
import { flatParams, numberOf, paramOf } from "../../../pictures/picture-params.ts";
import { pictureModel } from "../../../pictures/models.ts";
import { RenderError } from "../../provider.ts";
import {
  type Archive,
  BadParams,
  type FileContent,
  type FileInput,
  flag,
  inputOf,
  number,
  type Params,
  text,
} from "../params.ts";
import type { FalRecipe, FalRequest } from "../recipe.ts";

const model = "fal-ai/flux-lora-fast-training";
/** What the price is for. */
const paidSteps = 1000;
const stepNames = ["steps", "training_steps", "num_steps"];
const archiveNames = ["images_data_url", "training_data_url", "dataset_url"];
const imageNames = ["images", "image_urls", "training_images"];
const mostImages = 100;
const fewImages = 4;
const mostArchiveBytes = 64 * 1024 * 1024;
const longestCaption = 2_000;
/** Settings of other trainers, which this one does not have. */
const otherSettings = ["learning_rate", "lora_rank", "rank", "batch_size", "resolution"];

interface TrainingImage {
  url: string;
  caption: string | undefined;
}

/** What is asked of FAL for a training. @throws BadParams with everything that is wrong */
export function trainingRequest(params: Params): { request: FalRequest; warnings: string[] } {
  const asked = flatParams(params);
  const { field: baseField, value: base } = paramOf(asked, ["base_model", "model_name", "model"]);
  if (base !== undefined && (typeof base !== "string" || pictureModel(base) !== pictureModel("flux-dev"))) {
    throw new BadParams([{ field: baseField, message: "must be flux-dev: FAL trains LoRAs of Flux" }]);
  }
  const { input, files } = inputOf(
    {
      steps: (of) =>
        number(stepNames, { least: 1, most: paidSteps, isWhole: true, isClamped: true })(of) ?? paidSteps,
      trigger_word: text(["trigger_word", "trigger_phrase"]),
      is_style: flag(["is_style"]),
      create_masks: flag(["create_masks"]),
    },
    asked,
  );
  const { field: archiveField, value: archiveUrl } = paramOf(asked, archiveNames);
  const archive = typeof archiveUrl === "string" ? archiveUrl : undefined;
  const images = archive === undefined ? imagesOf(asked) : [];
  const place = (url: string) => (input["images_data_url"] = url);
  if (archive === undefined) {
    input["images_data_url"] = "";
    // The address of the archive at FAL does not say what it is.
    input["data_archive_format"] = "zip";
    files.push({ field: "images", url: "", medium: "image", place, archive: archiveOf(images) });
  } else {
    input["images_data_url"] = archive;
    // Only checked by its address: FAL fetches it, as it fetches weights.
    files.push({ field: archiveField, url: archive, medium: "weights", place });
  }
  const steps = numberOf(paramOf(asked, stepNames).value);
  return {
    request: { model, input, files, units: { training_steps: Number(input["steps"]) } },
    warnings: [
      ...(steps !== undefined && steps > paidSteps
        ? [`\`steps\` is ${paidSteps} instead of ${steps}: the price is for ${paidSteps} steps.`]
        : []),
      ...(archive === undefined && images.length < fewImages
        ? [`A training of ${images.length} images gives a weak LoRA: send ${fewImages} or more.`]
        : []),
      ...otherSettings
        .filter((name) => asked[name] !== undefined)
        .map((name) => `\`${name}\` is not used: the trainer of Flux has no such setting.`),
    ],
  };
}

/** A LoRA of Flux: its safetensors file is the output. */
export const trainingRecipe: FalRecipe = async ({ task_id, params }, jobs) => {
  const { request, warnings } = trainingRequest(params);
  for (const warning of warnings) jobs.warn(warning);
  const { data } = await jobs.run(0, request);
  const url = urlOf(data);
  if (url === undefined) {
    throw new RenderError("FAL's result has no weights", { isRetryable: false, endsJob: true });
  }
  return { file: await jobs.fetch(url, "weights", `${task_id}_lora.safetensors`) };
};

function urlOf(data: unknown): string | undefined {
  const { diffusers_lora_file: file } = fieldsOf(data);
  const { url } = fieldsOf(file);
  return typeof url === "string" && url !== "" ? url : undefined;
}

/** The images of a list, each an address or `{url, caption}`. @throws BadParams */
function imagesOf(asked: Params): TrainingImage[] {
  const { field, value } = paramOf(asked, imageNames);
  const list = Array.isArray(value) ? (value as unknown[]) : [];
  if (list.length === 0 || list.length > mostImages) {
    throw new BadParams([{ field, message: `must be a list of 1 to ${mostImages} images` }]);
  }
  return list.map((item) => {
    const { url, image_url, caption } = typeof item === "string" ? { url: item } : fieldsOf(item);
    const address = url ?? image_url;
    if (typeof address !== "string" || address === "") {
      throw new BadParams([{ field, message: "must have an address for each image" }]);
    }
    const described = typeof caption === "string" && caption.trim() !== "";
    return { url: address, caption: described ? caption.slice(0, longestCaption) : undefined };
  });
}

/** A zip in which each image has a number, and its caption is a text beside it. */
function archiveOf(images: readonly TrainingImage[]): Archive {
  return {
    parts: images.map(({ url }): Pick<FileInput, "field" | "url" | "medium"> => ({
      field: "images",
      url,
      medium: "image",
    })),
    mostBytes: mostArchiveBytes,
    pack(parts): FileContent {
      const entries: Zippable = {};
      for (const [index, { bytes, contentType }] of parts.entries()) {
        const name = String(index + 1).padStart(3, "0");
        const extension = extensions[contentType];
        if (extension === undefined) {
          throw new RenderError(`images: image ${index + 1} is not PNG, JPEG or WebP`, {
            isRetryable: false,
          });
        }
        entries[`${name}.${extension}`] = bytes;
        const caption = images[index]?.caption;
        if (caption !== undefined) entries[`${name}.txt`] = new TextEncoder().encode(caption);
      }
      // Images are compressed already.
      return { bytes: zipSync(entries, { level: 0 }), contentType: "application/zip" };
    },
  };
}

const extensions: Record<string, string> = {
  "image/png": "png",
  "image/jpeg": "jpg",
  "image/webp": "webp",
};

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
