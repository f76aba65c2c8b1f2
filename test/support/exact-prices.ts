/** What work costs, computed without the product: whole numbers alone, from the price list's words in docs/credits.md. */

export interface PublishedPrice {
  billing_type: "per_unit" | "per_second";
  price_microusd: number;
  cost_factors: Record<string, Record<string, number>>;
}

/** A decimal as a quotient of whole numbers. */
interface Fraction {
  over: bigint;
  under: bigint;
}

function fraction(decimal: number): Fraction {
  const match = /^(\d+)(?:\.(\d+))?(?:e-(\d+))?$/.exec(String(decimal));
  if (!match) throw new Error(`${decimal} is no factor`);
  const [, whole = "", digits = "", exponent = "0"] = match;
  return { over: BigInt(whole + digits), under: 10n ** BigInt(digits.length + Number(exponent)) };
}

/** A hundred million dollars. */
const greatestCost = 100_000_000_000_000n;

/** What a price depends on; by `readBilled()`. */
export interface Billed {
  images?: number;
  frames?: number;
  gap_frames?: number;
  context_frames?: number;
  seconds?: number;
  megapixels?: number;
  scale?: number;
  resolution?: string;
  model?: string;
  model_type?: string;
}

/** In micro-dollars. `microseconds` is how long the work took, which only matters where seconds are paid. */
export function exactCost(
  price: PublishedPrice,
  billed: Billed,
  microseconds: bigint,
  mostSeconds: bigint,
): bigint {
  let { over, under } = multiplierOf(price, billed);
  over *= BigInt(price.price_microusd);
  if (price.billing_type === "per_second") {
    const begun = (microseconds + 999_999n) / 1_000_000n;
    over *= begun < 1n ? 1n : begun > mostSeconds ? mostSeconds : begun;
  }
  // Half a micro-dollar is rounded up, once.
  under *= 2n;
  const rounded = (2n * over + under / 2n) / under;
  return rounded < greatestCost ? rounded : greatestCost;
}

export function multiplierOf({ cost_factors }: PublishedPrice, billed: Billed): Fraction {
  let [over, under] = [1n, 1n];
  for (const [name, rule] of Object.entries(cost_factors)) {
    const factor = isCounted(name)
      ? countFactor(rule, BigInt(billed[name] ?? 0))
      : namedFactor(
          rule,
          billed[name as "model"] ??
            (name === "resolution" && billed.scale !== undefined ? `${billed.scale}x` : undefined),
        );
    over *= factor.over;
    under *= factor.under;
  }
  return { over, under };
}

const countedNames = ["frames", "images", "seconds", "megapixels"] as const;

function isCounted(name: string): name is (typeof countedNames)[number] {
  return (countedNames as readonly string[]).includes(name);
}

function countFactor({ included = 0, each = 0 }: Record<string, number>, count: bigint): Fraction {
  const free = fraction(included);
  const step = fraction(each);
  const beyond = count * free.under - free.over;
  if (beyond <= 0n) return { over: 1n, under: 1n };
  const under = free.under * step.under;
  return { over: under + beyond * step.over, under };
}

function namedFactor(rule: Record<string, number>, value: string | undefined): Fraction {
  const listed = value === undefined ? undefined : listedFor(rule, value);
  return listed === undefined ? { over: 1n, under: 1n } : fraction(rule[listed] ?? 1);
}

/** The listed value that a value is paid as: itself, or the smallest that is not smaller. */
function listedFor(rule: Record<string, number>, value: string): string | undefined {
  if (Object.hasOwn(rule, value)) return value;
  const measure = sizeOf(value) === undefined ? scaleOf : sizeOf;
  const wanted = measure(value);
  if (wanted === undefined) return undefined;
  const larger = Object.keys(rule)
    .map((key) => ({ key, size: measure(key) }))
    .filter((one): one is { key: string; size: number } => one.size !== undefined && one.size >= wanted);
  return larger.sort((a, b) => a.size - b.size || (a.key < b.key ? -1 : 1))[0]?.key;
}

const sizes: Record<string, string> = {
  square_hd: "1024x1024",
  square: "512x512",
  portrait_4_3: "768x1024",
  portrait_16_9: "576x1024",
  landscape_4_3: "1024x768",
  landscape_16_9: "1024x576",
};

