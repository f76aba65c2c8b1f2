import { endpointOf, pictureModel } from "../../../pictures/models.ts";
import { planSingleImage } from "../../../pictures/limits.ts";
import { numberOf, paramNames } from "../../../pictures/picture-params.ts";
import { BadParams, hasLoras, type Params, prompt, text } from "../params.ts";
import type { Picture } from "./picture.ts";

/** Pictures from a prompt. */
export const picturesFromText: Record<string, Picture> = {
  qwen_image: ofModel("qwen-image"),
  qwen_image_2512: ofModel("qwen-image-2512"),
  qwen_image_style: {
    endpoint(params) {
      if (references(params).length === 0) return "fal-ai/qwen-image";
      return hasLoras(params) ? "fal-ai/qwen-image-edit-2509-lora" : "fal-ai/qwen-image-edit-2509";
    },
    name: () => "qwen-image",
    sources: (params) => ({ images: references(params).map(({ name }) => [name]) }),
    prompt: styledPrompt,
    warnings: (params) =>
      strengths.flatMap((field) => {
        const strength = numberOf(params[field]);
        if (strength === undefined || strength <= 0 || strength === 1) return [];
        const message = `\`${field}\` is not used as a number: the reference is described in the prompt.`;
        return [{ code: "adjusted" as const, field, message }];
      }),
  },
  z_image_turbo: ofModel("z-image"),
  wan_2_2_t2i: {
    ...ofModel("wan-2.2"),
    warnings({ model_name, model }) {
      const named = model_name ?? model;
      const other = typeof named === "string" ? pictureModel(named) : undefined;
      if (!other || other === pictureModel("wan-2.2")) return [];
      const field = typeof model_name === "string" ? "model_name" : "model";
      const message = `\`${field}\` is not used: \`wan_2_2_t2i\` is run by wan-2.2. Create a \`single_image\` for ${named as string}.`;
      return [{ code: "not_supported", field, message }];
    },
  },
  single_image: {
    endpoint: (params) => planOf(params).endpoint,
    name: (params) => pictureModel(modelNamed(params))?.names[0] ?? "the model",
    sources: () => ({ images: [paramNames.image] }),
    warnings: (params) => planOf(params).warnings.filter(({ field }) => field === "model_type"),
  },
};

/** A type that one model runs, from text alone. */
function ofModel(name: string): Picture {
  const model = pictureModel(name);
  if (!model) throw new Error(`${name} is not among the models of pictures`);
  return {
    endpoint: (params) => endpointOf(model, { hasLoras: hasLoras(params), hasImage: false }),
    name: () => name,
  };
}

function planOf(params: Params) {
  const plan = planSingleImage(params);
  if (!plan) throw new BadParams([{ field: "model", message: `${modelNamed(params)} is not run at FAL` }]);
  return plan;
}

function modelNamed({ model_name, model, model_type }: Params): string {
  const named = [model_name, model, model_type].find((value) => typeof value === "string" && value !== "");
  return typeof named === "string" ? named : "optimised-t2i";
}

const strengths = ["style_reference_strength", "subject_strength", "scene_reference_strength"] as const;

/** The pictures that a style task names, and what each is for. */
function references(params: Params): { name: string; role: "style" | "subject" }[] {
  const isGiven = (name: string, strength: string) => {
    const given = params[strength];
    return (
      typeof params[name] === "string" && params[name] !== "" && !(typeof given === "number" && given <= 0)
    );
  };
  return [
    ...(isGiven("style_reference_image", "style_reference_strength")
      ? [{ name: "style_reference_image", role: "style" as const }]
      : []),
    ...(isGiven("subject_reference_image", "subject_strength") &&
    params["subject_reference_image"] !== params["style_reference_image"]
      ? [{ name: "subject_reference_image", role: "subject" as const }]
      : []),
  ];
}

/** The editor learns by words what each picture is for. */
function styledPrompt(params: Params): string {
  const wanted = prompt()(params);
  const described = text(["subject_description"])(params);
  const sentences = references(params).map(({ role }, index) => {
    const picture = `image ${index + 1}`;
    if (role === "style") return `Use the visual style of ${picture}, not what it shows.`;
    const subject = described ? `the subject of ${picture} (${described})` : `the subject of ${picture}`;
    return params["in_this_scene"] === true
      ? `Show ${subject}, in the scene of ${picture}.`
      : `Show ${subject}.`;
  });
  return [...sentences, wanted].join(" ");
}
