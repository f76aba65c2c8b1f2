import type { Database } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";
import { contentTypeOf } from "../media/content-type.ts";
import { outputName } from "../media/output-name.ts";
import { type Completion, prepareOutput, type ReportedRun } from "../media/prepare-output.ts";
import type { Storage } from "../media/storage.ts";

export interface OutputFile {
  bytes: Uint8Array;
  filename: string;
}

/** Stores the output, then completes the task. A repeat finds the task complete and stores nothing. */
export async function completeTaskWithFile(
  { database, storage }: { database: Pick<Database, "call">; storage: Storage },
  caller: Caller,
  run: ReportedRun,
  { file, firstFrame }: { file: OutputFile; firstFrame: OutputFile | undefined },
): Promise<Completion> {
  const prepared = await prepareOutput(database, caller, run);
  if ("completed" in prepared) return prepared.completed;
  const { folder, name_prefix: prefix } = prepared;

  const path = `${folder}/${prefix}${outputName(file.filename)}`;
  const thumbnailPath = firstFrame && `${folder}/thumbnails/${prefix}${outputName(firstFrame.filename)}`;
  await Promise.all([
    storage.upload(path, file.bytes, contentTypeOf(file.bytes)),
    firstFrame && thumbnailPath
      ? storage.upload(thumbnailPath, firstFrame.bytes, contentTypeOf(firstFrame.bytes))
      : undefined,
  ]);
  return await completeTaskWithPath({ database, storage }, caller, run, { path, thumbnailPath });
}

/** Completes the task with files that are in storage already. */
export async function completeTaskWithPath(
  { database, storage }: { database: Pick<Database, "call">; storage: Storage },
  caller: Caller,
  { taskId, workerId, attempt }: ReportedRun,
  { path, thumbnailPath }: { path: string; thumbnailPath: string | undefined },
): Promise<Completion> {
  return await database.call("complete_task", {
    for_user: forUser(caller),
    for_task: taskId,
    output_path: path,
    output_location: storage.publicUrl(path),
    thumbnail_path: thumbnailPath,
    thumbnail_location: thumbnailPath && storage.publicUrl(thumbnailPath),
    for_worker: workerId,
    for_attempt: attempt,
  });
}
