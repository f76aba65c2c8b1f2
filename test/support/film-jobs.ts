import { readFilm, writeMp4 } from "../../worker/sandbox/mp4.ts";
import type { ClaimedTask, OutputFile } from "../../supabase/functions/_shared/worker/client.ts";
import type { RenderedOutput, RunContext } from "../../supabase/functions/_shared/worker/provider.ts";
import type {
  FalJobResult,
  FalJobs,
  FalRequest,
} from "../../supabase/functions/_shared/worker/fal/recipe.ts";
import { film } from "./film.ts";

/** A film as a number of equal frames. */
export interface PlainFilm {
  frames: number;
  framesPerSecond: number;
  width: number;
  height: number;
}

/** A film of so many frames; each is a frame of the smallest one, said to have the size. */
export async function filmOf({ frames, framesPerSecond, width, height }: PlainFilm): Promise<Uint8Array> {
  const stored = await readFilm(film(), 1);
  const [packet] = stored?.packets ?? [];
  if (!stored || !packet) throw new Error("the smallest film cannot be read");
  const packets = Array.from({ length: frames }, () => ({ ...packet, isKey: true }));
  const tags = { title: "", artist: "", comment: "" };
  return await writeMp4({ ...stored, width, height, framesPerSecond, packets }, tags);
}

/** What the endpoints make of a film or of frames: as long, as fast and as large as their documentation says. */
type Make = (input: Record<string, unknown>, filmAt: (url: unknown) => PlainFilm) => PlainFilm | undefined;

const sizes: Record<string, { width: number; height: number }> = {
  "480p": { width: 832, height: 480 },
  "580p": { width: 1008, height: 576 },
  "720p": { width: 1280, height: 720 },
};
const sizeOf = (name: unknown) => sizes[String(name)] ?? { width: 1280, height: 720 };
const numberOf = (value: unknown): number => Number(value);

const makes: Record<string, Make> = {
  "fal-ai/wan/v2.2-a14b/image-to-video/lora": (input) => ({
    frames: (numberOf(input["num_frames"]) - 1) * (numberOf(input["num_interpolated_frames"]) + 1) + 1,
    framesPerSecond: numberOf(input["frames_per_second"]),
    ...sizeOf(input["resolution"]),
  }),
  "fal-ai/wan/v2.2-a14b/image-to-video/turbo": (input) => ({
    frames: 81,
    framesPerSecond: 16,
    ...sizeOf(input["resolution"]),
  }),
  "fal-ai/rife": (input) => ({
    frames: numberOf(input["num_frames"]) + 2,
    framesPerSecond: numberOf(input["fps"]),
    width: 640,
    height: 480,
  }),
  "fal-ai/workflow-utilities/trim-video": (input, filmAt) => {
    const source = filmAt(input["video_url"]);
    const [start, end] = [numberOf(input["start_time"]), numberOf(input["end_time"])];
    const isShown = (index: number): boolean => {
      const time = index / source.framesPerSecond;
      return time >= start && time < end;
    };
    return {
      ...source,
      frames: Array.from({ length: source.frames }, (_, index) => index).filter(isShown).length,
    };
  },
  "fal-ai/workflow-utilities/scale-video": (input, filmAt) => ({
    ...filmAt(input["video_url"]),
    width: numberOf(input["width"]),
    height: numberOf(input["height"]),
  }),
  "fal-ai/ffmpeg-api/merge-videos": (input, filmAt) => {
    const films = (input["video_urls"] as string[]).map(filmAt);
    const [first] = films;
    const rate = numberOf(input["target_fps"]);
    if (!first) throw new Error("nothing to merge");
    if (films.some(({ width, height }) => width !== first.width || height !== first.height)) {
      throw new Error("merged films have one size");
    }
    const frames = films.reduce((sum, film) => sum + (film.frames * rate) / film.framesPerSecond, 0);
    return { ...first, framesPerSecond: rate, frames: Math.round(frames) };
  },
  "fal-ai/film/video": (input, filmAt) => {
    const source = filmAt(input["video_url"]);
    const times = numberOf(input["num_frames"]) + 1;
    const frames = (source.frames - 1) * times + 1;
    return { ...source, frames, framesPerSecond: source.framesPerSecond * times };
  },
  "fal-ai/flashvsr/upscale/video": (input, filmAt) => {
    const source = filmAt(input["video_url"]);
    const times = numberOf(input["upscale_factor"]);
    return { ...source, width: source.width * times, height: source.height * times };
  },
};

