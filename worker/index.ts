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
} from "../supabase/functions/_shared/worker/client.ts";
export { createFalProvider, type FalOptions } from "../supabase/functions/_shared/worker/fal/provider.ts";
export type {
  FalJobResult,
  FalJobs,
  FalRecipe,
  FalRequest,
} from "../supabase/functions/_shared/worker/fal/recipe.ts";
export {
  type Provider,
  ProviderUnusable,
  type RenderedOutput,
  RenderError,
  type RunContext,
  RunOver,
} from "../supabase/functions/_shared/worker/provider.ts";
export { createSandboxProvider } from "./sandbox/provider.ts";
export {
  createWorker,
  type Worker,
  type WorkerLog,
  type WorkerOptions,
} from "../supabase/functions/_shared/worker/worker.ts";
