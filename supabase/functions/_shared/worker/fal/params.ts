/** What a task's params say, as anybody may have written them. */
export type Params = Record<string, unknown>;

/** A file that the input names: where its address stands, and what it must be. */
export interface FileInput {
  /** The param that named it, for people. */
  field: string;
  url: string;
  medium: "image" | "video" | "audio" | "weights";
  /** Puts the address that FAL gets in its place. */
  place(url: string): void;
  /** Looks at the file before anything is submitted; the file is then brought to FAL. @throws RenderError */
  inspect?: (bytes: Uint8Array) => Promise<void>;
  /** Other files that become this one: they are fetched and packed, and the archive is brought to FAL. `url` is empty then. */
  archive?: Archive;
}

export interface Archive {
  parts: readonly Pick<FileInput, "field" | "url" | "medium">[];
  mostBytes: number;
  pack(parts: readonly FileContent[]): FileContent;
}

export interface FileContent {
  bytes: Uint8Array;
  contentType: string;
}

/** Reads one field of a model's input; undefined leaves it to the model's default. */
export type Reader = (params: Params) => unknown;
export type Readers = Record<string, Reader>;

/** Params that a model does not take; the task's caller can mend them. */
export class BadParams extends Error {
  constructor(issues: readonly { field: string; message: string }[]) {
    super(`The params do not fit: ${issues.map(({ field, message }) => `${field} ${message}`).join("; ")}`);
    this.name = "BadParams";
  }
}

const longestText = 20_000;
const longestUrl = 4096;
const mostLoras = 3;
const largestSide = 2048;
const smallestSide = 64;

/** A model's input of a task's params, and the files in it. @throws BadParams with everything that is wrong */
export function inputOf(
  readers: Readers,
  params: Params,
): { input: Record<string, unknown>; files: FileInput[] } {
  const input: Record<string, unknown> = {};
  const found: FileInput[] = [];
  const issues: { field: string; message: string }[] = [];
  for (const [name, read] of Object.entries(readers)) {
    try {
      const value = read(params);
      if (value !== undefined) input[name] = withoutFiles(value, found, (url) => (input[name] = url));
    } catch (error) {
      if (!(error instanceof Issue)) throw error;
      issues.push({ field: error.field, message: error.message });
    }
  }
  if (issues.length > 0) throw new BadParams(issues);
  return { input, files: found };
}

class Issue extends Error {
  readonly field: string;

  constructor(field: string, message: string) {
    super(message);
    this.field = field;
  }
}

/** Stands where an address will be. */
class Named {
  readonly field: string;
  readonly url: string;
  readonly medium: FileInput["medium"];

  constructor(field: string, url: string, medium: FileInput["medium"]) {
    this.field = field;
    this.url = url;
    this.medium = medium;
  }
}

/** The value with texts for files, which are noted with where they stand. */
function withoutFiles(value: unknown, found: FileInput[], place: (url: string) => void): unknown {
  if (value instanceof Named) {
    found.push({ field: value.field, url: value.url, medium: value.medium, place });
    return value.url;
  }
  if (Array.isArray(value)) {
    const list: unknown[] = [];
    for (const [index, item] of value.entries()) {
      list[index] = withoutFiles(item, found, (url) => (list[index] = url));
    }
    return list;
  }
  if (typeof value === "object" && value !== null) {
    const fields: Record<string, unknown> = {};
    for (const [name, item] of Object.entries(value)) {
      fields[name] = withoutFiles(item, found, (url) => (fields[name] = url));
    }
    return fields;
  }
  return value;
}

/** Of several names for one thing the first that says something. */
function named(params: Params, names: readonly string[]): { field: string; value: unknown } {
  const field = names.find(
    (name) => params[name] !== undefined && params[name] !== null && params[name] !== "",
  );
  return { field: field ?? names[0] ?? "", value: field === undefined ? undefined : params[field] };
}

export function text(names: readonly string[]): (params: Params) => string | undefined {
  return (params) => {
    const { field, value } = named(params, names);
    if (value === undefined) return undefined;
    if (typeof value !== "string") throw new Issue(field, "is no text");
    if (value.length > longestText) throw new Issue(field, `is longer than ${longestText} characters`);
    return value.trim() === "" ? undefined : value;
  };
}

/** `isOptional`: one blank, where the picture says enough. */
export function prompt({ isOptional = false } = {}): (params: Params) => string {
  return (params) => {
    const said = text(["prompt", "base_prompt"])(params);
    if (said === undefined && !isOptional) throw new Issue("prompt", "is missing");
    return said ?? " ";
  };
}