/** FAL as a recipe sees it, without a network: keeps every request, and makes films of the length that was asked for. */
export class FilmJobs implements FalJobs {
  readonly requests = new Map<number, FalRequest>();
  readonly warnings: string[] = [];
  /** Films by address: those that a task names, and those that jobs made. */
  readonly films = new Map<string, PlainFilm>();
  uploads = 0;
  /** What a job makes instead. */
  change: (model: string, film: PlainFilm) => PlainFilm = (_, made) => made;

  async run(step: number, request: FalRequest): Promise<FalJobResult> {
    if (this.requests.has(step)) throw new Error(`step ${step} was run before`);
    this.requests.set(step, request);
    const url = `https://fal.example/${step}`;
    const made = makes[request.model]?.(request.input, (address) => this.#filmAt(address));
    if (!made) return { requestId: url, data: { images: [{ url }], image: { url } } };
    this.films.set(url, this.change(request.model, made));
    return { requestId: url, data: { video: { url }, seed: 7 } };
  }

  async prepare(): Promise<void> {}

  expect(): void {}

  async fetch(url: string, _medium: string, filename: string): Promise<OutputFile> {
    return { bytes: await filmOf(this.#filmAt(url)), contentType: "video/mp4", filename };
  }

  async output(): Promise<RenderedOutput> {
    return { file: { bytes: new Uint8Array(1), contentType: "image/png", filename: "a.png" } };
  }

  async upload(): Promise<string> {
    this.uploads += 1;
    const url = `https://fal.example/upload-${this.uploads}`;
    const source = [...this.sources.values()][this.uploads - 1];
    if (source) this.films.set(url, source);
    return url;
  }

  warn(message: string): void {
    this.warnings.push(message);
  }

  /** Films in Darkroom's storage, in the order in which they are read. */
  readonly sources = new Map<string, PlainFilm>();

  /** What a run is given besides: the storage, and what the task before it made. */
  context(predecessor: string | null = null): RunContext {
    const client = {
      predecessorOutput: async () => predecessor,
      readMedia: async (url: string) => {
        const source = this.sources.get(url);
        return source && (await filmOf(source));
      },
    } as unknown as RunContext["client"];
    return {
      client,
      signal: new AbortController().signal,
      progress: () => undefined,
      log: { warn: () => undefined },
      noteJob: async () => undefined,
    };
  }

  /** Requests by step, as they would be submitted. */
  submitted(): [step: number, model: string, input: Record<string, unknown>][] {
    const steps = [...this.requests.entries()].toSorted(([one], [other]) => one - other);
    return steps.map(([step, { model, input }]) => [step, model, input]);
  }

  #filmAt(url: unknown): PlainFilm {
    const found = this.films.get(String(url)) ?? this.sources.get(String(url));
    if (!found) throw new Error(`there is no film at ${String(url)}`);
    return found;
  }
}

/** A claimed task, as far as a recipe looks at it. */
export function claimed(
  taskType: string,
  params: Record<string, unknown>,
  billed?: ClaimedTask["billed"],
): ClaimedTask {
  return {
    task_id: "11111111-1111-4111-8111-111111111111",
    task_type: taskType,
    project_id: "22222222-2222-4222-8222-222222222222",
    params,
    attempt: 1,
    attempts: 0,
    lease_expires_at: "2030-01-01T00:00:00Z",
    ...(billed && { billed }),
  };
}
