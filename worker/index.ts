/** The worker as a library: give `createWorker` a client and providers that render. */
export {
  type ClaimedTask,
  type ClientOptions,
  DarkroomApiError,
  DarkroomClient,
  type HeartbeatAnswer,
  type HeartbeatReport,
  type OutputFile,
  type Run,
} from "./client.ts";
export { type Provider, type RenderedOutput, RenderError, type RunContext } from "./provider.ts";
export { createSandboxProvider } from "./sandbox/provider.ts";
export { createWorker, type Worker, type WorkerLog, type WorkerOptions } from "./worker.ts";
