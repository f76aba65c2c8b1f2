/**
 * How the shipped Python workers read the params of a claim, written down from their contract: `int(params.get(…) or …)` and the
 * like, each for the types that it runs. What they read must be what is billed.
 */
type Params = Record<string, unknown>;

export interface WorkerReading {
  images?: number;
  frames?: number;
  seconds?: number;
  scale?: number;
  resolution?: string;
  model?: string | undefined;
  model_type?: string | undefined;
}

/** Python's `or`: the first that is not empty, nothing or zero. */
function firstOf(...values: unknown[]): unknown {
  return values.find(
    (value) => value !== undefined && value !== null && value !== "" && value !== 0 && value !== false,
  );
}

/** Python's `int()` and `float()`, which raise on what is not a number: such a task fails, and costs nothing. */
function number(value: unknown): number {
  const read = typeof value === "string" ? Number(value.trim() || Number.NaN) : value;
  return typeof read === "number" ? read : Number.NaN;
}

function record(value: unknown): Params {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Params) : {};
}

/** `WxH` or `W*H`, as the workers split it. */
function size(value: unknown): string | undefined {
  if (typeof value !== "string") return undefined;
  const [width, height] = value.split(/[x*]/).map((side) => Number.parseInt(side, 10));
  return width && height ? `${width}x${height}` : value;
}

/** `[width, height]`, which is unpacked; the text of a size cannot be. */
function sides(value: unknown): string | undefined {
  if (Array.isArray(value)) return value.join("x");
  const text = size(value);
  return text !== undefined && /^\d+x\d+$/.test(text) ? "not two numbers" : text;
}

export function shippedReading(taskType: string, params: Params): WorkerReading {
  const details = record(params["orchestrator_details"]);
  const payload = record(params["full_orchestrator_payload"]);
  const segment = record(params["individual_segment_params"]);
  const names = {
    model: firstOf(params["model_name"], details["model_name"], params["model"]) as string | undefined,
    model_type: firstOf(params["model_type"], details["model_type"]) as string | undefined,
  };
  switch (taskType) {
    case "image_upscale":
      return { ...names, scale: number(firstOf(params["upscale_factor"], params["scale_factor"]) ?? 2) };
    case "animate_character":
      return { ...names, resolution: (firstOf(params["resolution"]) as string | undefined) ?? "480p" };
    case "wan_2_2_i2v": {
      const all: Params = { ...params, ...details };
      return { ...names, seconds: number(all["duration"] ?? 5), resolution: size(all["resolution"]) ?? "" };
    }
    case "travel_segment":
    case "individual_travel_segment":
    case "travel_stitch": {
      const nested = (name: string) => firstOf(segment[name], params[name], details[name], payload[name]);
      const frames = nested(taskType === "travel_segment" ? "segment_frames_target" : "num_frames");
      return {
        ...names,
        ...(frames !== undefined && { frames: number(frames) }),
        resolution: size(nested("parsed_resolution_wh")) ?? "",
      };
    }
    case "join_clips_segment":
    case "join_final_stitch":
    case "edit_video_segment":
      return {
        ...names,
        frames: number(firstOf(params["video_length"], params["num_frames"]) ?? 81),
        resolution: sides(params["resolution"]) ?? "",
      };
    default:
      return {
        ...names,
        images: number(firstOf(params["num_images"], params["num_generations"]) ?? 1),
        frames: number(firstOf(params["video_length"], params["num_frames"]) ?? 81),
        resolution: size(params["resolution"]) ?? "",
      };
  }
}
