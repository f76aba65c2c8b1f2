import { Worker as Thread } from "node:worker_threads";
import type { Provider } from "../provider.ts";
import { describePicture, type PictureDescription, pictureTaskTypes } from "./description.ts";
import type { RenderedPicture } from "./render.ts";

/** The sandbox: draws pictures from prompts without a model, so that everything can be tried without a GPU. */
export function createSandboxProvider(): Provider & { close(): Promise<void> } {
  const renderer = new RenderThread();
  return {
    name: "sandbox",
    taskTypes: pictureTaskTypes,
    async run(task, { signal, progress }) {
      progress(0.1, "sandbox: composing");
      const picture = describePicture(task.task_type, task.params);
      signal.throwIfAborted();
      progress(0.4, "sandbox: drawing");
      const { png, thumbnail } = await renderer.render(picture);
      progress(0.9, "sandbox: storing");
      return {
        file: { bytes: png, filename: `${task.task_id}_sandbox.png`, contentType: "image/png" },
        thumbnail: {
          bytes: thumbnail,
          filename: `thumb_${task.task_id.slice(0, 8)}.png`,
          contentType: "image/png",
        },
      };
    },
    close: () => renderer.close(),
  };
}

/** One thread that draws, one picture after the other: drawing must not hold up the process it is part of. */
class RenderThread {
  #thread: Thread | undefined;
  #last: Promise<unknown> = Promise.resolve();

  render(picture: PictureDescription): Promise<RenderedPicture> {
    const rendered = this.#last.then(() => this.#renderNext(picture));
    this.#last = rendered.catch(() => undefined);
    return rendered;
  }

  async close(): Promise<void> {
    await this.#thread?.terminate();
    this.#thread = undefined;
  }

  async #renderNext(picture: PictureDescription): Promise<RenderedPicture> {
    const thread = (this.#thread ??= this.#start());
    return await new Promise((resolve, reject) => {
      const settle = () => thread.removeAllListeners("message").removeAllListeners("error");
      thread.once("message", (rendered: RenderedPicture) => {
        settle();
        resolve(rendered);
      });
      thread.once("error", (error) => {
        settle();
        this.#thread = undefined;
        reject(error);
      });
      thread.postMessage(picture);
    });
  }

  #start(): Thread {
    const thread = new Thread(new URL("./render-thread.mjs", import.meta.url));
    // Idle, it is no reason for the process to stay.
    thread.unref();
    return thread;
  }
}
