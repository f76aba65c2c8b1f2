import type { PictureWarning } from "../../../pictures/limits.ts";
import { flatParams, onlyOnGpu, paramOf, paramNames } from "../../../pictures/picture-params.ts";
import { boundUpscale } from "../paid-inputs.ts";
import { choice, file, inputOf, number, type Params } from "../params.ts";
import type { FalRecipe, FalRequest } from "../recipe.ts";

const model = "fal-ai/esrgan";
const formats = ["jpeg", "png"];
const networks = [
  "RealESRGAN_x4plus",
  "RealESRGAN_x2plus",
  "RealESRGAN_x4plus_anime_6B",
  "RealESRGAN_x4_v3",
  "RealESRGAN_x4_wdn_v3",
  "RealESRGAN_x4_anime_v3",
];
const networkNames = ["upscale_model", "model_name", "model"];

/** What is asked of FAL for an upscale. @throws BadParams */
export function upscaleRequest(params: Params): { request: FalRequest; warnings: PictureWarning[] } {
  const asked = flatParams(params);
  const read = inputOf(
    {
      image_url: file(["image", "image_url"], "image"),
      // As the price has it where nothing is said; never the model's own default.
      scale: (of) => number(["scale_factor", "upscale_factor", "scale"], { least: 1, most: 8 })(of) ?? 2,
      output_format: (of) => choice(["output_format"], formats)(of) ?? jpegOf(of),
      model: choice(networkNames, networks),
    },
    asked,
  );
  const request: FalRequest = { model, ...read, units: {} };
  boundUpscale(request);
  return { request, warnings: warningsOf(asked, request.input) };
}

export const upscaleRecipe: FalRecipe = async ({ params }, jobs) => {
  const { request, warnings } = upscaleRequest(params);
  for (const { message } of warnings) jobs.warn(message);
  const { data } = await jobs.run(0, { ...request, completes: warnings.length === 0 });
  return await jobs.output(data);
};

function jpegOf({ output_format: asked }: Params): "jpeg" | undefined {
  return asked === "jpg" ? "jpeg" : undefined;
}

function warningsOf(asked: Params, input: Record<string, unknown>): PictureWarning[] {
  const format = paramOf(asked, paramNames.output_format);
  const network = paramOf(asked, networkNames);
  return [
    ...(format.value !== undefined && input["output_format"] === undefined
      ? [adjusted("output_format", "is png: ESRGAN makes jpeg or png")]
      : []),
    ...(network.value !== undefined && input["model"] === undefined
      ? [adjusted(network.field, `is not used: ESRGAN has ${networks.join(", ")}`)]
      : []),
    ...onlyOnGpu(asked).map((field) => adjusted(field, "is not used: it is for GPU workers")),
  ];
}

function adjusted(field: string, reason: string): PictureWarning {
  return { code: "adjusted", field, message: `\`${field}\` ${reason}.` };
}
