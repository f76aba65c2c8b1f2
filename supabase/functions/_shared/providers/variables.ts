/** What an operator sets for FAL; `.env.example` and docs/fal.md say what each is for. */
export const falVariables = [
  "FAL_KEY",
  "FAL_QUEUE_URL",
  "FAL_REST_URL",
  "FAL_JWKS_URL",
  "FAL_WEBHOOK",
  "FAL_CONCURRENCY",
  "FAL_RUN_SECONDS",
] as const;

export type FalVariable = (typeof falVariables)[number];
export type FalVariables = Partial<Record<FalVariable, string | undefined>>;

/** The variables as the environment has them; what is set to nothing is not set. */
export function readFalVariables(valueOf: (name: string) => string | undefined): FalVariables {
  return Object.fromEntries(falVariables.map((name) => [name, valueOf(name)?.trim() || undefined]));
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
