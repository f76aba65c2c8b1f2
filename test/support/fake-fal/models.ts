import { issuesOf } from "./check-input.ts";
import { flatFilm, type FilmSpec } from "./films.ts";
import { type Fetcher, fetchInputs, type InputFile } from "./input-files.ts";
import { flatPicture, type PictureFormat, type PictureSize } from "./pictures.ts";
import { inputShape, objectShape, type ObjectShape, outputShape, type TypeShape } from "./shapes.ts";
import { flatWeights } from "./weights.ts";

type Fields = Record<string, unknown>;

export interface ModelHost {
  requestId: string;
  fetch: Fetcher;
  /** Keeps a file of a result. @returns its address */
  keep(bytes: Uint8Array, contentType: string, extension: string): string;
}

export interface ModelAnswer {
  status: number;
  body: unknown;
}

/** What a model at FAL answers: 422 with what it refuses, or every field of its output, with real files. */
export async function runModel(endpoint: string, input: Fields, host: ModelHost): Promise<ModelAnswer> {
  const wrong = issuesOf(endpoint, input);
  if (wrong.length > 0) return { status: 422, body: { detail: wrong } };
  const { files, issues } = await fetchInputs(endpoint, input, host.fetch);
  if (issues.length > 0) return { status: 422, body: { detail: issues } };
  const run = new ModelRun(endpoint, input, files, host);
  return { status: 200, body: await run.output() };
}

export function isKnown(endpoint: string): boolean {
  return inputShape(endpoint) !== undefined;
}

const namedSizes: Record<string, PictureSize> = {
  square_hd: { width: 1024, height: 1024 },
  square: { width: 512, height: 512 },
  portrait_4_3: { width: 768, height: 1024 },
  portrait_16_9: { width: 576, height: 1024 },
  landscape_4_3: { width: 1024, height: 768 },
  landscape_16_9: { width: 1024, height: 576 },
};
/** Pixels of a film of 16:9 at a named resolution; other shapes have about as many. */
const filmPixels: Record<string, number> = {
  "240p": 432 * 240,
  "360p": 640 * 360,
  "480p": 832 * 480,
  "580p": 1024 * 576,
  "720p": 1280 * 720,
};
const megapixel = 1024 * 1024;
/** Of models that have no field for it. */
const ownRate: Record<string, number> = { "fal-ai/framepack": 30, "fal-ai/framepack/flf2v": 30 };

class ModelRun {
  readonly #endpoint: string;
  readonly #input: Fields;
  readonly #files: readonly InputFile[];
  readonly #host: ModelHost;

  constructor(endpoint: string, input: Fields, files: readonly InputFile[], host: ModelHost) {
    this.#endpoint = endpoint;
    this.#input = input;
    this.#files = files;
    this.#host = host;
  }

