import assert from "node:assert/strict";
import type { OutputFile } from "../../supabase/functions/_shared/worker/client.ts";
import type {
  FalJobResult,
  FalJobs,
  FalRequest,
} from "../../supabase/functions/_shared/worker/fal/recipe.ts";
import type { RenderedOutput } from "../../supabase/functions/_shared/worker/provider.ts";
import { filmOfFrames } from "./films-of-frames.ts";
import { png } from "./png.ts";

/** A film as a list of named frames, so that a test can say which frames a stitch shows. */
export interface NamedFilm {
  frames: string[];
  framesPerSecond: number;
  width: number;
  height: number;
}

/**
 * FAL's film tools, which cut, lay over, resize and lay films one after the other by their frames' times, as FFmpeg does. It stands
 * in for the jobs of a task.
 */
export class FalFilmTools implements FalJobs {
  readonly requests: FalRequest[] = [];
  readonly steps: number[] = [];
  readonly warnings: string[] = [];
  /** Films by address: those that the test has, uploads, and results. */
  readonly films = new Map<string, NamedFilm>();
  /** What the compose tool makes another film of, such as one of another rate. */
  composes: (film: NamedFilm) => NamedFilm = (film) => film;
  expected = 0;
  /** Films by the bytes that `fetch` gave of them. */
  readonly #names = new Map<string, NamedFilm>();

  /** Adds a film. @returns its address */
  add(name: string, count: number, { framesPerSecond = 16, width = 96, height = 64 } = {}): string {
    const url = `https://media.example/${name}.mp4`;
    const frames = Array.from({ length: count }, (_, index) => `${name}${index}`);
    this.films.set(url, { frames, framesPerSecond, width, height });
    return url;
  }

  async run(step: number, request: FalRequest): Promise<FalJobResult> {
    assert.ok(!this.steps.includes(step), `step ${step} is run once`);
    this.steps.push(step);
    this.requests.push(request);
    await Promise.resolve();
    const data = this.#make(request);
    return { requestId: `job-${step}`, data };
  }

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  expect(jobs: number): void {
    this.expected = jobs;
  }

  async fetch(url: string, medium: "image" | "video" | "weights", filename: string): Promise<OutputFile> {
    if (medium === "image")
      return { bytes: png({ width: 8, height: 8, colour: 0 }), filename, contentType: "image/png" };
    const film = this.#film(url);
    const bytes = await filmOfFrames({ ...film, frames: film.frames.length, title: url });
    this.#names.set(Buffer.from(bytes).toString("base64"), film);
    return { bytes, filename, contentType: "video/mp4" };
  }

  /** The frames of a file that was fetched. */
  framesOf({ bytes }: OutputFile): string[] {
    return this.#names.get(Buffer.from(bytes).toString("base64"))?.frames ?? [];
  }

  output(): Promise<RenderedOutput> {
    return Promise.reject(new Error("stitches read their results themselves"));
  }

  upload(bytes: Uint8Array): Promise<string> {
    const film = this.#names.get(Buffer.from(bytes).toString("base64"));
    if (!film) return Promise.reject(new Error("an unknown film is brought to FAL"));
    return Promise.resolve(this.#keep(film));
  }

  warn(message: string): void {
    this.warnings.push(message);
  }

  #make({ model, input }: FalRequest): unknown {
    switch (model) {
      case "fal-ai/workflow-utilities/trim-video": {
        const film = this.#film(input["video_url"]);
        const [start, end] = [Number(input["start_time"]), Number(input["end_time"])];
        const frames = film.frames.filter((_, index) => {
          const time = index / film.framesPerSecond;
          return time >= start && time < end;
        });
        return { video: { url: this.#keep({ ...film, frames }) } };
      }
      case "fal-ai/workflow-utilities/blend-video": {
        const [top, bottom] = [this.#film(input["top_video_url"]), this.#film(input["bottom_video_url"])];
        assert.deepEqual([top.width, top.height], [bottom.width, bottom.height], "films of one size");
        const length = Math.min(top.frames.length, bottom.frames.length);
        const frames = top.frames
          .slice(0, length)
          .map((frame, index) => `${bottom.frames[index]}+${frame}@${Number(input["opacity"]).toFixed(2)}`);
        return { video: { url: this.#keep({ ...bottom, frames }) } };
      }
      case "fal-ai/workflow-utilities/scale-video": {
        const [width, height] = [Number(input["width"]), Number(input["height"])];
        return { video: { url: this.#keep({ ...this.#film(input["video_url"]), width, height }) } };
      }
      case "fal-ai/ffmpeg-api/compose": {
        const [track] = input["tracks"] as { keyframes: Keyframe[] }[];
        const frames = (track?.keyframes ?? []).flatMap(({ url, duration }) => {
          const film = this.#film(url);
          return film.frames.filter((_, index) => (index / film.framesPerSecond) * 1000 < duration - 1);
        });
        const first = this.#film(track?.keyframes[0]?.url);
        const url = this.#keep(this.composes({ ...first, frames }));
        return { video_url: url, thumbnail_url: `${url}.png` };
      }
      case "fal-ai/ffmpeg-api/extract-frame":
        return { images: [{ url: `${String(input["video_url"])}.png` }] };
      default:
        throw new Error(`${model} is not a film tool`);
    }
  }

  #film(url: unknown): NamedFilm {
    const film = this.films.get(String(url));
    if (!film) throw new Error(`there is no film at ${String(url)}`);
    return film;
  }

  #keep(film: NamedFilm): string {
    const url = `https://v3.fal.media/files/${this.films.size}.mp4`;
    this.films.set(url, film);
    return url;
  }
}

interface Keyframe {
  url: string;
  timestamp: number;
  duration: number;
}
