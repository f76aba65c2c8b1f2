import { count, number, type Params, record, records, text } from "../../orchestration/task-params.ts";
import { RenderError } from "../../provider.ts";

export interface Lora {
  /** The param that named it. */
  field: string;
  path: string;
  scale: number;
  /** Which half of the model it is for. */
  transformer: "high" | "low" | "both";
}

/** How the model samples. Undefined leaves a value to FAL. */
export interface Sampling {
  steps: number | undefined;
  guidance: number | undefined;
  secondGuidance: number | undefined;
  shift: number | undefined;
}

const mostLoras = 10;
const greatestScale = 4;

/** Below zero the model chooses. */
export function seed(...values: readonly unknown[]): number | undefined {
  const read = values.map(number).find((value) => value !== undefined);
  return read !== undefined && read >= 0 && Number.isSafeInteger(read) ? read : undefined;
}

export function within(value: number | undefined, least: number, most: number): number | undefined {
  return value === undefined ? undefined : Math.min(most, Math.max(least, value));
}

/** The first of these values that reads as text. */
export function firstText(...values: readonly unknown[]): string | undefined {
  return values.map(text).find((value) => value !== undefined);
}

export function missing(field: string): RenderError {
  return new RenderError(`${field} is missing`, { isRetryable: false });
}

export function refusal(message: string): RenderError {
  return new RenderError(message, { isRetryable: false });
}

/**
 * LoRAs of a segment. Those of the segment itself count instead of those for all segments; a phase's are loaded into the half of
 * the model that makes the phase.
 */
export function lorasOf(
  places: readonly Params[],
  phaseConfig: Params,
  ownLoras: unknown,
): { loras: Lora[]; hasSteppedMultipliers: boolean } {
  const phases = phaseLoras(phaseConfig);
  const listed = Array.isArray(ownLoras)
    ? listedLoras("segment_loras", ownLoras)
    : (places
        .map((place) => [
          ...Object.entries(record(place["additional_loras"])).flatMap(([path, strength]) =>
            loraOf("additional_loras", path, strength, "both"),
          ),
          ...listedLoras("loras", place["loras"]),
          ...(phases.loras.length === 0 ? listedLoras("lora_multipliers", place["lora_multipliers"]) : []),
        ])
        .find((found) => found.length > 0) ?? []);
  const loras = joinedHalves([...phases.loras, ...listed]);
  if (loras.length > mostLoras)
    throw refusal(`loras: ${loras.length} are given, and at most ${mostLoras} are loaded`);
  return { loras, hasSteppedMultipliers: phases.hasSteppedMultipliers };
}

/**
 * Steps and guidance of a phase config. Without one they are left to FAL: what workers take by default is meant for models that
 * are sped up.
 */
export function samplingOf(phaseConfig: Params): Sampling {
  const phases = records(phaseConfig["phases"]);
  const steps = Array.isArray(phaseConfig["steps_per_phase"])
    ? (phaseConfig["steps_per_phase"] as unknown[]).reduce<number>(
        (sum, value) => sum + (count(value) ?? 0),
        0,
      )
    : 0;
  return {
    steps: steps > 0 ? within(steps, 2, 40) : undefined,
    guidance: within(number(phases.at(0)?.["guidance_scale"]), 1, 20),
    secondGuidance: within(number(phases.at(-1)?.["guidance_scale"]), 1, 20),
    shift: within(number(phaseConfig["flow_shift"]), 1, 10),
  };
}

/**
 * LoRAs of phases. A phase has the mean of its steps' strengths; a LoRA that several phases of the same half have is loaded once, at
 * the mean of the phases.
 */
