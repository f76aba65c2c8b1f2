import type { FrameSize } from "../../../media/picture-size.ts";
import type { ClaimedTask, OutputFile } from "../../client.ts";
import type { Stitch } from "../../orchestration/stitch.ts";
import { type RenderedOutput, RenderError, type RunContext } from "../../provider.ts";
import { type FalJobs, type FalRequest, mostSteps } from "../recipe.ts";
import {
  blendRequest,
  composeRequest,
  filmOf,
  scaleRequest,
  thumbnailOf,
  type TimelinePart,
  trimRequest,
} from "./film-tools.ts";
import { type FilmFacts, type MeasuredFilm, measureFilm, readFilm } from "./measure-film.ts";
import { type ClipFrames, jobsOf, needsTrim, partsOf, type StitchParts } from "./stitch-parts.ts";

export interface StitchOptions {
  /** Default: the size of the first clip. */
  size?: FrameSize | undefined;
  /** How much larger the film becomes at the end. Default: 1. */
  scale?: number;
}

/** A clip at FAL. */
interface Clip {
  url: string;
  /** For warnings. */
  name: string;
  facts: FilmFacts;
}

/** A part of the film, as a file at FAL. */
interface StitchedPart extends TimelinePart {
  /** Whether the file has further frames, which are not part of the film. */
  goesOn: boolean;
}

/** Opacities in which a clip fades in. */
const mostFadeSteps = 3;
/** Jobs of a film with fades. Each is billed for five seconds at least, and more would cost more than a stitch is sold for. */
const mostFadeJobs = 30;
const longestSide = 4096;
/** Clips and transitions of the largest orchestration, and their bytes together. */
const mostClips = 401;
const mostBytes = 1024 ** 3;
/** Of a rate, from which on a difference is reported. */
const rateTolerance = 0.01;

/**
 * Stitches clips by FAL's film tools. The film's length is that of the clips' frames without those that overlap. What FAL bills is
 * known before a job is submitted, because each clip is brought to FAL as it was measured; the server refuses a job that costs
 * more than the task is charged.
 */
export async function stitchFilm(
  task: ClaimedTask,
  jobs: FalJobs,
  context: RunContext,
  { stitch, size, scale = 1 }: { stitch: Stitch } & StitchOptions,
): Promise<RenderedOutput> {
  const [first] = stitch.clips;
  if (!first) throw new RenderError("there are no clips to stitch", { isRetryable: false });
  if (stitch.clips.length > mostClips) {
    throw new RenderError(`at most ${mostClips} clips can be stitched`, { isRetryable: false });
  }
  const read = new Map<string, Promise<Clip>>();
  const opening = await readFilm(first.url, "clip 1", jobs, context);
  const target = evenSize(size ?? opening.facts);
  const isWhole = stitch.clips.length === 1 && first.from === 0 && first.to === undefined;
  if (isWhole && !stitch.audioUrl && scale === 1 && isSize(opening.facts, target)) {
    warnOfRate(jobs, "clip 1", opening.facts, stitch.framesPerSecond);
    return { file: named(opening.file, task) };
  }
  let bytes = 0;
  const bring = async (url: string, name: string, film?: MeasuredFilm): Promise<Clip> => {
    const { file, facts } = film ?? (await readFilm(url, name, jobs, context));
    bytes += file.bytes.byteLength;
    if (bytes > mostBytes) {
      throw new RenderError(`the clips have more than ${mostBytes} bytes together`, { isRetryable: false });
    }
    return { url: await jobs.upload(file.bytes, file.contentType), name, facts };
  };
  read.set(first.url, bring(first.url, "clip 1", opening));
  const clips: Clip[] = [];
  // One after the other: films are large, and one is in memory at a time.
  for (const [index, { url }] of stitch.clips.entries()) {
    const clip = read.get(url) ?? bring(url, `clip ${index + 1}`);
    read.set(url, clip);
    clips.push(await clip);
  }
  return await new StitchRun(task, jobs, context, { stitch, clips, target, scale }).output();
}

/** The jobs of one stitch, in waves: a wave needs the results of the one before. */
class StitchRun {
  readonly #task: ClaimedTask;
  readonly #jobs: FalJobs;
  readonly #context: RunContext;
  readonly #stitch: Stitch;
  readonly #clips: Clip[];
  readonly #target: FrameSize;
  readonly #scale: number;
  #step = 0;