/** In pixels. */
export function sizeOf(value: string): number | undefined {
  const match = /^([0-9]{1,5})x([0-9]{1,5})$/.exec(sizes[value] ?? value);
  return match ? Number(match[1]) * Number(match[2]) : undefined;
}

function scaleOf(value: string): number | undefined {
  const match = /^([0-9]+(?:\.[0-9]+)?)x$/.exec(value);
  return match ? Number(match[1]) : undefined;
}

/** What of a task type decides under which names its params are read. */
export interface PricedType {
  name: string;
  category: string;
  content_type: string | null;
}

type Params = Record<string, unknown>;

/** A refusal of params: what is written of them in docs/credits.md. */
export class Unpriced extends Error {}

/**
 * The reading of priced params as docs/credits.md has it, written a second time.
 * @throws Unpriced
 */
export function readBilled(type: PricedType, price: PublishedPrice, params: Params): Billed {
  const factors = price.cost_factors;
  const billed: Billed = {};
  const has = (name: string) => Object.hasOwn(factors, name);
  const isUpscale = type.category === "upscale";
  const isByUnit = price.billing_type === "per_unit";
  /** What is paid by the second is as large as its inputs. */
  const byUnit = (value: string | undefined) => (isByUnit ? value : undefined);

  if (price.billing_type === "per_unit" || has("images")) {
    billed.images = (said(type, "images", params, undefined) as number | undefined) ?? 1;
    if (!has("images") && billed.images !== 1) throw new Unpriced("images");
  }
  if (has("frames")) {
    const frames = said(type, "frames", params, undefined) as number | undefined;
    if (frames !== undefined) billed.frames = frames;
  }
  if (has("seconds")) {
    const included = Math.max(1, Math.floor(factors["seconds"]?.["included"] ?? 0));
    Object.assign(billed, readLength(type, params, included));
  }
  if (has("resolution") && isUpscale) {
    billed.scale = (said(type, "scale", params, undefined) as number | undefined) ?? 2;
    if (listedFor(factors["resolution"] ?? {}, `${billed.scale}x`) === undefined) throw new Unpriced("scale");
  }
  if ((has("resolution") || has("megapixels")) && !isUpscale) {
    const rule = factors["resolution"];
    let size = said(type, "resolution", params, rule) as string | undefined;
    if (rule) {
      size ??=
        type.name === "animate_character" && Object.hasOwn(rule, "480p") ? "480p" : byUnit(usual(rule));
      if (size === undefined ? isByUnit : listedFor(rule, size) === undefined)
        throw new Unpriced("resolution");
    }
    if (has("megapixels") && size !== undefined && sizeOf(size) === undefined)
      throw new Unpriced("resolution");
    if (size !== undefined) billed.resolution = size;
  }
  if (has("megapixels")) {
    billed.megapixels =
      billed.resolution === undefined
        ? Math.max(1, Math.floor(factors["megapixels"]?.["included"] ?? 0))
        : Math.ceil((sizeOf(billed.resolution) ?? 0) / 1_048_576);
  }
  for (const name of ["model", "model_type"] as const) {
    const rule = factors[name];
    if (!rule) continue;
    const given = said(type, name, params, rule) as string | undefined;
    const value = given ?? (name === "model" ? undefined : byUnit(usual(rule)));
    if (value === undefined && (name === "model" || !isByUnit)) continue;
    if (value === undefined || listedFor(rule, value) === undefined) throw new Unpriced(name);
    billed[name] = value;
  }
  return billed;
}

/** How long a film is: by its frames at 16 a second, the first one for nothing; else by what is said or planned. */
function readLength(type: PricedType, params: Params, included: number): Billed {
  const count = (quantity: Quantity) => said(type, quantity, params, undefined) as number | undefined;
  const { name } = type;
  if (/^(individual_)?travel_segment$/.test(name)) {
    const said = params["segment_index"];
    const isIndex =
      (typeof said === "string" || typeof said === "number") && /^\d{1,9}(\.0+)?$/.test(String(said));
    const index = isIndex ? Number(said) : 0;
    const frames = count("frames") ?? plannedFrames(type, params, index) ?? 61;
    return { frames, seconds: secondsOf(frames) };
  }
  if (name === "join_clips_segment" || name === "edit_video_segment") {
    const [gap, context] = [count("gap_frames") ?? 53, count("context_frames") ?? 8];
    return { gap_frames: gap, context_frames: context, seconds: secondsOf(gap + 2 * context) };
  }
  const seconds = count("seconds") ?? plannedSeconds(type, params) ?? included;
  const passages = Math.max(1, (list(type, params, "input_image_paths_resolved")?.length ?? 0) - 1);
  return { seconds: name === "wan_2_2_i2v" ? Math.max(seconds, passages) : seconds };
}