function phaseLoras(config: Params): { loras: Lora[]; hasSteppedMultipliers: boolean } {
  const phases = records(config["phases"]);
  // Phases up to the one at which workers switch models are of the half for high noise.
  const lastHigh = count(config["model_switch_phase"]) ?? Math.max(1, phases.length - 1);
  const strengths = new Map<string, { path: unknown; transformer: "high" | "low"; values: number[] }>();
  let hasSteppedMultipliers = false;
  for (const [index, phase] of phases.entries()) {
    const transformer = (count(phase["phase"]) ?? index + 1) <= lastHigh ? "high" : "low";
    for (const { url: path, multiplier } of records(phase["loras"])) {
      const key = JSON.stringify([path, transformer]);
      const entry = strengths.get(key) ?? { path, transformer, values: [] };
      const steps = strengthsOf(multiplier);
      entry.values.push(meanOf(steps));
      if (new Set([...steps, ...entry.values]).size > 1) hasSteppedMultipliers = true;
      strengths.set(key, entry);
    }
  }
  const loras = [...strengths.values()].flatMap(({ path, transformer, values }) =>
    loraOf("phase_config", path, Math.round(meanOf(values) * 1e6) / 1e6, transformer),
  );
  return { loras, hasSteppedMultipliers };
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** "1.2", or "0.5,1" for single steps. */
function strengthsOf(multiplier: unknown): number[] {
  return String(multiplier ?? 1)
    .split(",")
    .map((part) => number(part.trim()) ?? 1);
}

function listedLoras(field: string, list: unknown): Lora[] {
  return records(list).flatMap(({ path, url, scale, strength, multiplier }) =>
    loraOf(field, path ?? url, scale ?? strength ?? multiplier, "both"),
  );
}

function loraOf(field: string, path: unknown, strength: unknown, transformer: Lora["transformer"]): Lora[] {
  if (typeof path !== "string" || path === "" || path.length > 4096) throw refusal(`${field} has no address`);
  const scale = number(strength) ?? 1;
  if (scale < 0 || scale > greatestScale) throw refusal(`${field} is not from 0 to ${greatestScale}`);
  return scale === 0 ? [] : [{ field, path, scale, transformer }];
}

/** One entry for a LoRA that is loaded into both halves alike. */
function joinedHalves(loras: readonly Lora[]): Lora[] {
  const joined = new Map<string, Lora>();
  for (const lora of loras) {
    const key = JSON.stringify([lora.path, Math.round(lora.scale * 1e6)]);
    const known = joined.get(key);
    if (!known) joined.set(key, lora);
    else if (known.transformer !== lora.transformer) joined.set(key, { ...known, transformer: "both" });
  }
  return [...joined.values()];
}

/** What the models of FAL have no counterpart for: a param, and whether a task asks for it. */
const unavailable: readonly [name: string, isAsked: (value: unknown) => boolean][] = [
  ["structure_guidance", isGiven],
  ["structure_videos", isGiven],
  ["structure_video_path", isGiven],
  ["uni3c_guide_video", isGiven],
  ["use_uni3c", (value) => value === true],
  ["use_svi", (value) => value === true],
  ["amount_of_motion", (value) => number(value) !== undefined && number(value) !== 0.5],
  ["after_first_post_generation_saturation", (value) => isGiven(value) && number(value) !== 1],
  ["after_first_post_generation_brightness", (value) => isGiven(value) && number(value) !== 0],
  ["continue_from_video_resolved_path", isGiven],
  ["show_input_images", (value) => value === true],
  ["hires_scale", isGiven],
  ["vid2vid_init_strength", (value) => number(value) !== undefined && number(value) !== 0],
  ["keep_bridging_images", (value) => value === true],
];

/** The params of these places that ask for something that FAL does not do. */
export function unavailableParams(places: readonly Params[]): string[] {
  return unavailable
    .filter(([name, isAsked]) => places.some((place) => isAsked(place[name])))
    .map(([name]) => name);
}

function isGiven(value: unknown): boolean {
  return (
    value !== undefined && value !== null && value !== "" && !(Array.isArray(value) && value.length === 0)
  );
}
