import type { ClaimedTask, OutputFile } from "../../supabase/functions/_shared/worker/client.ts";
import {
  type Delegation,
  type Provider,
  type RenderedOutput,
  RenderError,
  type RunContext,
} from "../../supabase/functions/_shared/worker/provider.ts";
import {
  orchestrate,
  orchestratorTaskTypes,
} from "../../supabase/functions/_shared/worker/orchestration/orchestrate.ts";
import type { FilmCutter } from "../../supabase/functions/_shared/worker/orchestration/orchestration.ts";
import { outputOf } from "../../supabase/functions/_shared/worker/orchestration/task-output.ts";
import { number, text } from "../../supabase/functions/_shared/worker/orchestration/task-params.ts";
import { describePicture, pictureTaskTypes, pictureUrl } from "./description.ts";
import { describeFilm, filmTaskTypes, transitionText } from "./films.ts";
import { inputsOf } from "./inputs.ts";
import { emptyLora } from "./lora.ts";
import type { Drawing, RenderedPicture } from "./render.ts";
import { RenderThread, type SandboxSize } from "./render-thread.ts";

type Run = (
  task: ClaimedTask,
  context: RunContext,
  renderer: RenderThread,
) => Promise<RenderedOutput | Delegation>;

const runs: Record<string, Run> = {
  ...every(pictureTaskTypes, runPicture),
  ...every(filmTaskTypes, runFilm),
  ...every(orchestratorTaskTypes, runOrchestrator),
  extract_frame: runExtraction,
  lora_training: runTraining,
};

/** What the sandbox does. */
export const sandboxTaskTypes: readonly string[] = Object.keys(runs);

export interface SandboxOptions {
  /** The size of all pictures and films. Small ones take little time. Default: what each task asks for. */
  size?: SandboxSize;
}

/**
 * The sandbox: does every task type without a model, so that everything can be tried without a GPU. It draws pictures and
 * films from prompts and inputs, and plans orchestrations as GPU workers do.
 */
export function createSandboxProvider(options: SandboxOptions = {}): Provider & { close(): Promise<void> } {
  const renderer = new RenderThread(options);
  return {
    name: "sandbox",
    claimsAs: { provider: "sandbox" },
    taskTypes: sandboxTaskTypes,
    async run(task, context) {
      const run = runs[task.task_type];
      if (!run) throw new RenderError(`the sandbox knows no ${task.task_type}`, { isRetryable: true });
      return await run(task, context, renderer);
    },
    close: () => renderer.close(),
  };
}

async function runPicture(
  task: ClaimedTask,
  context: RunContext,
  renderer: RenderThread,
): Promise<RenderedOutput> {
  const { signal, progress } = context;
  progress(0.1, "sandbox: composing");
  const inputs = inputsOf(context);
  const given = {
    picture: await inputs.picture(pictureUrl(task.params)),
    mask: await inputs.picture(text(task.params["mask_url"])),
  };
  const picture = describePicture(task.task_type, task.params, given);
  signal.throwIfAborted();
  progress(0.4, "sandbox: drawing");
  const rendered = await renderer.render({ kind: "picture", picture }, signal);
  progress(0.9, "sandbox: storing");
  return pictureOutput(task, rendered);
}

async function runFilm(
  task: ClaimedTask,
  context: RunContext,
  renderer: RenderThread,
): Promise<RenderedOutput> {
  const { client, signal, progress } = context;
  progress(0.05, "sandbox: composing");
  const film = await describeFilm({ task, inputs: inputsOf(context), client });
  const rendered = await renderer.render({ kind: "film", film }, signal, (fraction) =>
    progress(0.1 + 0.8 * fraction, "sandbox: filming"),
  );
  progress(0.95, "sandbox: storing");
  const textOf = transitionText(task, rendered);
  return {
    file: mp4File(`${task.task_id}_sandbox.mp4`, rendered.mp4),
    thumbnail: thumbnailFile(task, rendered.thumbnail),
    ...(textOf && { textOf }),
  };
}

async function runExtraction(
  task: ClaimedTask,
  context: RunContext,
  renderer: RenderThread,
): Promise<RenderedOutput> {
  const id = text(task.params["input_video_task_id"]);
  if (!id) throw new RenderError("input_video_task_id is missing", { isRetryable: false });
  const clip = await inputsOf(context).clip(await outputOf(context.client, task, id));
  const frame: Drawing & { kind: "frame" } = {
    kind: "frame",
    clip,
    number: Math.trunc(number(task.params["frame_index"]) ?? 0),
  };
  return pictureOutput(task, await renderer.render(frame, context.signal));
}

async function runTraining(task: ClaimedTask): Promise<RenderedOutput> {
  const bytes = emptyLora(task.task_type);
  const contentType = "application/octet-stream";
  return { file: { bytes, filename: `${task.task_id}_sandbox.safetensors`, contentType } };
}

/** Reports no progress: a progress message tells the server that all children exist. */
async function runOrchestrator(
  task: ClaimedTask,
  context: RunContext,
  renderer: RenderThread,
): Promise<Delegation> {
  const { client, signal } = context;
  return await orchestrate({ task, client, signal, cutter: filmCutter(task, context, renderer) });
}

function filmCutter(task: ClaimedTask, context: RunContext, renderer: RenderThread): FilmCutter {
  return {
    async cut(source, frames, pieces) {
      const clip = await inputsOf(context).clip(source, frames);
      const urls: string[] = [];
      for (const [index, piece] of pieces.entries()) {
        const film = {
          taskType: task.task_type,
          title: `Part ${index + 1} of ${clip.name}`,
          seed: undefined,
          size: undefined,
          framesPerSecond: undefined,
          shots: [{ kind: "clip" as const, clip, ...piece, overlap: 0 }],
        };
        const { mp4 } = await renderer.render({ kind: "film", film }, context.signal);
        const file = mp4File(`${task.task_id}_part_${index}.mp4`, mp4);
        urls.push(await context.client.storeFile(task, file));
      }
      return urls;
    },
  };
}

function pictureOutput(task: ClaimedTask, { png, thumbnail }: RenderedPicture): RenderedOutput {
  return {
    file: { bytes: png, filename: `${task.task_id}_sandbox.png`, contentType: "image/png" },
    thumbnail: thumbnailFile(task, thumbnail),
  };
}

function thumbnailFile({ task_id }: ClaimedTask, bytes: Uint8Array): OutputFile {
  return { bytes, filename: `thumb_${task_id.slice(0, 8)}.png`, contentType: "image/png" };
}

function mp4File(filename: string, bytes: Uint8Array): OutputFile {
  return { bytes, filename, contentType: "video/mp4" };
}

function every(taskTypes: readonly string[], run: Run): Record<string, Run> {
  return Object.fromEntries(taskTypes.map((type) => [type, run]));
}