function secondsOf(frames: number): number {
  return Math.max(1, Math.ceil((frames - 1) / 16));
}

/** The first list of this name in the places where workers look. */
function list(type: PricedType, params: Params, name: string): unknown[] | undefined {
  return placesOf(type, params)
    .map((place) => (typeof place === "object" && place !== null ? (place as Params)[name] : undefined))
    .find((value): value is unknown[] => Array.isArray(value) && value.length > 0);
}

function plannedFrames(type: PricedType, params: Params, index: number): number | undefined {
  const planned = list(type, params, "segment_frames_expanded")?.[index] ?? "";
  if (planned === "") return undefined;
  const read = readNumber("frames", planned);
  if (read === undefined) throw new Unpriced("segment_frames_expanded");
  return read;
}

function plannedSeconds(type: PricedType, params: Params): number | undefined {
  const pieces = (name: string) => list(type, params, name)?.length ?? 0;
  if (type.name === "join_final_stitch") {
    const seconds = 20 * pieces("clip_list");
    return seconds === 0 ? undefined : Math.min(3600, seconds);
  }
  const frames = list(type, params, "segment_frames_expanded");
  if (!frames || (type.name !== "wan_2_2_i2v" && type.name !== "travel_stitch")) return undefined;
  const parts =
    type.name === "travel_stitch" ? frames.length : Math.max(1, pieces("input_image_paths_resolved") - 1);
  // A stitch shows the first frame of every segment as well, and rounds the sum alone.
  const isStitch = type.name === "travel_stitch";
  const each = Array.from({ length: Math.min(parts, 500) }, (_, index) => {
    const frames = plannedFrames(type, params, index) ?? 61;
    return isStitch ? frames / 16 : secondsOf(frames);
  });
  return Math.min(3600, Math.ceil(each.reduce((sum, seconds) => sum + seconds, 0)));
}

/** The smallest listed value that counts once. */
function usual(rule: Record<string, number>): string | undefined {
  return Object.keys(rule)
    .filter((key) => rule[key] === 1)
    .sort((a, b) => (sizeOf(a) ?? Infinity) - (sizeOf(b) ?? Infinity) || (a < b ? -1 : 1))[0];
}

type Quantity =
  | "images"
  | "frames"
  | "gap_frames"
  | "context_frames"
  | "seconds"
  | "scale"
  | "resolution"
  | "model"
  | "model_type";

export function namesOf({ name, content_type }: PricedType, quantity: Quantity): string[] {
  switch (quantity) {
    case "images":
      return content_type === "image" ? ["num_images", "num_generations"] : [];
    case "frames":
      return ["num_frames", "segment_frames_target", "frame_count", "video_length"];
    case "gap_frames":
      return ["gap_frame_count"];
    case "context_frames":
      return ["context_frame_count"];
    case "seconds":
      return ["seconds", "duration"];
    case "scale":
      return ["scale_factor", "upscale_factor", "scale", "resolution"];
    case "resolution":
      if (name === "animate_character") return ["resolution"];
      return content_type === "image" ? ["resolution", "image_size"] : ["resolution", "parsed_resolution_wh"];
    case "model":
      return ["model_name", "model", ...(name === "single_image" ? ["model_type"] : [])];
    case "model_type":
      return ["model_type"];
  }
}

/** The objects in which workers look, in their order. */
function placesOf({ name }: PricedType, params: Params): unknown[] {
  const { individual_segment_params, orchestrator_details, full_orchestrator_payload } = params;
  return name === "wan_2_2_i2v"
    ? [orchestrator_details, params, individual_segment_params, full_orchestrator_payload]
    : [individual_segment_params, params, orchestrator_details, full_orchestrator_payload];
}

