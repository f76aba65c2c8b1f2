import { Worker as Thread } from "node:worker_threads";
import { RenderError } from "../../supabase/functions/_shared/worker/provider.ts";
import type { Drawing, Rendered, RenderOrder, RenderReply } from "./render.ts";

/** No drawing takes as long: a thread that does hangs, and is ended. */
const longestRenderMilliseconds = 5 * 60_000;
/** A thread that needs more ends alone; without a limit it would take the process along. */
const mostHeapMegabytes = 1024;

export interface SandboxSize {
  width: number;
  height: number;
}

/** One thread that draws, one thing after the other: drawing must not hold up the process it is part of. */
export class RenderThread {
  readonly #size: SandboxSize | undefined;
  #thread: Thread | undefined;
  #last: Promise<unknown> = Promise.resolve();

  /** `size`: that of all pictures and films; default: what each asks for. */
  constructor({ size }: { size?: SandboxSize } = {}) {
    this.#size = size;
  }

  /** `progress` goes from 0 to 1. @throws RenderError when it cannot be drawn; the signal's reason when it is aborted */
  render<Kind extends Drawing["kind"]>(
    drawing: Drawing & { kind: Kind },
    signal: AbortSignal,
    progress: (fraction: number) => void = () => undefined,
  ): Promise<Rendered[Kind]> {
    const rendered = this.#last.then(() => this.#renderNext(drawing, signal, progress));
    this.#last = rendered.catch(() => undefined);
    return rendered as Promise<Rendered[Kind]>;
  }

  async close(): Promise<void> {
    await this.#thread?.terminate();
    this.#thread = undefined;
  }

  #sized(drawing: Drawing): Drawing {
    const size = this.#size;
    if (!size || drawing.kind === "frame") return drawing;
    if (drawing.kind === "picture") return { ...drawing, picture: { ...drawing.picture, ...size } };
    return { ...drawing, film: { ...drawing.film, size } };
  }

  async #renderNext(
    drawing: Drawing,
    signal: AbortSignal,
    progress: (fraction: number) => void,
  ): Promise<Rendered[keyof Rendered]> {
    signal.throwIfAborted();
    const thread = (this.#thread ??= this.#start());
    const cancelled = new Int32Array(new SharedArrayBuffer(4));
    const cancel = (): void => void Atomics.store(cancelled, 0, 1);
    signal.addEventListener("abort", cancel);
    const limit = setTimeout(() => void this.close(), longestRenderMilliseconds);
    let stopListening = (): void => undefined;
    try {
      return await new Promise((resolve, reject) => {
        const hear = (reply: RenderReply): void => {
          if ("progress" in reply) progress(reply.progress);
          else if ("rendered" in reply) resolve(reply.rendered);
          else if (reply.isCancelled) reject(signal.reason as Error);
          else reject(new RenderError(reply.failed, { isRetryable: false }));
        };
        // It may have died of what was drawn before, so another try is allowed.
        const die = (error: unknown): void => {
          this.#thread = undefined;
          reject(error instanceof Error ? error : new Error("the render thread ended"));
        };
        thread.on("message", hear).on("error", die).on("exit", die);
        stopListening = () => void thread.off("message", hear).off("error", die).off("exit", die);
        thread.postMessage({ drawing: this.#sized(drawing), cancelled } satisfies RenderOrder);
      });
    } finally {
      clearTimeout(limit);
      signal.removeEventListener("abort", cancel);
      stopListening();
    }
  }

  #start(): Thread {
    const thread = new Thread(new URL("./thread-entry.mjs", import.meta.url), {
      resourceLimits: { maxOldGenerationSizeMb: mostHeapMegabytes },
    });
    // Idle, it is no reason for the process to stay.
    thread.unref();
    return thread;
  }
}
