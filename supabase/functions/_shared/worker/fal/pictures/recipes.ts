import type { FalRecipe } from "../recipe.ts";
import { pictureEdits } from "./edits.ts";
import { picturesFromText } from "./from-text.ts";
import { type Picture, pictureRecipe } from "./picture.ts";
import { trainingRecipe } from "./training.ts";
import { upscaleRecipe } from "./upscales.ts";

/** The task types whose pictures one endpoint makes. */
export const pictures: Record<string, Picture> = { ...picturesFromText, ...pictureEdits };

/** How FAL makes pictures, and what is made of pictures. `image-upscale` is another spelling of `image_upscale`. */
export const pictureRecipes: Record<string, FalRecipe> = {
  ...Object.fromEntries(Object.entries(pictures).map(([type, picture]) => [type, pictureRecipe(picture)])),
  image_upscale: upscaleRecipe,
  lora_training: trainingRecipe,
};
