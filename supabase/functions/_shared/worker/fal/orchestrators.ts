import { orchestrate, orchestratorTaskTypes } from "../orchestration/orchestrate.ts";
import type { FalRecipe } from "./recipe.ts";
import { falFilmCutter } from "./stitches/film-cutter.ts";

/** Plans the children as every provider does; FAL cuts the film that an edit is made of. */
const planChildren: FalRecipe = async (task, jobs, context) => {
  const { client, signal } = context;
  return await orchestrate({ task, client, signal, cutter: falFilmCutter(task, jobs, context) });
};

/** The orchestrators. Only the edit of a film has jobs of its own. */
export const orchestratorRecipes: Record<string, FalRecipe> = Object.fromEntries(
  orchestratorTaskTypes.map((type) => [type, planChildren]),
);
