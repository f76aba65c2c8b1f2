import { filmRecipes } from "./films/recipes.ts";
import { singleJob } from "./mapping.ts";
import { mappings } from "./models.ts";
import { orchestratorRecipes } from "./orchestrators.ts";
import { pictureRecipes } from "./pictures/recipes.ts";
import type { FalRecipe } from "./recipe.ts";
import { stitchRecipes } from "./stitches/recipes.ts";

const singleJobs = Object.fromEntries(
  Object.entries(mappings).map(([type, mapping]) => [type, singleJob(mapping)]),
);

/** How FAL runs each task type that it can run. */
export const falRecipes: Record<string, FalRecipe> = {
  ...singleJobs,
  ...filmRecipes,
  ...stitchRecipes,
  ...orchestratorRecipes,
  ...pictureRecipes,
};

export const falTaskTypes: readonly string[] = Object.keys(falRecipes);
