/** The worker as a library: give `createWorker` a client and providers that render. */
export {
  type ClaimedTask,
  type ClientOptions,
  DarkroomApiError,
  DarkroomClient,
  type HeartbeatAnswer,
  type HeartbeatReport,
  type OutputFacts,
  type OutputFile,
  type ProviderJob,
  type ProviderJobNote,
  type Run,
} from "./client.ts";
export { createFalProvider, type FalOptions } from "./fal/provider.ts";
export type { FalJobResult, FalJobs, FalRecipe, FalRequest } from "./fal/recipe.ts";
export {
  type Provider,
  ProviderUnusable,
  type RenderedOutput,
  RenderError,
  type RunContext,
  RunOver,
} from "./provider.ts";
export { createSandboxProvider } from "./sandbox/provider.ts";
export { createWorker, type Worker, type WorkerLog, type WorkerOptions } from "./worker.ts";
