/** What an operator sets for FAL; `.env.example` and docs/fal.md say what each is for. */
export const falVariables = [
  "FAL_KEY",
  "FAL_QUEUE_URL",
  "FAL_REST_URL",
  "FAL_JWKS_URL",
  "FAL_WEBHOOK",
  "FAL_CONCURRENCY",
  "FAL_RUN_SECONDS",
  "DARKROOM_FAL_RUNS",
  "DARKROOM_FAL_AFTER_SECONDS",
] as const;

export type FalVariable = (typeof falVariables)[number];
export type FalVariables = Partial<Record<FalVariable, string | undefined>>;

/** The variables as the environment has them; what is set to nothing is not set. */
export function readFalVariables(valueOf: (name: string) => string | undefined): FalVariables {
  return Object.fromEntries(falVariables.map((name) => [name, valueOf(name)?.trim() || undefined]));
}

/** Which tasks FAL takes of those that own workers could run: those that no active one can take, all, or none. */
export const falRules = ["missing", "all", "none"] as const;
export type FalRule = (typeof falRules)[number];

/** The rule by which FAL takes tasks; what is undefined is left to the database's settings. */
export interface FalRouting {
  runs: FalRule | undefined;
  /** How long a task waits for an own worker before FAL may take it. */
  afterSeconds: number | undefined;
}

/** The longest wait for an own worker that can be set, in seconds: a week. */
export const longestFalWait = 604_800;

/** @throws when a variable is set to something else than it takes */
export function falRouting(variables: FalVariables): FalRouting {
  const { DARKROOM_FAL_RUNS: given, DARKROOM_FAL_AFTER_SECONDS: after } = variables;
  const runs = falRules.find((rule) => rule === given?.toLowerCase());
  if (given !== undefined && runs === undefined)
    throw new Error(`DARKROOM_FAL_RUNS must be missing, all or none, not "${given}".`);
  if (after !== undefined && (!/^\d{1,6}$/.test(after) || Number(after) > longestFalWait))
    throw new Error(`DARKROOM_FAL_AFTER_SECONDS must be between 0 and ${longestFalWait}, not "${after}".`);
  return { runs, afterSeconds: after === undefined ? undefined : Number(after) };
}

export const falAddresses = {
  queue: "https://queue.fal.run",
  rest: "https://rest.fal.ai",
  jwks: "https://rest.fal.ai/.well-known/jwks.json",
};

/** Where files of results may be although it is plain http or private: a stand-in for FAL that the operator named. */
export function trustedFalOrigins({ FAL_QUEUE_URL, FAL_REST_URL }: FalVariables): string[] {
  return [FAL_QUEUE_URL, FAL_REST_URL].flatMap((url) => (url ? [new URL(url).origin] : []));
}