  constructor(
    task: ClaimedTask,
    jobs: FalJobs,
    context: RunContext,
    { stitch, clips, target, scale }: { stitch: Stitch; clips: Clip[]; target: FrameSize; scale: number },
  ) {
    [this.#task, this.#jobs, this.#context] = [task, jobs, context];
    [this.#stitch, this.#clips, this.#target, this.#scale] = [stitch, clips, target, scale];
  }

  async output(): Promise<RenderedOutput> {
    const others = this.#clips.filter(({ facts }) => !isSize(facts, this.#target));
    const resized = [...new Map(others.map((clip) => [clip.url, clip])).values()];
    const plan = this.#plan(resized.length);
    const rate = this.#stitch.framesPerSecond ?? this.#clips[0]?.facts.framesPerSecond ?? 1;
    for (const { facts, name } of this.#clips)
      warnOfRate(this.#jobs, name, facts, this.#stitch.framesPerSecond);
    const asked = (plan.frames - plan.missingOverlap) / rate;

    await this.#resize(resized);
    const parts = await this.#parts(plan);
    const audio = this.#stitch.audioUrl;
    const [only] = parts;
    const composed =
      only && parts.length === 1 && !only.goesOn && !audio
        ? { video_url: only.url }
        : await this.#compose(parts, audio);
    let film = filmOf(composed);
    const size = this.#finalSize();
    if (size !== this.#target) {
      const seconds = parts.reduce((sum, part) => sum + part.seconds, 0);
      const [scaled] = await this.#run([scaleRequest(film, size, "stretch", seconds)]);
      film = filmOf(scaled);
    }
    const file = await this.#jobs.fetch(film, "video", `${this.#task.task_id}_fal_0.mp4`);
    await this.#check(file, asked, rate, size);
    const thumbnail = await this.#thumbnail(thumbnailOf(composed));
    return { file, ...(thumbnail && { thumbnail }) };
  }

  /** With as many opacities in a fade as the number of jobs allows. @throws RenderError where even cuts take too many */
  #plan(resized: number): StitchParts {
    const clips = this.#stitch.clips.map((clip, index) => {
      return { ...clip, frames: this.#clips[index]?.facts.frames ?? 1 };
    });
    const others = resized + 1 + (this.#scale > 1 ? 1 : 0);
    for (let steps = mostFadeSteps; steps >= 0; steps -= 1) {
      const plan = partsOf(clips, steps);
      const jobs = plan.parts.reduce((sum, part) => sum + jobsOf(part), 0) + others;
      if (jobs > (steps > 0 ? mostFadeJobs : mostSteps)) continue;
      this.#jobs.expect(jobs);
      if (steps === 0 && clips.some(({ overlap, repeats }) => overlap > 0 && !repeats)) {
        this.#jobs.warn("The film has too many clips for crossfades: clips are cut at their overlaps.");
      }
      return plan;
    }
    throw new RenderError(`the film takes more than ${mostSteps} jobs at FAL: stitch fewer clips at once`, {
      isRetryable: false,
    });
  }

  async #resize(clips: readonly Clip[]): Promise<void> {
    const requests = clips.map((clip) => scaleRequest(clip.url, this.#target, "crop", clip.facts.seconds));
    const results = await this.#run(requests);
    for (const [index, { url }] of clips.entries()) {
      const scaled = filmOf(results[index]);
      for (const [place, clip] of this.#clips.entries()) {
        if (clip.url === url) this.#clips[place] = { ...clip, url: scaled };
      }
    }
  }

  async #compose(parts: readonly StitchedPart[], audio: string | undefined): Promise<unknown> {
    const [data] = await this.#run([composeRequest(parts, audio)]);
    return data;
  }

  async #parts({ parts }: StitchParts): Promise<StitchedPart[]> {
    const slices = parts.flatMap((part): ClipFrames[] => {
      if (part.kind === "frames") return needsTrim(part.frames) ? [part.frames] : [];
      return [part.before, ...(needsTrim(part.after) ? [part.after] : [])];
    });
    const trimmed = await this.#run(
      slices.map((slice) =>
        trimRequest(this.#clip(slice).url, slice, this.#clip(slice).facts.framesPerSecond),
      ),
    );
    const pieces = new Map(slices.map((slice, index) => [slice, filmOf(trimmed[index])]));
    const film = (slice: ClipFrames): string => pieces.get(slice) ?? this.#clip(slice).url;
    const seconds = (slice: ClipFrames): number =>
      (slice.to - slice.from) / this.#clip(slice).facts.framesPerSecond;
    const fades = parts.filter((part) => part.kind === "fade");
    const blended = await this.#run(
      fades.map(({ before, after, opacity }) =>
        blendRequest({ top: film(after), bottom: film(before), opacity }, seconds(before)),
      ),
    );
    return parts.map((part) => {
      if (part.kind === "frames") {
        const { frames } = part;
        const goesOn = !needsTrim(frames) && frames.to < frames.of;
        return { url: film(frames), seconds: seconds(frames), goesOn };
      }
      const url = filmOf(blended[fades.indexOf(part)]);
      return { url, seconds: seconds(part.before), goesOn: false };
    });
  }

  #clip({ clip }: ClipFrames): Clip {
    const found = this.#clips[clip];
    if (!found) throw new RangeError(`there is no clip ${clip}`);
    return found;
  }