/** The first object that says anything counts, and all that it says must be the same. */
function said(
  type: PricedType,
  quantity: Quantity,
  params: Params,
  listed: Record<string, number> | undefined,
): number | string | undefined {
  for (const place of placesOf(type, params)) {
    if (typeof place !== "object" || place === null || Array.isArray(place)) continue;
    const given = namesOf(type, quantity)
      .map((name) => (place as Params)[name])
      .filter((value) => value !== undefined && value !== null && value !== "")
      .filter((value) => quantity !== "model" || typeof value === "string");
    const values = given
      .map((value) => readValue(quantity, value, listed))
      .filter((value) => quantity !== "resolution" || value !== "auto");
    const [first] = values;
    if (first === undefined) continue;
    if (quantity !== "model" && values.some((value) => value !== first)) throw new Unpriced("contradicting");
    return first;
  }
  return undefined;
}

function readValue(
  quantity: Quantity,
  value: unknown,
  listed: Record<string, number> | undefined,
): number | string {
  const read =
    quantity === "model" || quantity === "model_type"
      ? readName(value, listed ?? {})
      : quantity === "resolution"
        ? readSize(value, listed)
        : readNumber(quantity, value);
  if (read === undefined) throw new Unpriced(quantity);
  return read;
}

function readName(value: unknown, listed: Record<string, number>): string | undefined {
  if (typeof value !== "string" || value.length > 200) return undefined;
  const name = value.replaceAll(/^ +| +$/g, "");
  if (name === "") return undefined;
  if (Object.hasOwn(listed, name)) return name;
  const keys = Object.keys(listed).sort();
  return keys.find((key) => spellingOf(key) === spellingOf(name)) ?? name;
}

/** Without case, and whatever stands between words. */
function spellingOf(name: string): string {
  return name
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== "")
    .join("-");
}

function readSize(value: unknown, listed: Record<string, number> | undefined): string | undefined {
  if (typeof value === "string" && value.length > 200) return undefined;
  const word =
    typeof value === "string"
      ? value.replaceAll(/^ +| +$/g, "").toLowerCase()
      : typeof value === "number"
        ? String(value)
        : sidesOf(value);
  if (word === undefined) return undefined;
  const match = /^0*([1-9][0-9]{0,4})\s*[x×*]\s*0*([1-9][0-9]{0,4})$/.exec(word);
  if (match) {
    const [width, height] = [Number(match[1]), Number(match[2])];
    return Math.max(width, height) <= 16_384 ? `${width}x${height}` : undefined;
  }
  if (/^[1-9][0-9]{2,3}p?$/.test(word)) return `${word.replace("p", "")}p`;
  if (word === "auto" || (sizeOf(word) ?? 0) > 0) return word;
  return typeof value === "string" && listed && Object.hasOwn(listed, value) ? value : undefined;
}

function sidesOf(value: unknown): string | undefined {
  const sides: unknown[] = Array.isArray(value)
    ? value.length === 2
      ? value
      : []
    : typeof value === "object" && value !== null
      ? [(value as Params)["width"], (value as Params)["height"]]
      : [];
  const isSide = (side: unknown) => typeof side === "number" && Number.isInteger(side) && side >= 1;
  return sides.length === 2 && sides.every((side) => isSide(side)) ? sides.join("x") : undefined;
}

function readNumber(quantity: Quantity, value: unknown): number | undefined {
  let given = value;
  if (quantity === "scale" && typeof given === "string") given = given.replace(/^([0-9.]+)x$/i, "$1");
  if (typeof given === "string" && /^[0-9]{1,9}(\.[0-9]{1,10})?$/.test(given)) given = Number(given);
  if (typeof given !== "number") return undefined;
  // Without the sign of a zero.
  const number = (quantity === "seconds" ? Math.ceil(given) : given) + 0;
  const within = (least: number, most: number) => number >= least && number <= most;
  switch (quantity) {
    case "images":
      return within(1, 16) && Number.isInteger(number) ? number : undefined;
    case "frames":
      return within(1, 100_000) && Number.isInteger(number) ? number : undefined;
    case "gap_frames":
    case "context_frames":
      return within(0, 1000) && Number.isInteger(number) ? number : undefined;
    case "seconds":
      return within(1, 3600) ? number : undefined;
    default:
      return within(1, 100) ? number : undefined;
  }
}
