import { type Database, json } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import { type Caller, forUser } from "../http/endpoint.ts";
import {
  checkBytes,
  type CheckedFile,
  type CheckedFiles,
  checkStored,
  withCause,
} from "../media/check-outputs.ts";
import { contentTypeOf } from "../media/content-type.ts";
import type { Medium } from "../media/media-file.ts";
import { outputName } from "../media/output-name.ts";
import { type Completion, prepareOutput, type ReportedRun } from "../media/prepare-output.ts";
import { storagePath } from "../media/storage-path.ts";
import type { Storage } from "../media/storage.ts";

export interface OutputFile {
  bytes: Uint8Array;
  filename: string;
}

/** What is known of an output beside its task's params. */
export interface OutputFacts {
  seed?: number;
  has_nsfw_concepts?: boolean;
}

/** A further file of the same run, in storage already. */
export interface MoreOutput {
  path: string;
  facts: OutputFacts;
}

/** How a worker wants its output recorded. */
export interface OutputWishes {
  /** Text for the task's row: instead of the file's URL or, without a file, all there is. */
  text: string | undefined;
  /** No generation and no variant is made of this output. */
  skipGeneration: boolean;
  facts: OutputFacts;
  /** What could not be done of what was asked; made storable. */
  warnings: string[];
  more: MoreOutput[];
}

const mostWarnings = 20;
const longestWarning = 500;

/** Warnings as they are stored: each once, on one line, and cut. A text that a worker writes badly costs no output. */
export function storableWarnings(texts: readonly string[]): string[] {
  const cleaned = texts.map((text) =>
    text
      .slice(0, 10 * longestWarning)
      .toWellFormed()
      .replace(/[\p{C}\s]+/gu, " ")
      .trim()
      .slice(0, longestWarning)
      .toWellFormed(),
  );
  return [...new Set(cleaned.filter((text) => text !== ""))].slice(0, mostWarnings);
}

interface Dependencies {
  database: Pick<Database, "call">;
  storage: Storage;
}

/**
 * Checks the output, stores it and completes the task. A repeat finds the task complete and stores nothing. A file that is not sound
 * is not stored: the completion refuses it, or leaves the thumbnail out.
 */
export async function completeTaskWithFile(
  { database, storage }: Dependencies,
  caller: Caller,
  run: ReportedRun,
  { file, firstFrame, ...wishes }: { file: OutputFile; firstFrame: OutputFile | undefined } & OutputWishes,
): Promise<Completion> {
  const names = [
    outputName(file.filename),
    ...(firstFrame ? [`thumbnails/${outputName(firstFrame.filename)}`] : []),
  ];
  const prepared = await prepareOutput(database, caller, run, { fileNames: names });
  if ("completed" in prepared) return prepared.completed;
  const { media } = prepared;
  const [path, thumbnailPath] = prepared.paths;
  if (path === undefined) throw new Error("no path was issued for an output");
  const checked: CheckedFiles = { [path]: await checkBytes(file.bytes) };
  if (firstFrame && thumbnailPath) checked[thumbnailPath] = await checkBytes(firstFrame.bytes);

  async function store(at: string, { bytes }: OutputFile, accepted: Medium[] | null): Promise<void> {
    const found = checked[at];
    if (!isAccepted(found, accepted)) return;
    const etag = await storage.upload(at, bytes, contentTypeOf(bytes));
    checked[at] = { ...found, etag };
  }
  try {
    // Of an output that will be refused nothing is stored.
    if (isAccepted(checked[path], media)) {
      await Promise.all([
        store(path, file, media),
        firstFrame && thumbnailPath ? store(thumbnailPath, firstFrame, ["image"]) : undefined,
      ]);
    }
  } catch (error) {
    // The same call, sent twice at once: the other one has completed the task, whose files are kept from then on.
    const meanwhile = await prepareOutput(database, caller, run);
    if ("completed" in meanwhile) return meanwhile.completed;
    throw error;
  }
  return await complete({ database, storage }, caller, run, { path, thumbnailPath, checked, ...wishes });
}

function isAccepted(
  found: CheckedFile | undefined,
  media: readonly Medium[] | null,
): found is Extract<CheckedFile, { state: "sound" }> {
  return (
    found?.state === "sound" && (media === null || (found.medium !== null && media.includes(found.medium)))
  );
}

/**
 * Completes the task with files that are in storage already, named as in their URLs; its own or, as a reference, others. Those that
 * were checked when they were stored are not read again.
 */
export async function completeTaskWithPath(
  dependencies: Dependencies,
  caller: Caller,
  run: ReportedRun,
  {
    path,
    thumbnailPath,
    checked = {},
    ...wishes
  }: { path: string; thumbnailPath: string | undefined; checked?: CheckedFiles } & OutputWishes,
): Promise<Completion> {
  return await complete(dependencies, caller, run, {
    path: storagePath(path),
    thumbnailPath: thumbnailPath && storagePath(thumbnailPath),
    checked,
    ...wishes,
  });
}