  async #run(requests: readonly FalRequest[]): Promise<unknown[]> {
    const first = this.#step;
    this.#step += requests.length;
    const results = await Promise.all(
      requests.map((request, index) => this.#jobs.run(first + index, request)),
    );
    return results.map(({ data }) => data);
  }

  #finalSize(): FrameSize {
    if (this.#scale <= 1) return this.#target;
    const { width, height } = this.#target;
    const most = longestSide / Math.max(width, height);
    const factor = Math.min(this.#scale, most);
    const size = evenSize({ width: width * factor, height: height * factor });
    this.#jobs.warn(
      `The film is resized to ${size.width} × ${size.height}; FAL's tool adds no detail. Use \`video_enhance\` for that.`,
    );
    return size;
  }

  async #check(file: OutputFile, asked: number, rate: number, size: FrameSize): Promise<void> {
    const facts = await measureFilm(file.bytes);
    if (!facts) return this.#jobs.warn("The length of the film could not be read.");
    const difference = facts.seconds - asked;
    if (Math.abs(difference) > 1 / rate + 0.002) {
      const how = difference > 0 ? "longer" : "shorter";
      this.#jobs.warn(
        `The film takes ${facts.seconds.toFixed(2)} seconds: ${Math.abs(difference).toFixed(2)} ${how} than its clips without their overlaps.`,
      );
    }
    warnOfRate(this.#jobs, "the film", facts, rate);
    if (!isSize(facts, size)) {
      this.#jobs.warn(`The film is ${facts.width} × ${facts.height}, not ${size.width} × ${size.height}.`);
    }
  }

  /** A film without its thumbnail is complete, so that a thumbnail that cannot be had fails nothing. */
  async #thumbnail(url: string | undefined): Promise<OutputFile | undefined> {
    if (!url) return undefined;
    const { task_id } = this.#task;
    try {
      const file = await this.#jobs.fetch(url, "image", "thumbnail");
      const extension = file.contentType === "image/png" ? "png" : "jpg";
      return { ...file, filename: `thumb_${task_id.slice(0, 8)}.${extension}` };
    } catch (error) {
      if (!(error instanceof RenderError)) throw error;
      this.#context.log.warn({ err: error, task_id }, "the thumbnail of a film could not be fetched");
      return undefined;
    }
  }
}

function warnOfRate(
  jobs: FalJobs,
  film: string,
  { framesPerSecond }: FilmFacts,
  asked: number | undefined,
): void {
  if (asked === undefined || Math.abs(framesPerSecond - asked) <= asked * rateTolerance) return;
  jobs.warn(
    `Frame rate: ${film} has ${framesPerSecond.toFixed(1)} frames a second, not ${asked}. FAL's tools do not change it.`,
  );
}

function named(file: OutputFile, { task_id }: ClaimedTask): OutputFile {
  const extension = file.contentType === "video/webm" ? "webm" : "mp4";
  return { ...file, filename: `${task_id}_fal_0.${extension}` };
}

function isSize(film: FrameSize, { width, height }: FrameSize): boolean {
  return film.width === width && film.height === height;
}

/** Codecs of films need even sides. */
function evenSize({ width, height }: FrameSize): FrameSize {
  const even = (side: number): number => Math.min(longestSide, 2 * Math.max(1, Math.round(side / 2)));
  return { width: even(width), height: even(height) };
}