export function number(
  names: readonly string[],
  {
    least,
    most,
    isWhole = false,
    isClamped = false,
  }: { least: number; most: number; isWhole?: boolean; isClamped?: boolean },
): Reader {
  return (params) => {
    const { field, value } = named(params, names);
    if (value === undefined) return undefined;
    const given = typeof value === "string" && /^-?\d{1,9}(\.\d{1,9})?$/.test(value) ? Number(value) : value;
    if (typeof given !== "number" || !Number.isFinite(given)) throw new Issue(field, "is no number");
    if (isWhole && !Number.isInteger(given)) throw new Issue(field, "is no whole number");
    if (isClamped) return Math.min(most, Math.max(least, given));
    if (given < least || given > most) throw new Issue(field, `is not from ${least} to ${most}`);
    return given;
  };
}

/** Below zero the model chooses. */
export function seed(): Reader {
  return (params) => {
    const given = number(["seed"], { least: -Infinity, most: Number.MAX_SAFE_INTEGER, isWhole: true })(
      params,
    );
    return typeof given === "number" && given >= 0 ? given : undefined;
  };
}

/** Anything else than these is left to the model. */
export function choice(names: readonly string[], values: readonly string[]): Reader {
  return (params) => {
    const { value } = named(params, names);
    return typeof value === "string" && values.includes(value) ? value : undefined;
  };
}

export function flag(names: readonly string[]): Reader {
  return (params) => {
    const { value } = named(params, names);
    return typeof value === "boolean" ? value : undefined;
  };
}

const namedSizes = [
  "square_hd",
  "square",
  "portrait_4_3",
  "portrait_16_9",
  "landscape_4_3",
  "landscape_16_9",
];

/** "902x508" or "902*508", {width, height}, or a name of FAL's; `auto`, in any case, is the model's own choice. */
export function size(): Reader {
  return (params) => {
    const { field, value } = named(params, ["resolution", "image_size"]);
    if (value === undefined) return undefined;
    if (typeof value === "string" && value.trim().toLowerCase() === "auto") return undefined;
    if (typeof value === "string" && namedSizes.includes(value)) return value;
    const [width, height] = sidesOf(value);
    if (width === undefined || height === undefined) throw new Issue(field, "is no size such as 1024x768");
    for (const side of [width, height]) {
      if (!Number.isInteger(side) || side < smallestSide || side > largestSide) {
        throw new Issue(field, `has a side that is not from ${smallestSide} to ${largestSide}`);
      }
    }
    return { width, height };
  };
}

function sidesOf(value: unknown): (number | undefined)[] {
  if (typeof value === "string") {
    const [, width, height] = /^\s*(\d{1,6})\s*[x×*]\s*(\d{1,6})\s*$/i.exec(value) ?? [];
    return width && height ? [Number(width), Number(height)] : [];
  }
  const { width, height } = fieldsOf(value);
  return typeof width === "number" && typeof height === "number" ? [width, height] : [];
}

export function file(names: readonly string[], medium: "image" | "video"): Reader {
  return (params) => {
    const { field, value } = named(params, names);
    if (value === undefined) throw new Issue(field, "is missing");
    return new Named(field, addressOf(field, value), medium);
  };
}

/** A list of pictures, each under a name of its own; undefined where no name is given. */
export function files(names: readonly string[]): Reader {
  return (params) => (names.length === 0 ? undefined : names.map((name) => file([name], "image")(params)));
}

interface GivenLora {
  field: string;
  path: unknown;
  scale: unknown;
}

/** `additional_loras {url: strength}` and `loras [{path or url, scale or strength}]`. */
function givenLoras({ additional_loras: byUrl, loras: list }: Params): GivenLora[] {
  const named = isObject(byUrl) ? Object.entries(byUrl) : [];
  return [
    ...named.map(([path, scale]) => ({ field: "additional_loras", path, scale })),
    ...(Array.isArray(list) ? list : []).map((item: unknown) => {
      const { path, url, scale, strength } = fieldsOf(item);
      return { field: "loras", path: path ?? url, scale: scale ?? strength };
    }),
  ];
}

export function hasLoras(params: Params): boolean {
  return givenLoras(params).length > 0;
}

/** As [{path, scale}]. */
export function loras(): Reader {
  return (params) => {
    const given = givenLoras(params);
    if (given.length > mostLoras) throw new Issue("loras", `are more than ${mostLoras}`);
    return given.map(({ field, path, scale }) => ({
      path: new Named(field, addressOf(field, path), "weights"),
      scale: number([field], { least: 0, most: 4 })({ [field]: scale ?? 1 }),
    }));
  };
}

function addressOf(field: string, value: unknown): string {
  if (typeof value !== "string" || value === "") throw new Issue(field, "is no address");
  if (value.length > longestUrl)
    throw new Issue(field, `has an address of more than ${longestUrl} characters`);
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
