import { z } from "zod";
import { families, familyOf } from "./families.ts";
import type { FamilyInput } from "./family.ts";
import { buildSingleImages, singleImageInput } from "./single-image.ts";
import { buildSteerableMotion, steerableMotionInput } from "./steerable-motion.ts";

/** What a client can create by parameters: a family, or one of the endpoints that create tasks of one kind. */
export interface Generator {
  /** The name in answers. */
  name: string;
  isFamily: boolean;
  /** The fields that it reads. */
  fields: ReadonlySet<string>;
  read(input: Record<string, unknown>, projectId: string): z.ZodSafeParseResult<FamilyInput>;
}

const singleImageGenerate: Generator = {
  name: "single-image-generate",
  isFamily: false,
  fields: fieldsOf(singleImageInput),
  read: (input, projectId) =>
    singleImageInput
      .transform((request): FamilyInput => ({
        fields: request,
        named: namedShot(request.shot_id),
        build: (place) => buildSingleImages(request, place),
      }))
      .safeParse({ ...input, project_id: projectId }),
};

const steerableMotion: Generator = {
  name: "steerable-motion",
  isFamily: false,
  fields: fieldsOf(steerableMotionInput),
  read: (input, projectId) =>
    steerableMotionInput
      .transform((request): FamilyInput => ({
        fields: request,
        named: namedShot(request.shot_id),
        build: (place) => ({ tasks: buildSteerableMotion(request, place), meta: {} }),
      }))
      .safeParse({ ...input, project_id: projectId }),
};

const endpointGenerators: readonly Generator[] = [singleImageGenerate, steerableMotion];

/** The generators of each tool of the web app, in the order in which they are tried. */
const generatorsOfTools: Readonly<Record<string, readonly Generator[]>> = {
  "image-generation": [family("image_generation"), singleImageGenerate],
  "travel-between-images": [
    family("travel_between_images"),
    family("individual_travel_segment"),
    steerableMotion,
  ],
  "join-clips": [family("join_clips"), family("crossfade_join")],
  "edit-video": [family("edit_video_orchestrator")],
  "character-animate": [family("character_animate")],
  "magic-edit": [family("magic_edit")],
  "edit-images": [
    family("masked_edit"),
    family("z_image_turbo_i2i"),
    family("magic_edit"),
    family("image_upscale"),
  ],
  "video-enhance": [family("video_enhance")],
  processing: [family("masked_edit"), family("image_upscale")],
};

/** Tools and generators that a quote may name, for a refusal that lists them. */
export const toolNames: readonly string[] = [
  ...new Set([
    ...Object.keys(generatorsOfTools),
    ...endpointGenerators.map(({ name }) => name),
    ...Object.keys(families),
  ]),
].sort();

/** What a name may stand for, the first choice first; in either spelling. None for a name of task types alone. */
export function generatorsOf(tool: string): readonly Generator[] {
  const name = tool.replaceAll("_", "-");
  const ofTool = Object.hasOwn(generatorsOfTools, name) ? generatorsOfTools[name] : undefined;
  if (ofTool) return ofTool;
  const atEndpoint = endpointGenerators.find((generator) => generator.name === name);
  if (atEndpoint) return [atEndpoint];
  const found = familyOf(tool);
  return found ? [family(found.name)] : [];
}

export type ChosenGenerator =
  { generator: Generator; input: FamilyInput } | { generator: Generator; issues: z.core.$ZodIssue[] };

/**
 * The generator that takes the parameters. Of several that do, the one that knows the most of them; of equals, the first. When none
 * does, the one that came closest, with what is wrong.
 */
export function chooseGenerator(
  candidates: readonly Generator[],
  params: Record<string, unknown>,
  projectId: string,
): ChosenGenerator | undefined {
  const tried = candidates.map((generator) => {
    const read = generator.read(params, projectId);
    const unknown = Object.keys(params).filter((name) => !generator.fields.has(name)).length;
    return { generator, read, unknown };
  });
  const best = tried
    .toSorted((one, other) => one.unknown - other.unknown)
    .toSorted((one, other) => Number(other.read.success) - Number(one.read.success))[0];
  if (!best) return undefined;
  const { generator, read } = best;
  return read.success ? { generator, input: read.data } : { generator, issues: read.error.issues };
}

/** Fields that only workers' params of one task type have, for tools whose types no generator makes. */
const markedTypes: Readonly<Record<string, readonly string[]>> = {
  extract_frame: ["input_video_task_id", "frame_index"],
  rife_interpolate_images: ["input_image_path1", "input_image_path2"],
};

/** Which of a tool's task types the parameters are of: the one that they name, or that their model or their fields tell. */
export function typeByParams(types: readonly string[], params: Record<string, unknown>): string | undefined {
  if (types.length === 1) return types[0];
  const model = [params["model"], params["model_name"]].find((value) => typeof value === "string");
  const byModel = types.find((type) => type === model?.replaceAll("-", "_"));
  if (byModel) return byModel;
  const marked = types.filter((type) => (markedTypes[type] ?? []).some((field) => field in params));
  if (marked.length === 1) return marked[0];
  if (!types.includes("edit_travel_kontext") || !types.includes("edit_travel_flux")) return undefined;
  return model?.includes("flux") && !model.includes("kontext") ? "edit_travel_flux" : "edit_travel_kontext";
}

function family(name: string): Generator {
  const found = familyOf(name)?.family;
  if (!found) throw new Error(`no family ${name}`);
  return { name, isFamily: true, fields: fieldsOf(found.input), read: (input) => found.read(input) };
}

function fieldsOf(input: z.ZodType): ReadonlySet<string> {
  if (!(input instanceof z.ZodObject)) throw new Error("the input of a generator is an object");
  return new Set(Object.keys(input.shape as Record<string, unknown>).filter((name) => name !== "project_id"));
}

function namedShot(id: string | null | undefined): FamilyInput["named"] {
  return id ? [{ field: "shot_id", kind: "shot", id }] : [];
}
