import type { Database } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";

/** Prompts of the ways from image to image; an empty one leaves what is there. */
export interface PairPrompts {
  enhanced: readonly string[] | undefined;
  pair: readonly string[] | undefined;
}

/** Writes them to a shot's images, in the order of its timeline. @throws AppError `shot_not_found` */
export async function updateShotPairPrompts(
  database: Pick<Database, "call">,
  caller: Caller,
  shotId: string,
  { enhanced, pair }: PairPrompts,
): Promise<Record<string, unknown>> {
  return await database.call("update_shot_pair_prompts", {
    for_user: forUser(caller),
    for_shot: shotId,
    enhanced_prompts: enhanced,
    pair_prompts: pair,
  });
}
