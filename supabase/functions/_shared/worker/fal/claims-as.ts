import { falRouting, type FalVariables } from "../../providers/variables.ts";
import type { ClaimsAs } from "../provider.ts";

/** As what FAL's workers claim. A rule that is not set is the server's. */
export function falClaimsAs(variables: FalVariables): ClaimsAs {
  const { runs, afterSeconds } = falRouting(variables);
  return {
    provider: "fal",
    ...(runs && { falRuns: runs }),
    ...(afterSeconds !== undefined && { falAfterSeconds: afterSeconds }),
  };
}
