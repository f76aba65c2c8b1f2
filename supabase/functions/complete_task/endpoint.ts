import { Buffer } from "node:buffer";
import { z } from "zod";
import { AppError } from "../_shared/errors/app-error.ts";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { attempt, text, uuid, workerId } from "../_shared/http/fields.ts";
import {
  completeTaskWithFile,
  completeTaskWithPath,
  completeTaskWithText,
  type OutputFacts,
  type OutputFile,
  storableWarnings,
} from "../_shared/tasks/complete-task.ts";

const megabyte = 1024 * 1024;
const storagePath = text(1024).min(1);
const base64 = z.string().min(1);

const outputFacts = z
  .object({
    seed: z.int().nullish(),
    has_nsfw_concepts: z.boolean().nullish(),
  })
  .nullish()
  .describe("what is known of the output beside the task's params; kept with the generation's or variant's");

const body = z.object({
  task_id: uuid,
  worker_id: workerId.nullish(),
  attempt: attempt.nullish(),
  file_data: base64.nullish().describe("base64, without a data: prefix"),
  filename: text(500).min(1).nullish(),
  first_frame_data: base64.nullish(),
  first_frame_filename: text(500).min(1).nullish(),
  storage_path: storagePath
    .nullish()
    .describe(
      "of a file that is in storage, as in its URL: the task's own or a reference; wins over file_data. It is checked: 422 unless it is a complete file of what the task makes",
    ),
  thumbnail_storage_path: storagePath
    .nullish()
    .describe(
      "of a file like storage_path; left out, with a warning, if it is missing or not a complete image",
    ),
  output_location: text(65_536)
    .nullish()
    .describe("alone: a foreign URL or any text, as the output; with a file: the text that stands for it"),
  output_facts: outputFacts,
  more_outputs: z
    .array(
      z.object({
        storage_path: storagePath,
        output_facts: outputFacts,
      }),
    )
    .max(15)
    .nullish()
    .describe(
      "further files of the same run, each in storage already; they become variants of what the first makes",
    ),
  output_warnings: z
    .array(z.string())
    .nullish()
    .describe(
      "what could not be done of what was asked; stored with the task. The first 20, of which each has 500 characters at most",
    ),
  skip_generation: z.boolean().nullish().describe("true: no generation or variant is made of the output"),
});

/**
 * 200 stored, now or before · 400 no file · 403 a foreign path · 404 unknown task or file · 409 not this caller's run · 422 a file
 * that is not complete or not what the task makes
 */
export const completeTaskEndpoint = endpoint({
  name: "complete_task",
  summary: "Ends a run with its output: stores it, makes the generation, settles the charge. Safe to repeat.",
  callers: ["service", "personal-access-token"],
  scope: "tasks:run",
  body,
  madeSafe: ["filename", "first_frame_filename", "output_warnings"],
  bodyLimit: 40 * megabyte,
  requestsPerMinute: 600,
  limitsRefusedOnly: true,
  answers: {
    200: {
      description: "The task is complete; a repeat by the same worker gets the same answer.",
      schema: z.object({
        success: z.literal(true),
        task_id: uuid,
        status: z
          .enum(["Complete", "Failed"])
          .describe("Failed: a provider's safety checker made every output black, and nothing is charged"),
        public_url: z.string().nullable().describe("null when the output is text"),
        output_location: z.string().nullable(),
        thumbnail_url: z.string().nullable(),
        message: z.string(),
        attempt: z.int(),
        generation_id: uuid.nullable(),
        variant_id: uuid.nullable(),
        cost_microusd: z.int(),
        more_outputs: z.array(z.object({ output_location: z.string(), variant_id: uuid.nullable() })),
        warnings: z.array(z.object({ field: z.string(), message: z.string() })),
      }),
    },
  },
  errors: [
    "invalid_output",
    "too_many_outputs",
    "insufficient_scope",
    "task_not_found",
    "output_not_found",
    "output_not_final",
    "output_replaced",
    "stale_attempt",
    "task_cancelled",
    "task_not_running",
    "storage_unavailable",
  ],
  async run({ body, caller, database, storage }) {
    const run = {
      taskId: body.task_id,
      workerId: body.worker_id ?? undefined,
      attempt: body.attempt ?? undefined,
    };
    const dependencies = { database, storage };
    const thumbnailPath = body.thumbnail_storage_path ?? undefined;
    const wishes = {
      text: body.output_location || undefined,
      skipGeneration: body.skip_generation ?? false,
      facts: factsOf(body.output_facts),
      warnings: storableWarnings(body.output_warnings ?? []),
      more: (body.more_outputs ?? []).map((output) => ({
        path: output.storage_path,
        facts: factsOf(output.output_facts),
      })),
    };
    if (body.storage_path) {
      const file = { path: body.storage_path, thumbnailPath };
      return json(200, await completeTaskWithPath(dependencies, caller, run, { ...file, ...wishes }));
    }
    const files = filesOf(body);
    if (files)
      return json(200, await completeTaskWithFile(dependencies, caller, run, { ...files, ...wishes }));
    const { text, ...others } = wishes;
    if (text === undefined) {
      throw refusal("file_data", "send file_data and filename, storage_path, or output_location");
    }
    return json(
      200,
      await completeTaskWithText(dependencies, caller, run, { text, thumbnailPath, ...others }),
    );
  },
});

/** What is said; nothing of what is not. */
function factsOf(facts: z.infer<typeof outputFacts>): OutputFacts {
  return Object.fromEntries(Object.entries(facts ?? {}).filter(([, value]) => value !== null));
}

/** The files that the body carries, if it does. @throws AppError `invalid_request` for half of them */
function filesOf(
  sent: z.infer<typeof body>,
): { file: OutputFile; firstFrame: OutputFile | undefined } | undefined {
  const file = fileOf("file_data", sent.file_data, "filename", sent.filename);
  const firstFrame = fileOf(
    "first_frame_data",
    sent.first_frame_data,
    "first_frame_filename",
    sent.first_frame_filename,
  );
  if (!file && firstFrame) throw refusal("first_frame_data", "goes with file_data");
  return file && { file, firstFrame };
}

function fileOf(
  dataField: string,
  data: string | null | undefined,
  nameField: string,
  filename: string | null | undefined,
): OutputFile | undefined {
  if (!data && !filename) return undefined;
  if (!data) throw refusal(dataField, `goes with ${nameField}`);
  if (!filename) throw refusal(nameField, `goes with ${dataField}`);
  return { bytes: decoded(data, dataField), filename };
}

function decoded(data: string, field: string): Uint8Array {
  if (data.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(data)) throw refusal(field, "is not base64");
  return Buffer.from(data, "base64");
}

function refusal(path: string, message: string): AppError {
  return new AppError("invalid_request", { issues: [{ path, message }] });
}