/**
 * Completes the task with a foreign URL, which is never fetched, or any other text. A URL of our own storage names its file, which is
 * checked like any other.
 */
export async function completeTaskWithText(
  { database, storage }: Dependencies,
  caller: Caller,
  run: ReportedRun,
  {
    text,
    thumbnailPath,
    ...others
  }: { text: string; thumbnailPath: string | undefined } & Omit<OutputWishes, "text">,
): Promise<Completion> {
  const path = storage.pathOfPublicUrl(text);
  return await complete({ database, storage }, caller, run, {
    path,
    text: path === undefined ? text : undefined,
    thumbnailPath: thumbnailPath && storagePath(thumbnailPath),
    checked: {},
    ...others,
  });
}

type OutputInStorage = {
  path: string | undefined;
  thumbnailPath: string | undefined;
  checked: CheckedFiles;
} & OutputWishes;

/**
 * Where storage does not keep the files of finished tasks, a file that an upload URL was signed for can be replaced after it is
 * delivered. The completing transaction refuses it then, and a copy, which has no such URL, completes the run.
 */
async function complete(
  dependencies: Dependencies,
  caller: Caller,
  run: ReportedRun,
  output: OutputInStorage,
): Promise<Completion> {
  try {
    return await completeWith(dependencies, caller, run, output);
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== "output_replaceable") throw error;
    const copies = await copyFiles(dependencies, caller, run, error.details["paths"] as string[]);
    if ("completed" in copies) return copies.completed;
    return await completeWith(dependencies, caller, run, withCopies(output, copies.byPath));
  }
}

/** Copies files of a run. @returns the paths of the copies, by those of the originals */
async function copyFiles(
  { database, storage }: Dependencies,
  caller: Caller,
  run: ReportedRun,
  originals: readonly string[],
): Promise<{ completed: Completion } | { byPath: ReadonlyMap<string, string> }> {
  // Without the attempt and the random part, which the copy gets anew.
  const names = originals.map((path) => /(?:thumbnails\/)?[^/]*$/.exec(path)?.[0] ?? "output");
  const fileNames = names.map((name) => name.replace(/(^|\/)\d+-[0-9a-f]{32}-/, "$1"));
  const prepared = await prepareOutput(database, caller, run, { fileNames });
  if ("completed" in prepared) return prepared;
  const byPath = new Map(originals.map((path, index) => [path, prepared.paths[index] ?? path]));
  await Promise.all(
    [...byPath].map(async ([path, copy]) => {
      if (!(await storage.copy(path, copy))) throw new AppError("output_not_found", { path });
    }),
  );
  return { byPath };
}

/** What the originals' bytes were is no proof of the copies', which are checked themselves. */
function withCopies(output: OutputInStorage, byPath: ReadonlyMap<string, string>): OutputInStorage {
  const copyOf = (path: string) => byPath.get(path) ?? path;
  return {
    ...output,
    path: output.path && copyOf(output.path),
    thumbnailPath: output.thumbnailPath && copyOf(output.thumbnailPath),
    more: output.more.map(({ path, facts }) => ({ path: copyOf(storagePath(path)), facts })),
  };
}

async function completeWith(
  { database, storage }: Dependencies,
  caller: Caller,
  { taskId, workerId, attempt }: ReportedRun,
  output: OutputInStorage,
): Promise<Completion> {
  const { path, thumbnailPath, checked, text, skipGeneration, facts, warnings, more } = output;
  const moreOutputs = more.map(({ path: written, facts: extraFacts }) => {
    const extra = storagePath(written);
    return { path: extra, location: storage.publicUrl(extra), facts: extraFacts };
  });
  const paths = [path, thumbnailPath, ...moreOutputs.map((extra) => extra.path)];
  const unchecked = paths.filter((named) => named !== undefined && !Object.hasOwn(checked, named));
  const { files, failure } = await checkStored(storage, unchecked as string[]);
  try {
    return await database.call("complete_task", {
      for_user: forUser(caller),
      for_task: taskId,
      output_path: path,
      output_location: path && storage.publicUrl(path),
      thumbnail_path: thumbnailPath,
      thumbnail_location: thumbnailPath && storage.publicUrl(thumbnailPath),
      for_worker: workerId,
      for_attempt: attempt,
      output_text: text,
      skip_generation: skipGeneration,
      output_facts: facts && json(facts),
      more_outputs: moreOutputs && json(moreOutputs),
      checked_files: json({ ...checked, ...files }),
      output_warnings: warnings,
    });
  } catch (error) {
    throw withCause(error, failure);
  }
}