  async output(): Promise<Fields> {
    const shape = outputShape(this.#endpoint) ?? {};
    const made = await this.#made(shape);
    return fill(shape, {
      seed: this.#input["seed"] ?? 4242,
      prompt: this.#input["prompt"] ?? "",
      timings: { inference: 0.5 },
      ...made,
    });
  }

  async #made(shape: ObjectShape): Promise<Fields> {
    switch (this.#endpoint) {
      case "fal-ai/ffmpeg-api/merge-videos":
        return await this.#merged();
      case "fal-ai/ffmpeg-api/compose":
        return await this.#composed();
      case "fal-ai/ffmpeg-api/extract-frame":
        return { images: [this.#picture(this.#film(), "png")] };
      case "fal-ai/workflow-utilities/extract-nth-frame":
        return this.#extracted();
      case "fal-ai/workflow-utilities/trim-video":
        return await this.#trimmed();
      case "fal-ai/workflow-utilities/scale-video":
        return await this.#scaled();
      case "fal-ai/workflow-utilities/blend-video":
        return await this.#blended();
      case "fal-ai/workflow-utilities/reverse-video":
      case "fal-ai/dwpose/video":
        return { video: await this.#madeFilm(this.#film()) };
      case "fal-ai/rife":
      case "fal-ai/film":
        return await this.#betweenPictures();
      case "fal-ai/rife/video":
      case "fal-ai/film/video":
        return { video: await this.#madeFilm(this.#interpolated()) };
      case "fal-ai/topaz/upscale/video":
      case "fal-ai/seedvr/upscale/video":
      case "fal-ai/flashvsr/upscale/video":
        return {
          video: await this.#madeFilm({ ...this.#film(), ...this.#upscaled(this.#film(), this.#film()) }),
        };
      case "fal-ai/esrgan":
      case "fal-ai/topaz/upscale/image":
      case "fal-ai/seedvr/upscale/image":
      case "fal-ai/clarity-upscaler":
      case "fal-ai/aura-sr":
        return { image: this.#picture(this.#upscaled(this.#firstPicture()), this.#format("png")) };
      case "fal-ai/dwpose":
        return { image: this.#picture(this.#firstPicture(), "png") };
    }
    if (shape["video"]) return { video: await this.#madeFilm(this.#generatedFilm()) };
    if (shape["images"]) {
      const count = this.#number("num_images") ?? 1;
      const images = Array.from({ length: count }, (_, index) =>
        this.#picture(this.#generatedSize(), this.#format("png"), index),
      );
      return { images, has_nsfw_concepts: images.map(() => false) };
    }
    if (shape["image"]) return { image: this.#picture(this.#generatedSize(), this.#format("png")) };
    return this.#trained(shape);
  }

  /** A number of the input, else the endpoint's default. */
  #number(name: string): number | undefined {
    const value = this.#input[name] ?? inputShape(this.#endpoint)?.[name]?.default;
    return typeof value === "number" ? value : undefined;
  }

  #text(name: string): string | undefined {
    const value = this.#input[name] ?? inputShape(this.#endpoint)?.[name]?.default;
    return typeof value === "string" ? value : undefined;
  }

  #flag(name: string): boolean {
    return (this.#input[name] ?? inputShape(this.#endpoint)?.[name]?.default) === true;
  }

  #file(field: string): InputFile | undefined {
    return this.#files.find((file) => file.field === field);
  }

  #film(field = "video_url"): FilmSpec {
    const film = this.#file(field)?.film;
    if (!film) throw new Error(`${this.#endpoint} has no film in ${field}`);
    return film;
  }

  #firstPicture(): PictureSize {
    const size = this.#files.find(({ picture }) => picture)?.picture;
    if (!size) throw new Error(`${this.#endpoint} has no picture`);
    return size;
  }

  #format(otherwise: PictureFormat): PictureFormat {
    const format = this.#text("output_format") ?? otherwise;
    if (format === "jpg") return "jpeg";
    return format === "jpeg" || format === "png" || format === "webp" ? format : otherwise;
  }

  #picture(size: PictureSize, format: PictureFormat, index = 0): Fields {
    const bytes = flatPicture(size, format, `fake FAL ${this.#host.requestId} ${index}`);
    const extension = format === "jpeg" ? "jpg" : format;
    const { width, height } = size;
    return this.#kept(bytes, `image/${format}`, extension, { width, height });
  }

  async #madeFilm(spec: FilmSpec): Promise<Fields> {
    const even = (side: number) => Math.max(2, Math.round(side / 2) * 2);
    const film = {
      ...spec,
      width: even(spec.width),
      height: even(spec.height),
      frames: Math.max(1, Math.round(spec.frames)),
    };
    const bytes = await flatFilm(film, `fake FAL ${this.#host.requestId}`);
    return this.#kept(bytes, "video/mp4", "mp4", {
      width: film.width,
      height: film.height,
      num_frames: film.frames,
      fps: film.framesPerSecond,
      duration: film.frames / film.framesPerSecond,
    });
  }

  #kept(bytes: Uint8Array, contentType: string, extension: string, facts: Fields = {}): Fields {
    const url = this.#host.keep(bytes, contentType, extension);
    return {
      url,
      content_type: contentType,
      file_name: url.slice(url.lastIndexOf("/") + 1),
      file_size: bytes.length,
      ...facts,
    };
  }

  /** Of a picture that a model makes: what is asked for, the shape that is asked for, the size of the first picture. */
  #generatedSize(): PictureSize {
    const asked = this.#input["image_size"] ?? inputShape(this.#endpoint)?.["image_size"]?.default;
    if (typeof asked === "object" && asked !== null) {
      const { width = 512, height = 512 } = asked as Partial<PictureSize>;
      return { width, height };
    }
    const given = this.#files.find(({ picture }) => picture)?.picture;
    const hasOwn = this.#input["image_size"] !== undefined;
    if (typeof asked === "string" && namedSizes[asked] && (hasOwn || !given)) return namedSizes[asked];
    const shape = this.#text("aspect_ratio") ?? this.#text("resolution_mode");
    const [, across, down] = /^(\d+):(\d+)$/.exec(shape ?? "") ?? [];
    if (across && down) return ofShape(Number(across) / Number(down), megapixel);
    return given ?? { width: 1024, height: 768 };
  }

  #generatedFilm(): FilmSpec {
    const source = this.#files.find(({ film }) => film)?.film;
    const isAnimation = this.#endpoint.includes("/animate/");
    const length =
      (isAnimation || this.#flag("match_input_num_frames")) && source ? source.frames : undefined;
    const rate =
      (isAnimation || this.#flag("match_input_frames_per_second")) && source
        ? source.framesPerSecond
        : (this.#number("frames_per_second") ?? ownRate[this.#endpoint] ?? 16);
    const frames = length ?? this.#number("num_frames") ?? 81;
    // Between two frames that are made, others are put, unless the model is asked not to.
    const takesInterpolation = inputShape(this.#endpoint)?.["interpolator_model"] !== undefined;
    const isInterpolated = takesInterpolation && this.#text("interpolator_model") !== "none";
    const between = isInterpolated ? (this.#number("num_interpolated_frames") ?? 0) : 0;
    return {
      ...this.#filmSize(),
      frames: frames + (frames - 1) * between,
      framesPerSecond: this.#flag("adjust_fps_for_interpolation") ? rate * (between + 1) : rate,
    };
  }

  #filmSize(): PictureSize {
    const given = this.#files.map(({ film, picture }) => film ?? picture).find(Boolean);
    const resolution = this.#text("resolution") ?? "auto";
    const pixels =
      filmPixels[resolution] ??
      (given ? Math.min(given.width * given.height, 1280 * 720) : (filmPixels["480p"] ?? 0));
    const [, across, down] = /^(\d+):(\d+)$/.exec(this.#text("aspect_ratio") ?? "") ?? [];
    const ratio =
      across && down ? Number(across) / Number(down) : given ? given.width / given.height : 16 / 9;
    return ofShape(ratio, pixels);
  }

  #upscaled(size: PictureSize, film?: FilmSpec): PictureSize & { framesPerSecond?: number; frames?: number } {
    const { width, height } = size;
    const target = this.#text("upscale_mode") === "target" ? this.#text("target_resolution") : undefined;
    const factor = target
      ? Number.parseInt(target, 10) / Math.min(width, height)
      : (this.#number("upscale_factor") ?? this.#number("scale") ?? 2);
    const rate = this.#number("target_fps");
    return {
      width: Math.round(width * factor),
      height: Math.round(height * factor),
      ...(film && rate && { framesPerSecond: rate, frames: (film.frames / film.framesPerSecond) * rate }),
    };
  }

  #interpolated(): FilmSpec {
    const film = this.#film();
    const between = this.#number("num_frames") ?? 1;
    const isCalculated = this.#flag("use_calculated_fps");
    return {
      ...film,
      frames: film.frames + (film.frames - 1) * between,
      framesPerSecond: isCalculated ? film.framesPerSecond * (between + 1) : (this.#number("fps") ?? 8),
    };
  }

  async #betweenPictures(): Promise<Fields> {
    const size = this.#firstPicture();
    const frames =
      (this.#number("num_frames") ?? 1) +
      Number(this.#flag("include_start")) +
      Number(this.#flag("include_end"));
    if (this.#text("output_type") === "video") {
      const video = await this.#madeFilm({ ...size, frames, framesPerSecond: this.#number("fps") ?? 8 });
      return { video, images: null };
    }
    const format = this.#text("image_format") ?? this.#text("output_format") ?? "jpeg";
    const images = Array.from({ length: frames }, (_, index) =>
      this.#picture(size, format === "png" ? "png" : "jpeg", index),
    );
    return { images, video: null };
  }

  /** Without a size, as large as the smallest width and the smallest height of the films. */
  async #merged(): Promise<Fields> {
    const films = this.#files.flatMap(({ film }) => (film ? [film] : []));
    if (films.length === 0) throw new Error("nothing to merge");
    const rate = this.#number("target_fps") ?? Math.min(...films.map((film) => film.framesPerSecond));
    const seconds = films.reduce((sum, film) => sum + film.frames / film.framesPerSecond, 0);
    const { resolution } = this.#input;
    const size =
      typeof resolution === "string"
        ? namedSizes[resolution]
        : typeof resolution === "object" && resolution !== null
          ? (resolution as PictureSize)
          : undefined;
    const { width, height } = size ?? {
      width: Math.min(...films.map((film) => film.width)),
      height: Math.min(...films.map((film) => film.height)),
    };
    const video = await this.#madeFilm({ width, height, frames: seconds * rate, framesPerSecond: rate });
    const originals = films.map((film) => ({
      width: film.width,
      height: film.height,
      fps: film.framesPerSecond,
      duration: film.frames / film.framesPerSecond,
    }));
    return { video, metadata: { original_videos: originals, fps: rate, width, height } };
  }

  /** As long as the last keyframe of any track; as large as the first film or picture, at its rate. */
  async #composed(): Promise<Fields> {
    const tracks = this.#input["tracks"] as {
      type: string;
      keyframes: { timestamp: number; duration: number }[];
    }[];
    const ends = tracks.flatMap(({ keyframes }) =>
      keyframes.map(({ timestamp, duration }) => timestamp + duration),
    );
    const shown = this.#files.find(({ film, picture }) => film ?? picture);
    const size = shown?.film ?? shown?.picture ?? { width: 1280, height: 720 };
    const rate = shown?.film?.framesPerSecond ?? 30;
    const video = await this.#madeFilm({
      width: size.width,
      height: size.height,
      frames: (Math.max(0, ...ends) / 1000) * rate,
      framesPerSecond: rate,
    });
    return { video_url: video["url"], thumbnail_url: this.#picture(size, "jpeg")["url"] };
  }

  #extracted(): Fields {
    const film = this.#film();
    const every = this.#number("frame_interval") ?? 12;
    const count = Math.min(Math.ceil(film.frames / every), this.#number("max_frames") ?? 100);
    const images = Array.from({ length: count }, (_, index) =>
      this.#picture(film, this.#format("png"), index),
    );
    return { images, frame_count: count };
  }

  /** The frames that begin from the start on and before the end. */
  async #trimmed(): Promise<Fields> {
    const film = this.#film();
    const rate = film.framesPerSecond;
    const whole = film.frames / rate;
    const start = Math.min(whole, this.#number("start_time") ?? 0);
    const end = Math.min(whole, this.#number("end_time") ?? start + (this.#number("duration") ?? 2));
    const frameAt = (seconds: number) => Math.ceil(seconds * rate - 1e-6);
    const frames = Math.max(1, frameAt(end) - frameAt(start));
    const video = await this.#madeFilm({ ...film, frames });
    return { video, original_duration: whole, trimmed_duration: frames / rate };
  }

  async #scaled(): Promise<Fields> {
    const film = this.#film();
    const [width, height] = [this.#number("width"), this.#number("height")];
    const scale = width ? width / film.width : height ? height / film.height : 1;
    const size = {
      width: width ?? Math.round((film.width * scale) / 2) * 2,
      height: height ?? Math.round((film.height * scale) / 2) * 2,
    };
    return {
      video: await this.#madeFilm({ ...film, ...size }),
      original_width: film.width,
      original_height: film.height,
      scaled_width: size.width,
      scaled_height: size.height,
    };
  }

  async #blended(): Promise<Fields> {
    const [bottom, top] = [this.#film("bottom_video_url"), this.#film("top_video_url")];
    const seconds = [bottom, top].map((film) => film.frames / film.framesPerSecond);
    const length = this.#flag("shortest") ? Math.min(...seconds) : Math.max(...seconds);
    return { video: await this.#madeFilm({ ...bottom, frames: length * bottom.framesPerSecond }) };
  }

  #trained(shape: ObjectShape): Fields {
    const made = Object.keys(shape).map((name): [string, unknown] => {
      const label = `fake FAL ${this.#host.requestId} ${name}`;
      if (name.includes("lora"))
        return [name, this.#kept(flatWeights(label), "application/octet-stream", "safetensors")];
      if (name === "config_file") {
        const config = Buffer.from(JSON.stringify({ base_model: this.#endpoint, comment: label }));
        return [name, this.#kept(config, "application/json", "json")];
      }
      return [name, null];
    });
    return Object.fromEntries(made);
  }
}

/** Sides of this ratio with about so many pixels, as video models have them: multiples of 16. */
function ofShape(ratio: number, pixels: number): PictureSize {
  const side = (length: number) => Math.max(16, Math.round(length / 16) * 16);
  return { width: side(Math.sqrt(pixels * ratio)), height: side(Math.sqrt(pixels / ratio)) };
}

/** Every field of an output: what was made, and for the rest what its type allows. */
function fill(shape: ObjectShape, made: Fields): Fields {
  return Object.fromEntries(
    Object.entries(shape).map(([name, field]) => {
      const value = made[name];
      if (value === undefined)
        return [name, field.required ? emptyOf(name, field.type) : (field.default ?? null)];
      return [name, filled(field.type, value)];
    }),
  );
}

function filled(type: TypeShape, value: unknown): unknown {
  if (typeof type !== "object" || typeof value !== "object" || value === null) return value;
  if ("list" in type && Array.isArray(value)) return value.map((item: unknown) => filled(type.list, item));
  if ("object" in type) return fill(objectShape(type.object), value as Fields);
  return value;
}

function emptyOf(name: string, type: TypeShape): unknown {
  switch (type) {
    case "string":
      return "";
    case "number":
      return 0;
    case "boolean":
      return false;
    case "unknown":
      return {};
    case "file":
      throw new Error(`the fake FAL does not make ${name}`);
  }
  if ("enum" in type) return type.enum[0];
  if ("record" in type) return {};
  throw new Error(`the fake FAL does not make ${name}`);
}
