import type { PictureEndpointId } from "../../../pictures/endpoints.ts";
import type { PictureWarning } from "../../../pictures/limits.ts";
import { paramNames } from "../../../pictures/picture-params.ts";
import { hasLoras, type Params, prompt } from "../params.ts";
import type { Picture } from "./picture.ts";

const image = paramNames.image;
const optionalPrompt = prompt({ isOptional: true });

/** Pictures from a picture. */
export const pictureEdits: Record<string, Picture> = {
  qwen_image_edit: qwenEdit("qwen-edit"),
  image_edit: qwenEdit("qwen-edit-2509"),
  magic_edit: qwenEdit("qwen-edit-2509"),
  image_inpaint: {
    endpoint: () => "fal-ai/qwen-image-edit/inpaint",
    name: () => "qwen-image-edit",
    sources: () => ({ images: [image], mask: ["mask_url"] }),
    prompt: optionalPrompt,
    warnings: (params) => ofOtherEditor(params, ["qwen-edit"]),
  },
  annotated_image_edit: {
    // Only these take several pictures, and the annotations are one.
    endpoint: (params) =>
      qwenEditor(
        params["qwen_edit_model"] === "qwen-edit-2511" ? "qwen-edit-2511" : "qwen-edit-2509",
        params,
      ),
    name: () => "qwen-image-edit",
    sources: () => ({ images: [image, ["mask_url"]] }),
    prompt: optionalPrompt,
    warnings: (params) => ofOtherEditor(params, ["qwen-edit-2509", "qwen-edit-2511"]),
  },
  z_image_turbo_i2i: {
    endpoint: (params) =>
      hasLoras(params) ? "fal-ai/z-image/turbo/image-to-image/lora" : "fal-ai/z-image/turbo/image-to-image",
    name: () => "z-image",
    sources: () => ({ images: [image] }),
    prompt: optionalPrompt,
  },
  edit_travel_kontext: {
    endpoint: () => "fal-ai/flux-pro/kontext",
    name: () => "kontext",
    sources: () => ({ images: [image] }),
  },
  edit_travel_flux: {
    // With or without LoRAs: it takes a size, which `fal-ai/flux/dev/image-to-image` does not.
    endpoint: () => "fal-ai/flux-lora/image-to-image",
    name: () => "flux-dev",
    sources: () => ({ images: [image] }),
  },
};

type QwenEditModel = "qwen-edit" | "qwen-edit-2509" | "qwen-edit-2511";

const qwenEditors: Record<QwenEditModel, [PictureEndpointId, withLoras: PictureEndpointId]> = {
  "qwen-edit": ["fal-ai/qwen-image-edit", "fal-ai/qwen-image-edit-lora"],
  "qwen-edit-2509": ["fal-ai/qwen-image-edit-2509", "fal-ai/qwen-image-edit-2509-lora"],
  "qwen-edit-2511": ["fal-ai/qwen-image-edit-2511", "fal-ai/qwen-image-edit-2511/lora"],
};

function qwenEditor(model: QwenEditModel, params: Params): PictureEndpointId {
  return qwenEditors[model][hasLoras(params) ? 1 : 0];
}

/** An editor that is named and does not run: `usual` runs, or the first of those that can. */
function ofOtherEditor(
  { qwen_edit_model: named }: Params,
  editors: readonly QwenEditModel[],
  usual = editors[0],
): PictureWarning[] {
  if (typeof named !== "string" || named === "" || (editors as readonly string[]).includes(named)) return [];
  const message = `\`qwen_edit_model\` is ${usual} instead of ${named.slice(0, 100)}, which does not run here.`;
  return [{ code: "adjusted", field: "qwen_edit_model", message }];
}

/** An edit by words; `usual` is the editor where `qwen_edit_model` names none. */
function qwenEdit(usual: QwenEditModel): Picture {
  const modelOf = ({ qwen_edit_model: named }: Params): QwenEditModel =>
    typeof named === "string" && Object.hasOwn(qwenEditors, named) ? (named as QwenEditModel) : usual;
  return {
    endpoint: (params) => qwenEditor(modelOf(params), params),
    name: modelOf,
    sources: () => ({ images: [image] }),
    prompt(params) {
      const wanted = optionalPrompt(params);
      return params["in_scene"] === true ? `Keep the scene of the picture. ${wanted}` : wanted;
    },
    warnings(params) {
      const message = "`in_scene` is described in the prompt: its LoRA is not loaded.";
      return [
        ...(params["in_scene"] === true ? [{ code: "adjusted" as const, field: "in_scene", message }] : []),
        ...ofOtherEditor(params, Object.keys(qwenEditors) as QwenEditModel[], usual),
      ];
    },
  };
}
